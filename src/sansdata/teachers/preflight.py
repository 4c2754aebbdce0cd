"""Before step 0: can this teacher and student work, and does anything look wrong?"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .. import columns
from ..columns import Inputs
from ..contracts import Access, Requirements
from ..kinds.index import input_kind
from ..models.device import device_of
from ..models.modes import buffers_kept, fixed, in_mode
from ..models.sharded import held, is_sharded
from ..models.taps import call
from ..network import Network
from ..tasks import Task
from .base import WANTS, Teacher
from .probing import PROBES, attempt, changed, no_gradient, snapshot

SLOW_SECONDS = 4.0


@dataclass
class Preflight:
    """The verdict. With a fault a run must not start; a warning is worth reading first."""

    takes: str
    """What goes in, in words."""
    gives: list[int] | None
    """Sizes of an answer, [classes]; None where the teacher gave none of its kind."""
    parameters: int
    student_parameters: int | None
    access: str
    """labels, scores, gradients or weights: as measured."""
    batch_norms: int | None
    """Layers with statistics; None where they were not looked for."""
    head: str | None
    output: str
    """logits, log-probabilities, probabilities, or the type that was returned."""
    answers: str = ""
    """Which of several outputs is read; '' where there is one."""
    training_brightness: dict[str, float] | None = None
    """Mean and std, in unit space, of the images behind the first BatchNorm's statistics; None where nothing in the
    weights tells them, and then nobody can say whether the task's mean and std are right."""
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def preflight(teacher: Teacher, student: Network | None = None) -> Preflight:
    """Runs the teacher, and the student on copies where it trains, on a few inputs of noise.

    Raises nothing for a bad model: what it raises becomes a fault. Modes, buffers and the global generator are as
    before, no hook is left.
    """
    module, kind = teacher.module, input_kind(teacher.task)
    verdict = Preflight(
        takes=kind.describe(), gives=None, parameters=teacher.parameters,
        student_parameters=None, access=teacher.most.name.lower(), batch_norms=None, head=None, output="unknown",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), fixed(module), buffers_kept(module):
        _check_weights(module, verdict)
        inputs = _probes(teacher.task, module)
        answers = _check_answers(teacher, inputs, verdict)
        if answers is not None:
            verdict.gives = list(answers.shape[1:])
            _judge(teacher, answers, verdict)
        if not verdict.faults and answers is not None:
            _check_repeats(teacher, inputs, answers, verdict)
            _check_access(teacher, verdict)
            _describe(teacher, inputs, verdict)
    if student is not None:
        with torch.random.fork_rng(devices=[]):
            _check_student(student, teacher.task, verdict)
    return verdict


def unmet(requirements: Requirements, teacher: Teacher, pool: bool = False) -> list[str]:
    """Why a method with these requirements cannot work with this teacher, in plain words; empty where it can.

    pool: whether images were given.
    """
    if other_job := requirements.unmet_by(teacher.task.pair):
        return [other_job]
    reasons = [WANTS.get(name, name) for name in sorted(requirements.capabilities - teacher.capabilities.keys())]
    if "panel" in teacher.capabilities.keys() - requirements.capabilities:
        reasons.append("it asks one teacher, and this is a panel of several (methods that ask one: bidf-mkd)")
    if requirements.pool and not pool:
        reasons.append("it chooses from images that you give: name a folder with --pool DIR")
    if requirements.setting:
        reasons.append(f"it needs a setting: {requirements.setting}")
    if teacher.access < requirements.access:
        reasons.append(_too_little(requirements.access, teacher))
        return reasons
    if teacher.access < Access.WEIGHTS:
        return reasons
    if requirements.batch_norm and not teacher.inside.batch_norms:
        reasons.append("it reads the running statistics of BatchNorm layers, and the teacher has none")
    if requirements.head and teacher.inside.head is None:
        reasons.append("it reads the input of a final linear layer, and the teacher's logits do not come from one")
    return reasons


def why_not(method: str, requirements: Requirements, teacher: Teacher, pool: bool = False) -> list[str]:
    """As `unmet`, of a method by its name and a teacher with its helpers, and by what their makers allow: what a run,
    `check` and `--method auto` ask alike."""
    reasons = [*_forbidden(method, teacher), *unmet(requirements, teacher, pool)]
    if teacher.helpers and not requirements.helpers:
        return [*reasons, "it asks one teacher only; leave the helpers out, or take a method that asks them (mixmix)"]
    of_helpers = [(helper, unmet(requirements, helper, pool)) for helper in teacher.helpers]
    return reasons + [f"helper '{helper.source}': {reason}" for helper, theirs in of_helpers for reason in theirs]


def _forbidden(method: str, teacher: Teacher) -> list[str]:
    """Of each member whose maker allows other methods only."""
    return [
        f"whoever made '{member.source}' allows {', '.join(member.allowed_methods)[:300]} alone. Take one of these, or "
        "ask for a bundle that allows yours"
        for member in teacher.members
        if member.allowed_methods and method not in member.allowed_methods
    ]


def _too_little(needed: Access, teacher: Teacher) -> str:
    if teacher.most >= needed:  # its source would allow it; its forward pass does not
        with torch.random.fork_rng(devices=[]), fixed(teacher.module), buffers_kept(teacher.module):
            reason = no_gradient(teacher.network, input_kind(teacher.task))
        return f"it needs gradients with respect to the {input_kind(teacher.task).unit}, and {reason}"
    return (
        f"it needs access to the teacher's {needed.name.lower()}, and only its {teacher.access.name.lower()} are there"
    )


# -- the checks, in order


def _probes(task: Task, module: nn.Module) -> Inputs:
    """A few varied inputs, as they travel, where the module is."""
    device = device_of(module)
    return columns.to(input_kind(task).draw(PROBES, torch.Generator().manual_seed(0)), device)


def _check_weights(module: nn.Module, verdict: Preflight) -> None:
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if value.is_floating_point() and not bool(torch.isfinite(held(value)).all()):
            verdict.faults.append(f"the teacher's weight '{name}' is not finite; the training that made it diverged")
            return


def _check_answers(teacher: Teacher, inputs: Inputs, verdict: Preflight) -> Tensor | None:
    """The answers of the first pass, or None with the reason among the faults."""
    module, network, kind = teacher.module, teacher.network, input_kind(teacher.task)
    prepared, problem = attempt(lambda: network.preprocessor(inputs))
    if problem is not None:
        verdict.faults.append(f"the teacher's preprocessing fails on {kind.unit}: {problem}")
        return None
    given, before = columns.copied(prepared), snapshot(module)
    start = time.perf_counter()
    raw, problem = attempt(lambda: call(module, given))
    seconds = time.perf_counter() - start
    if problem is not None:
        verdict.faults.append(f"the teacher fails on {kind.describe()}: {problem}{kind.hint(module)}")
        return None
    if seconds > SLOW_SECONDS:
        verdict.warnings.append(f"one pass of {PROBES} {kind.unit} took {seconds:.1f} s; a run makes thousands of them")
    if not columns.same(given, prepared):
        verdict.faults.append(
            f"the teacher changes its input {kind.unit} in place; copy them first in its forward (x = x.clone())"
        )
    part = None if is_sharded(module) else changed(module, before)
    if part:
        verdict.faults.append(
            f"the teacher changes its own '{part}' when it answers in eval mode; a frozen teacher must not"
        )
    faults = network.outputs.faults(raw, PROBES)
    verdict.answers = network.outputs.choice(raw)
    if faults:
        verdict.output = "tensor" if isinstance(raw, Tensor) else type(raw).__name__
        verdict.faults += faults
        return None
    return network.outputs.read(raw).detach()


def _judge(teacher: Teacher, answers: Tensor, verdict: Preflight) -> None:
    """Of labels alone there is nothing to judge: eight inputs of noise may well be one class."""
    if teacher.most <= Access.LABELS:
        verdict.output = "labels"
        return
    verdict.output, faults, warnings = teacher.network.outputs.judge(answers, teacher.task.name_of)
    verdict.faults += faults
    verdict.warnings += warnings


def _check_repeats(teacher: Teacher, inputs: Inputs, answers: Tensor, verdict: Preflight) -> None:
    network, unit = teacher.network, input_kind(teacher.task).unit
    some = columns.take(inputs, slice(PROBES // 2))
    again, problem = attempt(lambda: network(inputs).value)
    half, problem_half = attempt(lambda: network(some).value)
    if problem or problem_half:
        verdict.faults.append(f"the teacher fails when it is asked again: {problem or problem_half}")
        return
    tolerance = 1e-3 * float(answers.abs().max()) + 1e-5
    if again.shape != answers.shape or float((again - answers).abs().max()) > tolerance:
        verdict.faults.append(
            f"the teacher answers the same {unit} differently each time (dropout or sampling in eval mode?)"
        )
    elif half.shape != answers[: len(half)].shape or float((half - answers[: len(half)]).abs().max()) > tolerance:
        verdict.faults.append(
            f"the teacher's answer depends on the other {unit} of the batch (batch statistics in eval mode, "
            "or a dynamically quantised layer? Give the network as it was before that)"
        )


def _check_access(teacher: Teacher, verdict: Preflight) -> None:
    verdict.access = teacher.access.name.lower()
    if teacher.access < teacher.most:
        reason = no_gradient(teacher.network, input_kind(teacher.task))
        unit = input_kind(teacher.task).unit
        verdict.warnings.append(f"{reason}: methods that make {unit} by gradients cannot use it")


def _describe(teacher: Teacher, inputs: Inputs, verdict: Preflight) -> None:
    if teacher.access < Access.WEIGHTS:
        return
    inside, problem = attempt(lambda: teacher.inside)
    if problem:
        verdict.faults.append(f"the teacher fails when its parts are watched: {problem}")
        return
    verdict.batch_norms, verdict.head = len(inside.batch_norms), inside.head
    if inside.shared_norms:
        verdict.warnings.append(
            f"{len(inside.shared_norms)} layer(s) with statistics run several times in a pass (such as "
            f"'{inside.shared_norms[0]}') and are not matched"
        )
    if not verdict.batch_norms and teacher.task.pair[0] != "noise":  # a generator's inputs are drawn, not inverted
        verdict.warnings.append("the teacher has no BatchNorm statistics: methods that match them cannot be used")
    network, kind = teacher.network, input_kind(teacher.task)
    doubts, problem = attempt(lambda: kind.doubts(network.module, network.preprocessor, network.preprocessor(inputs)))
    if problem is None and doubts[0]:
        verdict.training_brightness = doubts[0]
        verdict.warnings += doubts[1]


def _check_student(student: Network, task: Task, verdict: Preflight) -> None:
    module = student.module
    verdict.student_parameters = sum(p.numel() for p in module.parameters())
    if not any(p.requires_grad for p in module.parameters()):
        verdict.faults.append("the student has no parameters to train")
        return
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            verdict.faults.append(
                f"the student keeps '{name}' of type {type(value).__name__} in its state, where only tensors can be "
                "saved; leave it out of get_extra_state"
            )
            return
    inputs = _probes(task, module)
    for train in (False, True):
        fault = _fault_of_student(student, task, inputs, train)
        if fault:
            verdict.faults.append(fault)
            return
    if verdict.parameters and verdict.student_parameters >= verdict.parameters and student.outputs.compares:
        verdict.warnings.append(
            f"the student ({verdict.student_parameters:,} parameters) is not smaller than the teacher "
            f"({verdict.parameters:,})"
        )


def _fault_of_student(student: Network, task: Task, inputs: Inputs, train: bool) -> str | None:
    """Why it cannot be asked, or with `train` be taught, in a sentence; None where it can."""
    module, kind, mode = student.module, input_kind(task), "train" if train else "eval"
    prepared = columns.copied(student.preprocessor(inputs))
    with in_mode(module, train), buffers_kept(module):
        raw, problem = attempt(lambda: call(module, prepared), no_grad=not train)
        if problem:
            return f"the student fails in {mode} mode on {kind.describe()}: {problem}{kind.hint(module)}"
        faults = student.outputs.faults(raw, PROBES)
        if faults:
            return f"the student, in {mode} mode: " + faults[0].replace("the teacher", "it")
        answers = student.outputs.read(raw)
        if not bool(torch.isfinite(answers).all()):
            return f"the student gives answers that are not finite in {mode} mode; start from fresh weights"
        if not train:
            return None
        if not answers.requires_grad:
            return (
                "no gradient flows from the student's answers to its weights (no_grad, detach or rounding in its "
                "forward?)"
            )
        weights = [parameter for parameter in module.parameters() if parameter.requires_grad]
        _, problem = attempt(
            lambda: torch.autograd.grad(answers.float().square().sum(), weights, allow_unused=True), no_grad=False
        )
        return f"the student's backward pass fails ({problem})" if problem else None
