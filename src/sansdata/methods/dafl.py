"""DAFL: data-free learning of student networks (Chen et al., ICCV 2019, arXiv 1904.01186).

The teacher judges a generator: images it is sure of, that excite its features, spread over the classes. The student
learns from the very batch the generator was judged on, so one teacher pass serves both.

With `adversarial` and several student steps it is the host of PRE-DFKD (Binici et al. 2022, 2201.03019) and of Learning
to Retain (Patel et al. 2023, 2302.14290): the generator also seeks what the student gets wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor

from ..config import Strict
from ..contracts import PER_PIXEL_TOO, Access, Batch, Losses, Requirements, Stateful
from ..method import Context
from ..models.generators import Range
from ..models.modes import fixed
from ..objectives import class_priors
from ..objectives.logits import jsd_adversarial
from ..synthesis.ema import EMAGenerator, EMASettings
from ..synthesis.generator import Width, images_from, latents, make_generator
from ..synthesis.rounds import InRounds, Round, Schedule
from ..training.transfer import TransferSettings


class DAFLConfig(Strict):
    """Defaults are the released CIFAR-10 values; 'mnist' those of MNIST.

    "Released" is huawei-noah/Data-Efficient-Model-Compression, commit 5e8f4e4.
    """

    latent: int = pydantic.Field(default=1000, ge=1)  # released
    width: Width = "auto"  # released: 64
    generator_lr: float = pydantic.Field(default=0.02, gt=0)  # released
    one_hot: float = pydantic.Field(default=0.05, ge=0)  # released --oh
    entropy: float = pydantic.Field(default=5.0, ge=0)  # released --ie
    activation: float = pydantic.Field(default=0.01, ge=0)  # released --a
    bn: float = pydantic.Field(default=0.0, ge=0)  # off as released; DeepInversion's distance
    output: Range = "standard"  # released; "unit" is a sigmoid
    adversarial: float = pydantic.Field(default=0.0, ge=0)  # 1 in PRE-DFKD
    student_steps: int = pydantic.Field(default=1, ge=1)  # 10 in PRE-DFKD, each on a fresh batch
    ema: EMASettings = EMASettings()  # MAD's; off
    steps: int = pydantic.Field(default=240_000, ge=1)  # released: 2000 epochs of 120
    transfer: TransferSettings = TransferSettings(
        lr=0.1, weight_decay=5e-4, schedule="step", batch=1024, match="kl", temperature=1.0
    )  # released


class DAFL(InRounds):
    """A generator step and a student step on the same batch, in turn; or several of the student on fresh batches."""

    Config: ClassVar[type] = DAFLConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours): the released MNIST weights with a slower generator and a smaller batch.
        "small": {
            "latent": 100,
            "generator_lr": 0.02,
            "one_hot": 1.0,
            "activation": 0.1,
            "steps": 1400,
            "transfer": {
                "optimizer": "adam", "lr": 2e-3, "weight_decay": 0.0, "schedule": "cosine", "batch": 256,
                "temperature": 1.0,
            },
        },
        "mnist": {
            "latent": 100,
            "generator_lr": 0.2,
            "one_hot": 1.0,
            "activation": 0.1,
            "steps": 24_000,
            "transfer": {
                "optimizer": "adam", "lr": 2e-3, "weight_decay": 0.0, "schedule": "constant", "batch": 512,
                "temperature": 1.0,
            },
        },
        # The host of LRA's released configuration (gaurav104/LRA, commit 40a8941); with `update: retain` it is LRA.
        # Deviation: the released generator has spectral normalisation besides, and begins at weights U(-0.08, 0.08)
        # and biases of 0.
        "lra": {
            "one_hot": 1.0,
            "activation": 0.1,
            "adversarial": 1.0,
            "student_steps": 10,
            "steps": 288_000,  # 400 epochs of 72 rounds of 10
            "transfer": {"schedule": "cosine", "batch": 512, "match": "l1"},
        },
    }  # fmt: skip
    config: DAFLConfig

    @classmethod
    def requires(cls, config: DAFLConfig) -> Requirements:
        return Requirements(
            access=Access.WEIGHTS if config.activation or config.bn else Access.GRADIENTS,
            batch_norm=config.bn > 0,
            head=config.activation > 0,
            outputs=PER_PIXEL_TOO,
        )

    @classmethod
    def round_of(cls, config: DAFLConfig) -> Round:
        return Round(config.student_steps)

    @classmethod
    def rehearsal(cls, config: DAFLConfig) -> DAFLConfig:
        return config.model_copy(update={"student_steps": min(2, config.student_steps)})

    def __init__(self, config: DAFLConfig, context: Context) -> None:
        super().__init__(config, context)
        self.generator = make_generator(
            context, config.latent, config.width, config.output, norm_eps=0.8, conv_bias=True
        )
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=config.generator_lr)
        self.ema = EMAGenerator(config.ema, self.generator, config.latent)
        self.taps = [f"{context.teacher.inside.head}:input"] if config.activation else []
        self.bn = context.teacher.statistics() if config.bn else None
        self.schedule = Schedule(self.round_of(config), images=None, logits=None)

    def acquire(self) -> Losses:
        config, context = self.config, self.context
        images = self._images()
        outputs = context.teacher(images, (*self.taps, *(self.bn.taps if self.bn else ())))
        losses = context.acquire_losses(images, outputs)
        losses.add("one_hot", config.one_hot, lambda: class_priors.one_hot(outputs.logits))
        losses.add("entropy", config.entropy, lambda: class_priors.information_entropy(outputs.logits))
        losses.add("activation", config.activation, lambda: class_priors.activation(outputs.taps[self.taps[0]]))
        if self.bn:
            statistics = self.bn(outputs.taps)
            losses.add("bn", config.bn, lambda: statistics)
        losses.add("disagreement", config.adversarial, lambda: self._disagreement(images, outputs.logits.detach()))
        losses.total().backward()
        context.runtime.step(self.optimizer)
        self.ema.follow(self.generator)
        self.schedule.begin_steps()
        if config.student_steps == 1:  # the student takes this very batch: one pass of the teacher serves both
            self.schedule["images"], self.schedule["logits"] = images.detach(), outputs.logits.detach()
        return losses

    def _images(self) -> Tensor:
        config, context = self.config, self.context
        context.counters.add("samples", config.transfer.batch)
        return images_from(self.generator, latents(config.transfer.batch, config.latent, context), context)

    def _disagreement(self, images: Tensor, teacher: Tensor) -> Tensor:
        """Low where the student, in train mode as released, answers otherwise than `teacher` (B, K)."""
        with fixed(self.context.student, train=True):
            student = self.context.student_outputs(images).logits
        return jsd_adversarial(student, teacher, classes="mean")

    def transfer_batch(self) -> Batch:
        images, logits = self.schedule["images"], self.schedule["logits"]
        if images is None:
            with torch.no_grad():
                images = self._images()
        self.schedule["images"] = self.schedule["logits"] = None
        self.schedule.end_step()
        return self.ema.join(self.context.teach(images, answers=logits), self.context)

    def state(self) -> Mapping[str, Stateful]:
        parts = {"generator": self.generator, "optimizer": self.optimizer, "pending": self.schedule}
        return {**parts, **self.ema.state()}
