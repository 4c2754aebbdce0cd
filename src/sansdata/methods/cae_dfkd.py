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
from pathlib import Path
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor, nn

from ..config import Strict
from ..contracts import Access, Batch, Forward, Losses, Requirements, Stateful
from ..errors import MethodError
from ..memory import Pool, Slot
from ..method import Context, Method
from ..models.embedding_diffusion import EmbeddingDiffusion, Source, standardised, unit_noise
from ..models.embeddings import read_embeddings
from ..models.modes import fixed
from ..models.noisy_layer import orthonormal
from ..models.projection import PROJECTED, WithProjection
from ..objectives.batch_stats import BatchStatistics
from ..objectives.contrastive import class_contrast
from ..synthesis.augment import Augment
from ..synthesis.call_rounds import CallRounds, calls_for
from ..synthesis.generator import Width, images_from, make_generator
from ..synthesis.inner_loop import InnerLoop
from ..synthesis.inversion_losses import inversion_losses
from ..synthesis.labels import stratified_labels
from ..synthesis.pooled import draw, keep
from ..teachers.base import dissect
from ..training.transfer import TransferSettings

EMBEDDING = 512
"""Size of our own embeddings: that of CLIP's text embeddings in the paper; more where there are more classes."""


class CAEDFKDConfig(Strict):
    """Defaults are NAYER's released CIFAR-10 values where the paper's are not known to us."""

    embeddings: str | None = None  # ours: orthonormal; the paper's are those of CLIP for the classes' names
    sources: tuple[Source, ...] = ("normal", "uniform", "laplace", "rademacher")  # paper: four; which ones: ours
    magnitudes: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)  # of the embeddings' root mean square: ours
    learn_magnitudes: bool = False  # ours
    latent: int = pydantic.Field(default=256, ge=1)  # after NAYER
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


class CAEDFKD(Method):
    """A round of synthesis calls, each over several moves, then student steps on the pool, each with its contrast."""

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

    @classmethod
    def requires(cls, config: CAEDFKDConfig) -> Requirements:
        return Requirements(access=Access.WEIGHTS if config.bn else Access.GRADIENTS, batch_norm=config.bn > 0)

    @classmethod
    def reads(cls, config: CAEDFKDConfig) -> dict[Path, str]:
        return {} if config.embeddings is None else {Path(config.embeddings): "embeddings"}

    @classmethod
    def plan(cls, config: CAEDFKDConfig, steps: int) -> dict[str, int]:
        return {"acquire": calls_for(config, steps) * -(-config.iterations // config.chunk), "transfer": steps}

    @classmethod
    def rehearsal(cls, config: CAEDFKDConfig) -> CAEDFKDConfig:
        soon = {"warmup_rounds": 0, "calls": 1, "steps_per_round": 2}
        return config.model_copy(update=soon | {"iterations": min(config.chunk, config.iterations)})

    def __init__(self, config: CAEDFKDConfig, context: Context) -> None:
        super().__init__(config, context)
        classes = context.task.classes
        if config.embeddings is None:
            stream = context.streams("embeddings", shared=True)
            embeddings = orthonormal(classes, max(EMBEDDING, classes), stream)
        else:
            embeddings = read_embeddings(config.embeddings, classes)
        with context.streams.as_global("diffusion", shared=True):
            self.diffusion = EmbeddingDiffusion(
                standardised(embeddings), config.magnitudes, config.latent, config.learn_magnitudes
            )
        context.runtime.place(self.diffusion)
        self.generator = make_generator(context, config.latent, config.width, "unit")
        # One optimiser for the whole run: unlike NAYER's noisy layer, nothing here is ever drawn anew.
        learns = [*self.diffusion.parameters(), *self.generator.parameters()]
        self.optimizer = torch.optim.Adam(learns, lr=config.generator_lr, betas=(0.5, 0.999))
        norms = context.teacher.inside.batch_norms if config.bn else ()
        self.bn = BatchStatistics(context.teacher.inside.module, norms, momentum=config.bn_momentum)
        self.loop = InnerLoop(config.iterations, config.chunk)
        self.pool = Pool(config.pool)
        self.schedule = CallRounds(config)
        self.drawn = Slot(sources=None, noise=None)
        if config.contrast:
            context.student_taps = (*context.student_taps, PROJECTED)

    def build_student(self, student: nn.Module) -> nn.Module:
        """With the projection that the contrast compares. Raises MethodError where `student` has no feature vector."""
        if not self.config.contrast:
            return student
        with fixed(student):
            head = dissect(self.context.network.around(student), torch.zeros(2, *self.context.task.shape)).head
        if head is None:
            raise MethodError(
                "cae-dfkd contrasts what enters the student's last linear layer, and no linear layer gives this "
                "student's logits; take another student, or leave the contrast out with contrast=0"
            )
        with self.context.streams.as_global("projection", shared=True):
            return self.context.runtime.place(
                WithProjection(student, head, self.config.projection, self.config.projection)
            )

    def next_move(self) -> str:
        return self.schedule.next_move

    def acquire(self) -> Losses:
        config, context, loop = self.config, self.context, self.loop
        if loop.iteration == 0:
            self._begin_call()
        sources, noise = (context.runtime.place(self.drawn[part]) for part in ("sources", "noise"))
        losses = Losses()
        with fixed(context.student):
            for _ in range(loop.in_this_move):
                codes = self.diffusion.train()(loop.targets, sources, noise)
                images = images_from(self.generator.train(), codes, context)
                losses, _ = inversion_losses(
                    images, loop.targets, context, self.bn, ce=config.ce, bn=config.bn,
                    adversarial=config.adversarial if self.schedule.warm else 0.0, view=config.view,
                )  # fmt: skip
                total = losses.total()
                loop.offer(total.item(), images=images)
                total.backward()
                # Not runtime.step: every rank has a generator of its own, there is nothing to average.
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
        if loop.finished:
            self._end_call()
        return losses

    def _begin_call(self) -> None:
        """Classes in equal numbers; one diffusion of each image's embedding for the whole call."""
        config, context = self.config, self.context
        labels = stratified_labels(config.batch, context.task.classes, context.streams("labels"))
        self.loop.begin(labels.to(context.runtime.device))
        sources = torch.randint(len(config.sources), (config.batch,), generator=context.streams("sources"))
        self.drawn["sources"], self.drawn["noise"] = sources, self._noise(sources)

    def _noise(self, sources: Tensor) -> Tensor:
        size = self.diffusion.embeddings.shape[1]
        return unit_noise(self.config.sources, sources, size, self.context.streams("noise"))

    def _end_call(self) -> None:
        self.bn.remember()
        keep(self.pool, self.loop.best["images"], self.loop.targets, self.context, self.config.view)
        self.loop.begin(self.loop.targets)
        self.drawn["sources"] = self.drawn["noise"] = None
        self.schedule.end_call()

    def transfer_batch(self) -> Batch:
        self.schedule.end_step()
        batch = draw(self.pool, self.context, self.config.transfer.batch, self.config.view)
        if self.config.contrast:
            batch.extras["contrast"] = self._contrast_batch()
        return batch

    def _contrast_batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Images (P x K, C, H, W) of the present generator, their classes, and which of them count.

        P classes, each diffused K times, by sources that differ as far as there are so many.
        """
        config, context = self.config, self.context
        stream, each = context.streams("contrast"), config.contrast_diffusions
        classes = torch.randperm(context.task.classes, generator=stream)[: config.contrast_classes]
        labels = classes.repeat_interleave(each)
        orders = [torch.randperm(len(config.sources), generator=stream) for _ in classes]
        sources = torch.cat([order.repeat(-(-each // len(order)))[:each] for order in orders])
        place = context.runtime.place
        labels, noise = place(labels), place(self._noise(sources))
        with torch.no_grad(), fixed(self.diffusion), fixed(self.generator):
            images = images_from(self.generator, self.diffusion(labels, place(sources), noise), context)
            counts = torch.ones_like(labels, dtype=torch.bool)
            if config.contrast_gate:
                counts = context.teacher(images).logits.argmax(1) == labels
        return place(images), labels, counts

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
        return {
            "diffusion": self.diffusion, "generator": self.generator, "optimizer": self.optimizer, "bn": self.bn,
            "loop": self.loop, "pool": self.pool, "schedule": self.schedule, "drawn": self.drawn,
        }  # fmt: skip
