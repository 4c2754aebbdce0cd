"""A method at work on a student: one move after another, without directory, clock or budget.

`distill` runs a session inside a run directory; a federated server can advance one by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..columns import Inputs
from ..compress.prune import hold_zeros
from ..compress.quant_relu import bound_resolutions
from ..config import Strict
from ..contracts import Batch, Counters, Forward, Losses, Outputs, Progress, Stateful
from ..decoding.image_pool import ImagePool
from ..errors import DivergedError, MethodError
from ..method import Context, Defence, Method, Update
from ..methods.contract import (
    require_batch,
    require_given,
    require_kind,
    require_losses,
    require_plan,
    require_state,
    require_teaching,
)
from ..models.at_weights import StudentAt
from ..network import Network
from ..runtime import Runtime
from ..streams import Streams
from ..tasks import Task
from ..teachers.base import Teacher
from ..training.added_terms import AddedTerms
from ..training.parts import PARTS, StudentStep
from ..training.plain import Plain
from ..training.transfer import TransferSettings, set_lr


class Session:
    """Teacher, student, method and the parts around its step, and how many moves they have made."""

    def __init__(
        self,
        method: type[Method],
        config: Any,
        teacher: Teacher,
        student: nn.Module,
        task: Task,
        runtime: Runtime,
        seed: int = 0,
        steps: int = 1,
        parts: Mapping[str, Strict] | None = None,
        pool: ImagePool | None = None,
    ) -> None:
        """task: with the student's own preprocessing. steps: student steps planned, for schedules. parts: what stands
        around the step, by its name in training.parts, with its settings. pool: images for a method that requires them.
        The student is trained in place."""
        self.student, self.runtime, self.task = runtime.place(student), runtime, task
        runtime.broadcast(student)
        self.streams = Streams(seed, runtime.rank)
        self.context = Context(
            task, teacher.to(runtime), Network.of(student, task), self.streams, Progress(0, steps), Counters(), runtime,
            pool=pool,
        )  # fmt: skip
        teacher.count_into(self.context.counters)
        teacher.draw_from(self.streams)
        settings = {name: parts[name] for name in PARTS if name in parts} if parts else {}
        self.defence: Defence | None = None
        for name in self._of_role("defence", settings):
            self.defence = PARTS[name].build(settings[name], self.context)
        self.context.defence = self.defence
        self.moves_inputs = method.moves_inputs(config)
        self.kinds = tuple(require_plan(method, config, steps))
        self.method = method(config, self.context)
        module = self.method.build_student(student)
        self.trained = require_given(type(self.method), "build_student(student)", module, nn.Module)
        self.student_forward = self.student_of(self.trained)
        """The student at its present weights, on inputs as they travel."""
        for name in self._of_role("view", settings):  # the student's own network, not what a method put beside it
            PARTS[name].build(settings[name], self.context)
        self.terms: AddedTerms | None = None
        for name in self._of_role("terms", settings):  # on the student as it is built
            self.terms = PARTS[name].build(settings[name], self.context)
        self.settings: TransferSettings = config.transfer
        hold_zeros(self.trained, runtime)
        bound_resolutions(self.trained, runtime)
        learns = [self.trained] if self.terms is None else [self.trained, self.terms]
        self.optimizer = self.settings.make_optimizer(nn.ModuleList(learns))
        step = StudentStep(
            self.context, self.trained, self.student_forward, self.student_forward.at, self.optimizer, self.settings,
            self.method.match_scale,
        )  # fmt: skip
        self.updates: list[Update] = [Plain(self.context, step.forward, step.optimizer, self.settings.clip)]
        """The last one that is active takes the step."""
        self.updates += [PARTS[name].build(settings[name], step) for name in self._of_role("update", settings)]
        self.moves = 0
        self.last_batch: Batch | None = None
        """What the latest transfer taught from; for watching only."""

    @staticmethod
    def _of_role(role: str, settings: Mapping[str, Strict]) -> list[str]:
        return [name for name in settings if PARTS[name].role == role]

    def student_of(self, module: nn.Module) -> StudentAt:
        """A student's module as the function that a method's loss is given."""
        return StudentAt(self._forward, module)

    def _forward(self, module: nn.Module, inputs: Inputs) -> Outputs:
        context, network = self.context, self.context.network.around(module)
        return self.runtime.forward(network, inputs, context.student_taps, context.counters, "student")

    def move(self) -> tuple[str, Losses]:
        """Makes the next move. Raises DivergedError, naming the term, where a loss is not finite."""
        kind = require_kind(self.method, self.method.next_move(), self.kinds)
        self.streams.begin(self.moves)
        with self.streams.as_global("global"):
            losses = self._transfer() if kind == "transfer" else self._acquire(kind)
        self.moves += 1
        self._require_finite(kind, losses)
        return kind, losses

    def advance(self, moves: int) -> None:
        """Makes `moves` moves."""
        for _ in range(moves):
            self.move()

    def _acquire(self, kind: str) -> Losses:
        """A move of the method's own. Raises MethodError where it moved inputs without the defence's terms."""
        defence, counters = self.defence, self.context.counters
        before = counters["teacher_backwards"], 0 if defence is None else defence.requests
        losses = require_losses(self.method, f"{kind}()", getattr(self.method, kind)())
        if defence is not None and counters["teacher_backwards"] > before[0] and defence.requests == before[1]:
            raise MethodError(
                f"{type(self.method).__name__}.{kind} takes gradients through the teacher, but its loss does not begin "
                "with context.acquire_losses(inputs, outputs): the vaccine would have no effect"
            )
        return losses

    def _transfer(self) -> Losses:
        progress = self.context.progress
        set_lr(self.optimizer, self.settings.lr_at(progress.value))
        self.trained.train()
        batch = require_batch(self.method, self.method.transfer_batch())
        self.last_batch = batch
        if self.defence is not None:
            self.defence.watch(batch)
        update = [update for update in self.updates if update.active(progress)][-1]
        losses = update.step(self._loss, batch)
        progress.steps += 1
        return losses

    def _loss(self, student: Forward, batch: Batch) -> Losses:
        """The method's loss with the added terms, its samples weighed where the defence can do no more."""
        losses = require_teaching(self.method, self._aligned(student, batch))
        return losses if self.defence is None or self.moves_inputs else self.defence.guard(losses, batch)

    def _aligned(self, student: Forward, batch: Batch) -> Losses:
        """The method's loss with the added terms, read from the same forward pass."""
        if self.terms is None:
            return require_losses(self.method, "student_loss", self.method.student_loss(student, batch))
        passes: list[tuple[Inputs, Outputs]] = []

        def watched(inputs: Inputs) -> Outputs:
            outputs = student(inputs)
            passes.append((inputs, outputs))
            return outputs

        losses = require_losses(self.method, "student_loss", self.method.student_loss(watched, batch))
        own = next((outputs for inputs, outputs in passes if inputs is batch.inputs), None)
        if own is None or batch.teacher_outputs is None:
            raise MethodError("features: this method does not run the student on its batch; there is nothing to align")
        self.terms.add_to(losses, own, batch.teacher_outputs)
        return losses

    def _require_finite(self, kind: str, losses: Losses) -> None:
        values = losses.values()
        if not values:
            return
        finite = bool(torch.isfinite(torch.stack(list(values.values()))).all())
        if not self.runtime.agree(not finite):
            return
        bad = [f"{kind}/{name}" for name, value in values.items() if not torch.isfinite(value)]
        where = ", ".join(bad) or "a loss on another process"
        raise DivergedError(
            f"{where} is not finite at move {self.moves - 1} (student step {self.context.progress.steps}). "
            "Lower the learning rates (transfer.lr, and the method's own), or set transfer.clip=5."
        )

    def state(self) -> Mapping[str, Stateful]:
        """Everything that outlives a move."""
        parts: dict[str, Stateful] = {
            "student": self.trained,
            "optimizer": self.optimizer,
            "counters": self.context.counters,
            "position": _Position(self),
        }
        if self.terms is not None:
            parts["terms"] = self.terms
        parts |= {f"method.{name}": part for name, part in require_state(self.method).items()}
        for update in self.updates:
            parts |= {f"update.{name}": part for name, part in update.state().items()}
        if self.defence is not None:
            parts |= {f"defence.{name}": part for name, part in self.defence.state().items()}
        return parts


class _Position:
    """How far a session is."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def state_dict(self) -> dict[str, int]:
        progress = self.session.context.progress
        return {"moves": self.session.moves, "steps": progress.steps, "planned": progress.planned}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Raises ValueError for what is no place in a run."""
        progress = self.session.context.progress
        if not (0 <= state["steps"] <= state["moves"] and state["planned"] > 0):
            raise ValueError(f"{state['steps']} of {state['planned']} steps after {state['moves']} moves")
        self.session.moves, progress.steps, progress.planned = state["moves"], state["steps"], state["planned"]
