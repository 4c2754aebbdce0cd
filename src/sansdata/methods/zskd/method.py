"""ZSKD: zero-shot knowledge distillation (Nayak et al., ICML 2019, arXiv 1905.08114).

No generator and no BatchNorm: soft labels are drawn around each class, spread as the teacher's last layer says the
classes resemble one another, and pixels are optimised until the teacher gives them ("data impressions"). The student
then learns the teacher's softened outputs on altered copies of the impressions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor

from ...config import Strict
from ...contracts import Access, Losses, Requirements, Stateful
from ...memory import Pool
from ...method import Context
from ...objectives.logits import soft_cross_entropy
from ...synthesis.augment import Augment, View
from ...synthesis.labels import stratified_labels
from ...synthesis.pixels import Inversion, PixelRounds
from ...synthesis.rounds import Schedule
from ...training.transfer import TransferSettings
from .impression_views import impression_views
from .soft_labels import class_similarity, dirichlet_targets

Beta = Annotated[float, pydantic.Field(gt=0)]


class ZSKDConfig(Strict):
    """Defaults are the released CIFAR-10 values (vcl-iisc/ZSKD). Pixels live in unit space."""

    batch: int = pydantic.Field(default=100, ge=2)  # released
    iterations: int = pydantic.Field(default=1500, ge=1)  # released
    chunk: int = pydantic.Field(default=25, ge=1)  # iterations a move: ours
    pixel_lr: float = pydantic.Field(default=1e-3, gt=0)  # released, Adam's default betas
    temperature: float = pydantic.Field(default=20.0, gt=0)  # of the impressions; released
    labels: Literal["dirichlet", "one-hot"] = "dirichlet"  # one-hot: the ablation, class impressions
    betas: tuple[Beta, ...] = pydantic.Field(default=(1.0, 0.1), min_length=1)  # released: half of the images each
    pool: int = pydantic.Field(default=40_000, ge=1)  # released
    steps_per_batch: int = pydantic.Field(default=782, ge=1)  # student steps for each batch made; released: see `steps`
    view: Augment | Literal["zskd"] = "zskd"  # released
    steps: int = pydantic.Field(default=312_500, ge=1)  # released: 500 epochs of 40,000 impressions
    transfer: TransferSettings = TransferSettings(
        optimizer="adam", lr=1e-3, weight_decay=0.0, schedule="constant", batch=64, temperature=20.0
    )  # released


class ZSKD(PixelRounds):
    """Makes a batch of impressions over several moves, keeps it, teaches for a while from all, and begins again.

    Deviation: the released code makes all 40,000 impressions first. In turn with student steps, their number suits any
    budget, and a run that is stopped leaves a student.
    The student's loss there is temperature^2 * CE(teacher's softened output, student's), which is the house's `kl` but
    for the entropy of the target, a constant: the gradients are the same.
    """

    Config: ClassVar[type] = ZSKDConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {
            "iterations": 60, "chunk": 20, "pixel_lr": 0.05, "steps_per_batch": 60, "steps": 1100,
            "transfer": {"lr": 2e-3, "schedule": "cosine", "batch": 128},
        },
    }  # fmt: skip
    config: ZSKDConfig

    @classmethod
    def requires(cls, config: ZSKDConfig) -> Requirements:
        similar = config.labels == "dirichlet"
        return Requirements(access=Access.WEIGHTS if similar else Access.GRADIENTS, head=similar)

    def __init__(self, config: ZSKDConfig, context: Context) -> None:
        super().__init__(config, context)
        self.pool = Pool(config.pool)
        self.schedule = Schedule(self.round_of(config))
        blank = torch.zeros(config.batch, *context.task.shape)
        nothing = torch.zeros(config.batch, context.task.classes)
        self.inversion = Inversion(
            context.runtime.place(blank), nothing, config.pixel_lr, config.iterations, config.chunk
        )

    @property
    def view(self) -> View:
        return impression_views if self.config.view == "zskd" else self.config.view

    def begin_batch(self) -> None:
        """Pixels drawn evenly from 0..1, and soft labels."""
        config, context = self.config, self.context
        pixels = torch.rand(config.batch, *context.task.shape, generator=context.streams("pixels"))
        self.inversion.begin(context.runtime.place(pixels), self._targets().to(context.runtime.device))

    def iterate(self) -> Losses:
        losses = self._losses()
        self.inversion.step(losses.total())
        self.inversion.rescale()
        return losses

    def finished_batch(self) -> tuple[Tensor, Tensor]:
        return self.inversion.pixels.detach(), self.inversion.targets.argmax(1)

    def _losses(self) -> Losses:
        inversion = self.inversion
        outputs = self.context.teacher(inversion.pixels)
        losses = self.context.acquire_losses(inversion.pixels, outputs)
        losses.add("ce", 1, lambda: soft_cross_entropy(outputs.logits, inversion.targets, self.config.temperature))
        return losses

    def _targets(self) -> Tensor:
        """(B, K) what the teacher is to say of the next batch.

        Deviation: all classes and betas in every batch; a released batch has one of each, and a run of few batches
        would lack classes. Each batch starts from new noise; the released one from the last of its class.
        """
        config, context, stream = self.config, self.context, self.context.streams("labels")
        labels = stratified_labels(config.batch, context.task.classes, stream)
        if config.labels == "one-hot":
            return F.one_hot(labels, context.task.classes).float()
        head = context.teacher.inside.module.get_submodule(str(context.teacher.inside.head))
        return dirichlet_targets(labels, class_similarity(head.weight), config.betas, stream)  # type: ignore[arg-type]

    def state(self) -> Mapping[str, Stateful]:
        return {"inversion": self.inversion, "pool": self.pool, "schedule": self.schedule}
