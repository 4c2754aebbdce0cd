"""A method at work on a student: one move after another, without directory, clock or budget.

`distill` runs a session inside a run directory; a federated server can advance one by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..contracts import Batch, Context, Counters, Forward, Losses, Method, Outputs, Progress, Stateful, Streams, Update
from ..errors import DivergedError, MethodError
from ..models.functional import AtWeights
from ..runtime import Runtime
from ..settings import FeatureTerms, RetainSettings, RetrospectSettings, VaccineSettings
from ..synthesis.folder import ImagePool
from ..tasks import ImageTask
from ..teachers.base import Teacher
from ..training.added_terms import AddedTerms
from ..training.plain import Plain
from ..training.retain import Retain
from ..training.retrospect import Retrospect
from ..training.transfer import TransferSettings, set_lr
from ..training.vaccine import Vaccine


class Session:
    """Teacher, student, method, updates and defence, and how many moves they have made."""

    def __init__(
        self,
        method: type[Method],
        config: Any,
        teacher: Teacher,
        student: nn.Module,
        task: ImageTask,
        runtime: Runtime,
        seed: int = 0,
        steps: int = 1,
        features: FeatureTerms | None = None,
        retain: RetainSettings | None = None,
        pool: ImagePool | None = None,
        vaccine: VaccineSettings | None = None,
        retrospect: RetrospectSettings | None = None,
    ) -> None:
        """steps: student steps planned, for schedules. retain: how the student keeps what it learnt; None is a plain
        step. pool: images for a method that requires them. vaccine, retrospect: against a poisoned teacher. The
        student is trained in place."""
        self.student, self.runtime, self.task = runtime.place(student), runtime, task
        runtime.broadcast(student)
        self.streams = Streams(seed, runtime.rank)
        self.context = Context(
            task, teacher.to(runtime), student, self.streams, Progress(0, steps), Counters(), runtime, pool=pool
        )
        teacher.count_into(self.context.counters)
        self.vaccine = None if vaccine is None else Vaccine(vaccine, self.context)
        self.context.defence = self.vaccine
        self.moves_inputs = method.moves_inputs(config)
        self.method = method(config, self.context)
        self.trained = self.method.build_student(student)
        self.terms = self._added_terms(features)  # on the student as it is built
        settings: TransferSettings = config.transfer
        learns = [self.trained, self.terms] if self.terms is not None else [self.trained]
        self.optimizer = settings.make_optimizer(nn.ModuleList(learns))
        self.settings = settings
        how = (self.context, self.student_forward, self.optimizer, settings.clip)
        self.updates: list[Update] = [Plain(*how)]
        """The last one that is active takes the step."""
        if retain is not None:
            self.updates.append(Retain(*how, self.trained, self.student_at, retain))
        if retrospect is not None:
            self.updates.append(Retrospect(*how[:3], self.trained, retrospect))
        self.moves = 0
        self.last_batch: Batch | None = None
        """What the latest transfer taught from; for watching only."""

    def _added_terms(self, features: FeatureTerms | None) -> AddedTerms | None:
        if features is None or not features.active:
            return None
        with self.streams.as_global("regressors", shared=True):
            terms = AddedTerms(features, self.context.teacher.module, self.student, self.task)
        self.context.teacher_taps = tuple(dict.fromkeys([*self.context.teacher_taps, *terms.teacher_taps]))
        self.context.student_taps = tuple(dict.fromkeys([*self.context.student_taps, *terms.student_taps]))
        return self.runtime.place(terms)

    def student_forward(self, images: Tensor) -> Outputs:
        """The student at its present weights, images (B, C, H, W) in unit space."""
        return self._forward(self.trained, images)

    def student_at(self, parameters: Mapping[str, Tensor]) -> Forward:
        """The student as a function, with these parameters in place of its own."""
        module = AtWeights(self.trained, parameters).train(self.trained.training)
        return lambda images: self._forward(module, images)

    def _forward(self, module: nn.Module, images: Tensor) -> Outputs:
        context = self.context
        return self.runtime.forward(module, self.task, images, context.student_taps, context.counters, "student")

    def move(self) -> tuple[str, Losses]:
        """Makes the next move. Raises DivergedError, naming the term, where a loss is not finite."""
        kind = self.method.next_move()
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
        vaccine, counters = self.vaccine, self.context.counters
        before = counters["teacher_backwards"], 0 if vaccine is None else vaccine.asked
        losses = getattr(self.method, kind)()
        if vaccine is not None and counters["teacher_backwards"] > before[0] and vaccine.asked == before[1]:
            raise MethodError(
                f"{type(self.method).__name__}.{kind} takes gradients through the teacher, but its loss does not begin "
                "with context.acquire_losses(images, outputs): the vaccine would have no effect"
            )
        return losses

    def _transfer(self) -> Losses:
        progress = self.context.progress
        set_lr(self.optimizer, self.settings.lr_at(progress.value))
        self.trained.train()
        batch = self.method.transfer_batch()
        self.last_batch = batch
        if self.vaccine is not None:
            self.vaccine.watch(batch)
        update = [update for update in self.updates if update.active(progress)][-1]
        losses = update.step(self._loss, batch)
        progress.steps += 1
        return losses

    def _loss(self, student: Forward, batch: Batch) -> Losses:
        """The method's loss with the added terms, its samples weighed where the vaccine can do no more."""
        losses = self._aligned(student, batch)
        return losses if self.vaccine is None or self.moves_inputs else self.vaccine.guard(losses, batch)

    def _aligned(self, student: Forward, batch: Batch) -> Losses:
        """The method's loss with the added terms, read from the same forward pass."""
        if self.terms is None:
            return self.method.student_loss(student, batch)
        seen: list[tuple[Tensor, Outputs]] = []

        def watched(images: Tensor) -> Outputs:
            outputs = student(images)
            seen.append((images, outputs))
            return outputs

        losses = self.method.student_loss(watched, batch)
        own = next((outputs for images, outputs in seen if images is batch.inputs), None)
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
        parts |= {f"method.{name}": part for name, part in self.method.state().items()}
        for update in self.updates:
            parts |= {f"update.{name}": part for name, part in update.state().items()}
        if self.vaccine is not None:
            parts |= {f"defence.{name}": part for name, part in self.vaccine.state().items()}
        return parts


class _Position:
    """How far a session is."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def state_dict(self) -> dict[str, int]:
        progress = self.session.context.progress
        return {"moves": self.session.moves, "steps": progress.steps, "planned": progress.planned}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        progress = self.session.context.progress
        self.session.moves, progress.steps, progress.planned = state["moves"], state["steps"], state["planned"]
