"""KD3, "Distribution shift matters for knowledge distillation with webly collected images" (Tang et al., ICCV 2023,
arXiv 2307.11469), after its released code.

A pool holds images of no class of ours, and images of our classes that look different. Which are worth teaching is
decided anew every epoch, by the teacher at first and by the student later. The student learns the teacher's features,
not its logits: it answers through the teacher's own classifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...arithmetic import ceil_div
from ...config import Strict
from ...contracts import Access, Batch, Forward, Losses, Requirements, Stateful
from ...errors import MethodError
from ...memory import Slot
from ...method import Context, Method
from ...models.modes import fixed
from ...models.shared_classifier import Ending, ending, share_classifier
from ...models.with_part import PROJECTED, WithPart
from ...objectives.agreement import class_entropy
from ...objectives.contrastive import pair_contrast
from ...objectives.features import pooled_hint
from ...objectives.logits import disagreement_weights
from ...synthesis.augment import Augment
from ...synthesis.given import draw, random_share
from ...synthesis.pool_scan import PoolScan, best_of, short_scan
from ...training.transfer import TransferSettings
from .choice import confident, teachers_share
from .style_mix import mixed_styles


class KD3Config(Strict):
    """Defaults are the released values: tangjialiang97/KD3, train_student.py and helper/loops.py."""

    share: float = pydantic.Field(default=1.0, gt=0, le=1)  # of the pool, drawn at random once; ours
    select: Literal["epoch", "once", "none"] = "epoch"  # released: every epoch
    threshold: float = pydantic.Field(default=0.95, ge=0, lt=1)  # released
    floor: float = pydantic.Field(default=0.0, ge=0, lt=1)  # least threshold of a class; released: none
    steps_per_epoch: int = pydantic.Field(default=300, ge=1)  # ours
    scan_moves: int = pydantic.Field(default=50, ge=2)  # ours
    projector: int = pydantic.Field(default=2, ge=1)  # released
    weighted: bool = True  # released
    contrast: float = pydantic.Field(default=0.001, ge=0)  # released
    contrast_temperature: float = pydantic.Field(default=0.3, gt=0)  # released
    embedding: int = pydantic.Field(default=128, ge=1)  # released
    mix: float = pydantic.Field(default=0.1, gt=0)  # of Beta(mix, mix); released
    view: Augment = "crop+flip"  # released: random resized crops and flips
    steps: int = pydantic.Field(default=72_000, ge=1)  # 240 epochs, released, of 300, ours
    transfer: TransferSettings = TransferSettings(
        lr=0.05, weight_decay=5e-4, schedule="step", milestones=(0.625, 0.75, 0.875), batch=1024
    )  # released


class KD3(Method):
    """The teacher scores the pool once; every epoch the student does, images are chosen, and the student learns."""

    Config: ClassVar[type] = KD3Config
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours): few epochs, each with a look at the whole pool. The released rate is for batches of
        # 1024 and a hundred times the steps; here the features were hardly learned at it.
        "small": {
            "steps_per_epoch": 140, "scan_moves": 20, "steps": 1400,
            "transfer": {"lr": 1.0, "batch": 128, "schedule": "cosine", "weight_decay": 1e-4},
        },
    }  # fmt: skip

    @classmethod
    def requires(cls, config: KD3Config) -> Requirements:
        return Requirements(access=Access.WEIGHTS, head=True, pool=True)

    @classmethod
    def moves_inputs(cls, config: KD3Config) -> bool:
        return False  # WEIGHTS is asked for the teacher's features and classifier; the inputs are given

    @classmethod
    def plan(cls, config: KD3Config, steps: int) -> dict[str, int]:
        plan = {"transfer": steps}
        if config.select != "none":
            plan["score"] = config.scan_moves
        if config.select == "epoch":
            plan["select"] = config.scan_moves * ceil_div(steps, config.steps_per_epoch)
        return plan

    @classmethod
    def rehearsal(cls, config: KD3Config) -> KD3Config:
        return config.model_copy(update={**short_scan(config.scan_moves, config.share), "steps_per_epoch": 2})

    def __init__(self, config: KD3Config, context: Context) -> None:
        super().__init__(config, context)
        ids = random_share(context, config.share)
        # Deviation: the teacher's answers are kept, where the released code asks it anew every epoch.
        self.teachers = PoolScan(context, ids, config.scan_moves)
        self.students = PoolScan(context, ids, config.scan_moves)
        self.schedule = Slot(scored=config.select == "none", epoch=0, left=0, ids=ids)
        self.teacher_end = self._ending("teacher", context.teacher.inside.module)
        self.projected: dict[str, Any] = {}

    def _ending(self, whose: str, module: nn.Module) -> Ending:
        last = ending(module, self.context.task.shape)
        if last is None:
            raise MethodError(
                f"kd3 aligns the feature map whose mean the last linear layer reads, and the {whose} ends in another "
                "way; take a ResNet or another network with global average pooling"
            )
        return last

    def build_student(self, student: nn.Module) -> nn.Module:
        """Puts the projector and the teacher's classifier into `student`; both stay there when training is over.

        Raises MethodError where the student does not end in global average pooling and a linear layer.
        """
        config, context, mine = self.config, self.context, self._ending("student", student)
        classifier = context.teacher.inside.module.get_submodule(self.teacher_end.head)
        assert isinstance(classifier, nn.Linear)
        with context.streams.as_global("projector", shared=True):
            self.projected = share_classifier(student, mine, classifier, config.projector, self.teacher_end.size)
            context.runtime.place(student)
            embedding = Embedding(mine, config.embedding)
        context.teacher_taps = (*context.teacher_taps, self.teacher_end.stage)
        context.student_taps = (*context.student_taps, mine.stage)
        if not config.contrast:
            return student
        context.student_taps = (*context.student_taps, PROJECTED)
        return context.runtime.place(WithPart(student, PROJECTED, embedding, reads=f"{mine.stage}.stage"))

    def architecture(self, own: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        if own is None:
            return None
        return {"kind": "shared-classifier", "of": own, "classes": self.context.task.classes, **self.projected}

    def next_move(self) -> str:
        if not self.schedule["scored"]:
            return "score"
        return "select" if self.config.select == "epoch" and self.schedule["left"] == 0 else "transfer"

    def score(self) -> Losses:
        """The next chunk of the pool before the teacher."""
        if not self.teachers.step(self.context.teacher):
            return Losses()
        self.schedule["scored"] = True
        return self._choose(self.teachers.logits) if self.config.select == "once" else Losses()

    def select(self) -> Losses:
        """The next chunk of the pool before the student; after the last, the images of this epoch are chosen."""
        with fixed(self.context.student):
            whole = self.students.step(self.context.student_outputs)
        if not whole:
            return Losses()
        epochs = ceil_div(self.context.progress.planned, self.config.steps_per_epoch)
        self.schedule["epoch"] += 1
        alpha = teachers_share(self.schedule["epoch"], epochs)
        self.schedule["left"] = self.config.steps_per_epoch
        return self._choose(alpha * self.teachers.logits + (1 - alpha) * self.students.logits)

    def _choose(self, logits: Tensor) -> Losses:
        """Deviation: at least a batch is kept, the surest, where fewer pass; an empty epoch would end the run."""
        config, probabilities = self.config, F.softmax(logits, dim=1)
        passes = confident(probabilities, config.threshold, config.floor)
        ids = best_of(self.teachers.ids, probabilities.amax(1), passes, config.transfer.batch)
        self.schedule["ids"] = ids
        chosen = logits[torch.isin(self.teachers.ids, ids)]
        losses = Losses()
        losses.add("kept_share", 1, lambda: torch.tensor(len(ids) / len(logits)))
        losses.add("kept_class_entropy", 1, lambda: torch.tensor(class_entropy(chosen)))
        return losses

    def transfer_batch(self) -> Batch:
        """Deviation: drawn with replacement, and an epoch is a fixed number of steps, so that the plan knows it."""
        config, context = self.config, self.context
        if config.select == "epoch":
            self.schedule["left"] -= 1
        batch = draw(self.schedule["ids"], context, config.transfer.batch, config.view)
        if config.contrast:
            batch.extras["mixed"] = mixed_styles(batch.images, config.mix, context.streams("mix"))
        return batch

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        """Deviation: the released code also contrasts the teacher's features; that loss reaches nothing but a head of
        its own, and would cost a pass of the teacher. A batch that an update made of older images has no contrast."""
        losses, outputs, teacher = Losses(), student(batch.images), batch.answers()
        weights = disagreement_weights(outputs.logits, teacher.logits) if self.config.weighted else 1.0
        student_map = outputs.taps[self.projected["stage"]]
        teacher_map = self.teacher_end.read(teacher.taps[self.teacher_end.stage])
        losses.add("features", 1, lambda: weights * pooled_hint(student_map, teacher_map))
        if "mixed" in batch.extras:
            mixed = student(batch.extras["mixed"]).taps[PROJECTED]
            own = outputs.taps[PROJECTED][: len(mixed)]  # older images, which an update joined, have no mixed partner
            losses.add(
                "contrast", self.config.contrast, lambda: pair_contrast(own, mixed, self.config.contrast_temperature)
            )
        return losses

    def state(self) -> Mapping[str, Stateful]:
        return {"teachers": self.teachers, "students": self.students, "schedule": self.schedule}


class Embedding(nn.Module):
    """The last map (B, D, H, W) of a network that ends so -> (B, size): what its head reads, linearly, each row of
    length 1."""

    def __init__(self, end: Ending, size: int) -> None:
        super().__init__()
        self.end = end
        self.linear = nn.Linear(end.width, size)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.linear(self.end.read(x).float().flatten(2).mean(2)), dim=1)
