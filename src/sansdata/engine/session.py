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
from ..settings import FeatureTerms, RetainSettings
from ..synthesis.folder import ImagePool
from ..tasks import ImageTask
from ..teachers.base import Teacher
from ..training.added_terms import AddedTerms
from ..training.plain import Plain
from ..training.retain import Retain
from ..training.transfer import TransferSettings, set_lr


class Session:
    """Teacher, student, method and update, and how many moves they have made."""

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
    ) -> None:
        """steps: student steps planned, for schedules. retain: how the student keeps what it learnt; None is a plain
        step. pool: images for a method that requires them. The student is trained in place."""
        self.student, self.runtime, self.task = runtime.place(student), runtime, task
        runtime.broadcast(student)
        self.streams = Streams(seed, runtime.rank)
        self.context = Context(
            task, teacher.to(runtime), student, self.streams, Progress(0, steps), Counters(), runtime, pool=pool
        )
        teacher.count_into(self.context.counters)
        self.terms = self._added_terms(features)
        self.method = method(config, self.context)
        self.trained = self.method.build_student(student)
        settings: TransferSettings = config.transfer
        learns = [self.trained, self.terms] if self.terms is not None else [self.trained]
        self.optimizer = settings.make_optimizer(nn.ModuleList(learns))
        self.settings = settings
        how = (self.context, self.student_forward, self.optimizer, settings.clip)
        self.update: Update = Plain(*how) if retain is None else Retain(*how, self.trained, self.student_at, retain)
        self.moves = 0
        self.last_batch: Batch | None = None
        """What the latest transfer taught from; for watching only."""

    def _added_terms(self, features: FeatureTerms | None) -> AddedTerms | None:
        if features is None or not features.active:
            return None
        with self.streams.as_global("regressors", shared=True):
            terms = AddedTerms(features, self.context.teacher.module, self.student, self.task)
        self.context.teacher_taps, self.context.student_taps = terms.teacher_taps, terms.student_taps
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
            losses = self._transfer() if kind == "transfer" else getattr(self.method, kind)()
        self.moves += 1
        self._require_finite(kind, losses)
        return kind, losses

    def advance(self, moves: int) -> None:
        """Makes `moves` moves."""
        for _ in range(moves):
            self.move()

    def _transfer(self) -> Losses:
        progress = self.context.progress
        set_lr(self.optimizer, self.settings.lr_at(progress.value))
        self.trained.train()
        batch = self.method.transfer_batch()
        self.last_batch = batch
        losses = self.update.step(self._loss, batch)
        progress.steps += 1
        return losses

    def _loss(self, student: Forward, batch: Batch) -> Losses:
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
        parts |= {f"update.{name}": part for name, part in self.update.state().items()}
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
