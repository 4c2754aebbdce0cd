"""DAFL: data-free learning of student networks (Chen et al., ICCV 2019, arXiv 1904.01186).

The teacher judges a generator: images it is sure of, that excite its features, spread over the classes. The student
learns from the very batch the generator was judged on, so one teacher pass serves both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch

from ..config import Strict
from ..contracts import Access, Batch, Context, Losses, Method, Requirements, Stateful
from ..memory import Slot
from ..objectives import class_priors
from ..synthesis.ema import EMAGenerator, EMASettings
from ..synthesis.generator import Width, images_from, latents, make_generator
from ..training.transfer import TransferSettings


class DAFLConfig(Strict):
    """Defaults are the released CIFAR-10 values; 'mnist' those of MNIST."""

    latent: int = pydantic.Field(default=1000, ge=1)  # released
    width: Width = "auto"  # released: 64
    generator_lr: float = pydantic.Field(default=0.02, gt=0)  # released
    one_hot: float = pydantic.Field(default=0.05, ge=0)  # released --oh
    entropy: float = pydantic.Field(default=5.0, ge=0)  # released --ie
    activation: float = pydantic.Field(default=0.01, ge=0)  # released --a
    ema: EMASettings = EMASettings()  # MAD's; off
    steps: int = pydantic.Field(default=240_000, ge=1)  # released: 2000 epochs of 120
    transfer: TransferSettings = TransferSettings(
        lr=0.1, weight_decay=5e-4, schedule="step", batch=1024, match="kl", temperature=1.0
    )  # released


class DAFL(Method):
    """A generator step and a student step on the same batch, in turn."""

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
    }  # fmt: skip

    @classmethod
    def requires(cls, config: DAFLConfig) -> Requirements:
        return Requirements(
            access=Access.WEIGHTS if config.activation else Access.GRADIENTS, head=config.activation > 0
        )

    @classmethod
    def plan(cls, config: DAFLConfig, steps: int) -> dict[str, int]:
        return {"acquire": steps, "transfer": steps}

    def __init__(self, config: DAFLConfig, context: Context) -> None:
        super().__init__(config, context)
        self.generator = make_generator(context, config.latent, config.width, "standard", norm_eps=0.8, conv_bias=True)
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=config.generator_lr)
        self.ema = EMAGenerator(config.ema, self.generator, config.latent)
        self.taps = [f"{context.teacher.anatomy.head}:input"] if config.activation else []
        self.pending = Slot(images=None, logits=None)

    def next_move(self) -> str:
        return "acquire" if self.pending["images"] is None else "transfer"

    def acquire(self) -> Losses:
        config, context = self.config, self.context
        images = images_from(self.generator, latents(config.transfer.batch, config.latent, context), context)
        outputs = context.teacher(images, self.taps)
        losses = Losses()
        losses.add("one_hot", config.one_hot, lambda: class_priors.one_hot(outputs.logits))
        losses.add("entropy", config.entropy, lambda: class_priors.information_entropy(outputs.logits))
        losses.add("activation", config.activation, lambda: class_priors.activation(outputs.taps[self.taps[0]]))
        losses.total().backward()
        context.runtime.step(self.optimizer)
        self.ema.follow(self.generator)
        context.counters.add("samples", len(images))
        self.pending["images"], self.pending["logits"] = images.detach(), outputs.logits.detach()
        return losses

    def transfer_batch(self) -> Batch:
        images, logits = self.pending["images"], self.pending["logits"]
        self.pending["images"] = self.pending["logits"] = None
        return self.ema.join(self.context.teach(images, logits=logits), self.context)

    def state(self) -> Mapping[str, Stateful]:
        parts = {"generator": self.generator, "optimizer": self.optimizer, "pending": self.pending}
        return {**parts, **self.ema.state()}
