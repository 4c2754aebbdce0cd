"""CAE-DFKD: category-aware embedding data-free knowledge distillation (Zhang et al., DAC 2025, arXiv 2504.21478).

The generator's input is the embedding of a class, diffused by one of several noise sources (CEND). The student learns
from a pool of its images and, beside that, to tell apart the classes of images made from differently diffused
embeddings (CNCL): a contrast between inputs of the generator, not between augmented images, meant for features that
serve other tasks too.

The paper's method section could not be read: what is said to be "after the paper" follows its abstract, introduction
and two reviews; forms and weights of the losses are those of its ancestors FM and NAYER.
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
from ...contracts import Batch, Forward, Losses, Stateful
from ...memory import Slot
from ...method import Context
from ...models.embeddings import class_embeddings
from ...models.modes import fixed
from ...models.with_part import PROJECTED
from ...objectives.contrastive import class_contrast
from ...synthesis.augment import Augment, random_flip
from ...synthesis.calls import CallRounds
from ...synthesis.generator import Width, images_from
from ...synthesis.labels import stratified_labels
from ...synthesis.resized_crop import random_resized_crop
from ...training.feature_part import beside_features
from ...training.transfer import TransferSettings
from .embedding_diffusion import EmbeddingDiffusion, Source, standardised, unit_noise

VIEW_SCALE = (0.2, 1.0)
"""Share of an image's area that a view of the image-level contrast shows (SimCLR's, with a higher lowest share)."""


class CAEDFKDConfig(Strict):
    """Defaults are NAYER's released CIFAR-10 values where the paper's are not known to us."""

    embeddings: str | None = None  # ours: orthonormal; the paper's are those of CLIP for the classes' names
    sources: tuple[Source, ...] = ("normal", "uniform", "laplace", "rademacher")  # paper: four; which ones: ours
    magnitudes: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)  # of the embeddings' root mean square: ours
    learn_magnitudes: bool = False  # ours
    latent: int = pydantic.Field(default=256, ge=1)  # ours
    width: Width = "auto"  # NAYER: 64
    iterations: int = pydantic.Field(default=30, ge=1)  # a call; NAYER, 40 for CIFAR-100
    chunk: int = pydantic.Field(default=10, ge=1)  # iterations a move: ours
    generator_lr: float = pydantic.Field(default=4e-3, gt=0)  # NAYER
    batch: int = pydantic.Field(default=400, ge=2)  # images a call; NAYER
    bn: float = pydantic.Field(default=10.0, ge=0)  # FM, NAYER
    bn_momentum: float = pydantic.Field(default=0.9, ge=0, lt=1)  # FM, NAYER
    ce: float = pydantic.Field(default=0.5, ge=0)  # FM, NAYER
    adversarial: float = pydantic.Field(default=1.33, ge=0)  # FM, NAYER
    contrast: float = pydantic.Field(default=0.5, ge=0)  # ours; 0 is the ablation
    contrast_temperature: float = pydantic.Field(default=0.1, gt=0)  # ours
    contrast_classes: int = pydantic.Field(default=16, ge=2)  # ours; all of them where there are fewer
    contrast_diffusions: int = pydantic.Field(default=4, ge=2)  # of each class, from different sources: ours
    # 'views': of single images, as SimCLR: what the paper says hurts, for ablation
    contrast_of: Literal["diffusions", "views"] = "diffusions"
    contrast_gate: bool = False  # only images that the teacher gives the wanted class: ours
    projection: int = pydantic.Field(default=128, ge=1)  # ours
    warmup_rounds: int = pydantic.Field(default=20, ge=0)  # rounds without student steps; NAYER
    warmup_calls: int = pydantic.Field(default=10, ge=1)  # calls in each of these; NAYER
    calls: int = pydantic.Field(default=2, ge=1)  # calls in each further round; NAYER
    steps_per_round: int = pydantic.Field(default=400, ge=1)  # NAYER
    pool: int = pydantic.Field(default=240_000, ge=1)  # NAYER: (20 x 10 + 200 x 2) calls of 400 images
    view: Augment = "crop+flip"  # NAYER
    steps: int = pydantic.Field(default=80_000, ge=1)  # NAYER: 200 rounds of 400
    transfer: TransferSettings = TransferSettings(lr=0.2, lr_end=2e-4, temperature=20.0, batch=512)  # NAYER

    @pydantic.model_validator(mode="after")
    def _magnitude_for_each_source(self) -> CAEDFKDConfig:
        if not self.sources or len(self.sources) != len(self.magnitudes):
            raise ValueError(
                f"sources names {len(self.sources)} source(s) of noise and magnitudes {len(self.magnitudes)}; "
                "give at least one source, and a magnitude for each"
            )
        if min(self.magnitudes) < 0:
            raise ValueError(f"magnitudes must be 0 or above, got {list(self.magnitudes)}")
        return self


class CAEDFKD(CallRounds):
    """Calls whose generator is given diffused embeddings of the classes; student steps, each with its contrast."""

    config: CAEDFKDConfig

    Config: ClassVar[type] = CAEDFKDConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours), after NAYER's: short rounds, whose one call makes few steps. More noise, because
        # nothing else tells the images of a class apart: no layer and no generator is made anew.
        "small": {
            "magnitudes": (1.0, 2.0, 3.0, 4.0),
            "iterations": 5, "batch": 256, "bn": 2.0, "bn_momentum": 0.0, "ce": 1.0, "warmup_rounds": 1,
            "warmup_calls": 5, "calls": 1, "steps_per_round": 40, "steps": 1000, "transfer": {"batch": 128},
        },
    }  # fmt: skip

    def __init__(self, config: CAEDFKDConfig, context: Context) -> None:
        super().__init__(config, context)
        stream = context.streams("embeddings", shared=True)
        embeddings = class_embeddings(config.embeddings, context.task.classes, stream)
        with context.streams.as_global("diffusion", shared=True):
            self.diffusion = EmbeddingDiffusion(
                standardised(embeddings), config.magnitudes, config.latent, config.learn_magnitudes
            )
        context.runtime.place(self.diffusion)
        # One optimiser for the whole run: unlike NAYER's noisy layer, nothing here is ever drawn anew.
        learns = [*self.diffusion.parameters(), *self.generator.parameters()]
        self.optimizer = torch.optim.Adam(learns, lr=config.generator_lr, betas=(0.5, 0.999))
        self.noises = Slot(sources=None, noise=None)
        if config.contrast:
            context.student_taps = (*context.student_taps, PROJECTED)

    def build_student(self, student: nn.Module) -> nn.Module:
        """With the projection that the contrast compares. Raises MethodError where `student` has no feature vector."""
        if not self.config.contrast:
            return student
        return beside_features(
            student, self.context, lambda width: Projection(width, self.config.projection), "projection",
            "cae-dfkd contrasts what enters the student's last linear layer", "leave the contrast out with contrast=0",
        )  # fmt: skip

    def begin_call(self) -> Tensor:
        """Classes in equal numbers; one diffusion of each image's embedding for the whole call."""
        config, context = self.config, self.context
        sources = torch.randint(len(config.sources), (config.batch,), generator=context.streams("sources"))
        self.noises["sources"], self.noises["noise"] = sources, self._noise(sources)
        return stratified_labels(config.batch, context.task.classes, context.streams("labels"))

    def codes(self) -> Tensor:
        sources, noise = (self.context.runtime.place(self.noises[part]) for part in ("sources", "noise"))
        return self.diffusion.train()(self.loop.targets, sources, noise)

    def end_call(self) -> None:
        super().end_call()
        self.noises["sources"] = self.noises["noise"] = None

    def _noise(self, sources: Tensor) -> Tensor:
        size = self.diffusion.embeddings.shape[1]
        return unit_noise(self.config.sources, sources, size, self.context.streams("noise"))

    def transfer_batch(self) -> Batch:
        batch = super().transfer_batch()
        if self.config.contrast:
            batch.extras["contrast"] = self._contrast_batch()
        return batch

    def _contrast_batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Images (P x K, C, H, W) of the present generator, who belongs together (P x K,), and which of them count.

        P classes, each diffused K times, by sources that differ as far as there are so many; or one image of each class
        in K views.
        """
        config, context = self.config, self.context
        stream, each = context.streams("contrast"), config.contrast_diffusions
        classes = torch.randperm(context.task.classes, generator=stream)[: config.contrast_classes]
        if config.contrast_of == "views":
            return self._viewed(classes, each)
        labels = classes.repeat_interleave(each)
        orders = [torch.randperm(len(config.sources), generator=stream) for _ in classes]
        sources = torch.cat([order.repeat(ceil_div(each, len(order)))[:each] for order in orders])
        images, counts = self._present(labels, sources)
        return images, context.runtime.place(labels), counts

    def _viewed(self, classes: Tensor, views: int) -> tuple[Tensor, Tensor, Tensor]:
        """One image of each class (P,), in so many cropped and mirrored views; each image is a class of its own."""
        context = self.context
        sources = torch.randint(len(self.config.sources), (len(classes),), generator=context.streams("contrast"))
        images, counts = self._present(classes, sources)
        parts = random_resized_crop(images.repeat_interleave(views, 0), VIEW_SCALE, context.streams("contrast-views"))
        groups = context.runtime.place(torch.arange(len(classes)).repeat_interleave(views))
        return random_flip(parts, context.streams("contrast-views")), groups, counts.repeat_interleave(views)

    @torch.no_grad()
    def _present(self, labels: Tensor, sources: Tensor) -> tuple[Tensor, Tensor]:
        """Images of the present generator for labels (N,), diffused by sources (N,), and which of them count."""
        context, place = self.context, self.context.runtime.place
        labels, noise = place(labels), place(self._noise(sources))
        with fixed(self.diffusion), fixed(self.generator):
            images = images_from(self.generator, self.diffusion(labels, place(sources), noise), context)
            counts = torch.ones_like(labels, dtype=torch.bool)
            if self.config.contrast_gate:
                counts = context.teacher(images).logits.argmax(1) == labels
        return place(images), counts

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        """Matches the teacher on the pool; beside that, tells the classes of the contrast batch apart.

        A batch that an update made itself, of older images, has no contrast.
        """
        losses = super().student_loss(student, batch)
        if "contrast" in batch.extras:
            losses.add("contrast", self.config.contrast, lambda: self._contrast(student, *batch.extras["contrast"]))
        return losses

    def _contrast(self, student: Forward, images: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
        projected = student(images).taps[PROJECTED]
        return class_contrast(projected[counts], labels[counts], self.config.contrast_temperature)

    def state(self) -> Mapping[str, Stateful]:
        return {"diffusion": self.diffusion, **super().state(), "drawn": self.noises}


class Projection(nn.Sequential):
    """features (B, D) -> (B, size): a two-layer perceptron, each row of length 1 (SimCLR's head, Chen et al. 2020)."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__(nn.Linear(width, size), nn.ReLU(), nn.Linear(size, size))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(super().forward(x).float(), dim=1)
