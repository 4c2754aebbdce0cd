"""Before step 0: can this teacher and student work, and does anything look wrong?"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..contracts import Access, Requirements
from ..errors import TeacherError
from ..models.modes import fixed
from ..models.taps import forward, logits_of
from ..tasks import ImageTask
from .base import Teacher
from .normalisation import PROBLEM, plausible, training_brightness
from .probing import PROBES, attempt, buffers_kept, changed, channel_hint, no_gradient, probes, snapshot

CONFIDENT = 0.99
MANY_CLASSES = 1000
SLOW_SECONDS = 4.0


@dataclass
class Preflight:
    """The verdict. With a fault a run must not start; a warning is worth reading first."""

    takes: list[int]
    """[channels, height, width]"""
    gives: list[int] | None
    """[classes], None where the teacher gave no (B, K) logits."""
    parameters: int
    student_parameters: int | None
    access: str
    """labels, scores, gradients or weights."""
    batch_norms: int
    head: str | None
    output: str
    """logits, log-probabilities, probabilities, or the type that was returned."""
    training_brightness: dict[str, float] | None = None
    """Mean and std, in unit space, of the images behind the first BatchNorm's statistics."""
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def preflight(teacher: Teacher, student: nn.Module | None = None) -> Preflight:
    """Runs the teacher, and the student on copies where it trains, on a few images of noise.

    Raises nothing for a bad model: what it raises becomes a fault. Modes, buffers and the global generator are as
    before, no hook is left.
    """
    module, task = teacher.module, teacher.task
    found = Preflight(
        takes=list(task.shape), gives=None, parameters=sum(p.numel() for p in module.parameters()),
        student_parameters=None, access=Access(teacher.access).name.lower(), batch_norms=0, head=None, output="unknown",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), fixed(module), buffers_kept(module):
        inputs = probes(task, next((p.device for p in module.parameters()), torch.device("cpu")))
        _check_weights(module, found)
        logits = _check_answers(module, task, inputs, found)
        if logits is not None:
            _judge_logits(logits, task, found)
        if not found.faults and logits is not None:
            _check_repeats(module, inputs, logits, found)
            _check_gradient(module, inputs, found)
            _describe(teacher, inputs, logits, found)
    if student is not None:
        with torch.random.fork_rng(devices=[]):
            _check_student(student, task, found)
    return found


def unmet(requirements: Requirements, teacher: Teacher, pool: bool = False) -> list[str]:
    """Why a method with these requirements cannot work with this teacher, in plain words; empty where it can.

    pool: whether images were given.
    """
    reasons = []
    if requirements.pool and not pool:
        reasons.append("it chooses from images that you give: name a folder with --pool DIR")
    if teacher.access < requirements.access:
        has, needs = Access(teacher.access).name.lower(), requirements.access.name.lower()
        reasons.append(f"it needs access to the teacher's {needs}, and only its {has} are there")
        return reasons
    if teacher.access < Access.WEIGHTS:
        return reasons
    if requirements.access >= Access.GRADIENTS:
        with torch.random.fork_rng(devices=[]), fixed(teacher.module), buffers_kept(teacher.module):
            device = next((p.device for p in teacher.module.parameters()), torch.device("cpu"))
            reason = no_gradient(teacher.module, probes(teacher.task, device))
        if reason:
            reasons.append(f"it needs gradients with respect to the images, and {reason}")
    if requirements.batch_norm and not teacher.anatomy.batch_norms:
        reasons.append("it reads the running statistics of BatchNorm layers, and the teacher has none")
    if requirements.head and teacher.anatomy.head is None:
        reasons.append("it reads the input of a final linear layer, and the teacher's logits do not come from one")
    return reasons


# -- the checks, in order


def _check_weights(module: nn.Module, found: Preflight) -> None:
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            found.faults.append(f"the teacher's weight '{name}' is not finite; the training that made it diverged")
            return


def _check_answers(module: nn.Module, task: ImageTask, inputs: Tensor, found: Preflight) -> Tensor | None:
    """The logits (B, K) of the first pass, or None with the reason among the faults."""
    given = inputs.clone()
    before = snapshot(module)
    start = time.perf_counter()
    output, problem = attempt(lambda: module(given))
    seconds = time.perf_counter() - start
    if problem is not None:
        found.faults.append(
            f"the teacher fails on images of shape {list(task.shape)}: {problem}{channel_hint(module, task)}"
        )
        return None
    if seconds > SLOW_SECONDS:
        found.warnings.append(f"one pass of {PROBES} images took {seconds:.1f} s; a run makes thousands of them")
    if not torch.equal(given, inputs):
        found.faults.append(
            "the teacher changes its input images in place; copy them first in its forward (x = x.clone())"
        )
    part = changed(module, before)
    if part:
        found.faults.append(
            f"the teacher changes its own '{part}' when it answers in eval mode; a frozen teacher must not"
        )
    try:
        logits = logits_of(output)
    except TeacherError as fault:
        found.output = type(output).__name__
        found.faults.append(_name_output(output) or str(fault))
        return None
    problem = _wrong_shape(logits, task)
    if problem:
        found.output = "tensor"
        found.faults.append(problem)
        return None
    return logits.detach().float()


def _wrong_shape(logits: Tensor, task: ImageTask) -> str | None:
    shape, expected = list(logits.shape), f"expected ({PROBES}, {task.classes}) logits for {PROBES} images"
    if not logits.is_floating_point():
        return f"the teacher returned {logits.dtype}: {expected}, not labels"
    if logits.ndim == 4:
        return f"the teacher returned {shape}, a map per image: a segmentation model or a feature extractor; {expected}"
    if logits.ndim != 2 or shape[0] != PROBES:
        return f"the teacher returned shape {shape}; {expected}"
    if shape[1] == 1:
        return (
            "the teacher has 1 output: at least 2 classes are needed. For a yes/no model with one logit z return "
            "the two logits torch.cat([-z, z], 1) / 2"
        )
    if shape[1] != task.classes:
        return f"the teacher gives {shape[1]} classes and the task has {task.classes}: choose the task of this teacher"
    return None


def _name_output(output: Any) -> str | None:
    """Jobs that are out of scope, by what they return."""
    one = output[0] if isinstance(output, (list, tuple)) and output else output
    if isinstance(one, Mapping) and "boxes" in one:
        return "the teacher is a detection model (it returns boxes); only classifiers of images are supported"
    return None


def _judge_logits(logits: Tensor, task: ImageTask, found: Preflight) -> None:
    found.gives = [logits.shape[1]]
    bad = int((~torch.isfinite(logits)).any(dim=1).sum())
    if bad:
        kind = "NaN" if bool(torch.isnan(logits).any()) else "infinite"
        found.faults.append(
            f"the teacher gives {kind} logits on {bad} of {PROBES} images of noise; its weights are damaged or overflow"
        )
        return
    found.output = kind = _output_kind(logits)
    if kind == "probabilities":
        found.faults.append(
            "the teacher returns probabilities (rows sum to 1), not logits: leave out its final softmax"
        )
    elif kind == "sigmoids":
        found.faults.append(
            "the teacher returns independent probabilities (sigmoid): multi-label models are not supported, and a "
            "model of exclusive classes must return logits"
        )
    spread = (logits - logits[:1]).abs().amax(dim=0)
    scale = float(logits.abs().max())
    if float(spread.max()) <= 1e-6 * max(scale, 1e-6):
        found.faults.append(
            "the teacher gives the same answer to every image; its weights were not loaded, or it is collapsed"
        )
        return
    dead = [task.name_of(i) for i in (spread <= 1e-6 * scale).nonzero().flatten().tolist()]
    if dead:
        found.warnings.append(f"dead outputs: {len(dead)} class(es) never change ({', '.join(dead[:5])})")
    confidence = float(logits.softmax(dim=1).amax(dim=1).mean())
    if confidence > CONFIDENT and not found.faults:
        found.warnings.append(
            f"the teacher is {confidence:.1%} sure of pure noise: soft labels carry little; a temperature above 1 helps"
        )


def _output_kind(logits: Tensor) -> str:
    sums = logits.sum(dim=1)
    within = bool((logits >= 0).all() and (logits <= 1).all())
    if within and torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        return "probabilities"
    if within and float(logits.max()) > float(logits.min()):
        return "sigmoids"
    lse = logits.logsumexp(dim=1)
    return "log-probabilities" if torch.allclose(lse, torch.zeros_like(lse), atol=1e-4) else "logits"


def _check_repeats(module: nn.Module, inputs: Tensor, logits: Tensor, found: Preflight) -> None:
    again, problem = attempt(lambda: logits_of(module(inputs.clone())).float())
    half, problem_half = attempt(lambda: logits_of(module(inputs[: PROBES // 2].clone())).float())
    if problem or problem_half:
        found.faults.append(f"the teacher fails when it is asked again: {problem or problem_half}")
        return
    tolerance = 1e-3 * float(logits.abs().max()) + 1e-5
    if again.shape != logits.shape or float((again - logits).abs().max()) > tolerance:
        found.faults.append(
            "the teacher answers the same images differently each time (dropout or sampling in eval mode?)"
        )
    elif half.shape != logits[: PROBES // 2].shape or float((half - logits[: PROBES // 2]).abs().max()) > tolerance:
        found.faults.append(
            "the teacher's answer to an image depends on the other images of the batch (batch statistics in eval mode?)"
        )


def _check_gradient(module: nn.Module, inputs: Tensor, found: Preflight) -> None:
    reason = no_gradient(module, inputs)
    if reason:
        found.access = Access.SCORES.name.lower()
        found.warnings.append(f"{reason}: methods that make images by gradients cannot use it")


def _describe(teacher: Teacher, inputs: Tensor, logits: Tensor, found: Preflight) -> None:
    anatomy, problem = attempt(lambda: teacher.anatomy)
    if problem:
        found.faults.append(f"the teacher fails on blank images: {problem}")
        return
    found.batch_norms, found.head = len(anatomy.batch_norms), anatomy.head
    if not found.batch_norms:
        found.warnings.append("the teacher has no BatchNorm statistics: methods that match them cannot be used")
    if logits.shape[1] == 2:
        found.warnings.append("2 classes: an answer carries little beyond the label, so more samples are needed")
    elif logits.shape[1] > MANY_CLASSES:
        found.warnings.append(f"{logits.shape[1]:,} classes: a batch rarely meets a class twice; plan a long run")
    brightness, problem = attempt(lambda: training_brightness(teacher.module, teacher.task, inputs))
    if problem or brightness is None:
        return
    found.training_brightness = {"mean": round(brightness.mean, 4), "std": round(brightness.std, 4)}
    if not plausible(brightness, teacher.task):
        found.warnings.append(
            f"{PROBLEM}: by its first BatchNorm its training images would have had a mean of {brightness.mean:.2f} "
            f"and a std of {brightness.std:.2f} in 0..1 "
            "(a photograph: about 0.45 and 0.25). Give the task those that it was trained with (mean 0, std 1 for "
            "images fed in 0..1; mean 0, std 0.0039 for 0..255)."
        )


def _check_student(student: nn.Module, task: ImageTask, found: Preflight) -> None:
    found.student_parameters = sum(p.numel() for p in student.parameters())
    if not any(p.requires_grad for p in student.parameters()):
        found.faults.append("the student has no parameters to train")
        return
    device = next(student.parameters()).device
    inputs = probes(task, device)
    for train in (False, True):
        mode = "train" if train else "eval"
        with fixed(student, train), buffers_kept(student):
            logits, problem = attempt(lambda: forward(student, inputs.clone()).logits)
        if problem:
            found.faults.append(
                f"the student fails in {mode} mode on images of shape {list(task.shape)}: {problem}"
                + channel_hint(student, task)
            )
            return
        if tuple(logits.shape) != (PROBES, task.classes):
            found.faults.append(
                f"the student gives {list(logits.shape)} in {mode} mode for {PROBES} images; "
                f"expected {[PROBES, task.classes]}"
            )
            return
        if not bool(torch.isfinite(logits).all()):
            found.faults.append(
                f"the student gives logits that are not finite in {mode} mode; start from fresh weights"
            )
            return
    if found.parameters and found.student_parameters >= found.parameters:
        found.warnings.append(
            f"the student ({found.student_parameters:,} parameters) is not smaller than the teacher "
            f"({found.parameters:,})"
        )
