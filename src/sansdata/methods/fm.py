"""FM, "Up to 100x faster data-free knowledge distillation" (Fang et al., AAAI 2022, arXiv 2112.06253).

Images share low-level features, so a generator whose initialisation is meta-learned needs only k = 2, 5 or 10 steps to
make a batch. Each round clones it, adapts the clone and its latents, and returns the summed gradients to it (FOMAML).
The released code also has the Reptile rule, which its ImageNet recipe of 50 inner steps uses; it is not built here.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor, nn

from ..config import Strict
from ..contracts import PER_PIXEL_TOO, Access, Losses, Requirements, Stateful
from ..memory import Pool
from ..method import Context
from ..models.generators import UpsamplingGenerator
from ..models.modes import fixed
from ..synthesis.augment import Augment
from ..synthesis.generator import Width, images_from, latents, make_generator
from ..synthesis.inversion_losses import inversion_losses
from ..synthesis.layouts import random_targets
from ..synthesis.rounds import PooledRounds, Round, Schedule
from ..training.transfer import TransferSettings

RATES = {2: (5e-3, 0.015), 5: (3e-3, 0.01), 10: (2e-3, 0.01)}
"""k -> learning rates of the generator and of the latents (paper, supplementary; released scripts)."""


class FMConfig(Strict):
    """Defaults are the released CIFAR-10 values for ResNets: zju-vipa/Fast-Datafree, commit 0dcecbc."""

    k: int = pydantic.Field(default=5, ge=1)  # inner steps; paper: 2, 5, 10
    latent: int = pydantic.Field(default=256, ge=1)  # released
    width: Width = "auto"  # released: 64
    generator_lr: float | None = pydantic.Field(default=None, gt=0)  # by k, see RATES
    latent_lr: float | None = pydantic.Field(default=None, gt=0)  # by k, see RATES
    batch: int = pydantic.Field(default=256, ge=2)  # images a round; released
    bn: float = pydantic.Field(default=10.0, ge=0)  # released
    bn_momentum: float = pydantic.Field(default=0.9, ge=0, lt=1)  # released
    ce: float = pydantic.Field(default=0.5, ge=0)  # released
    adversarial: float = pydantic.Field(default=1.33, ge=0)  # released, R34
    meta: bool = True  # off: the ablation, every round starts from the same random generator
    warmup_rounds: int = pydantic.Field(default=20, ge=0)  # rounds without student steps; released
    steps_per_round: int = pydantic.Field(default=400, ge=1)  # released
    reset_round: int = pydantic.Field(
        default=140, ge=0
    )  # round, from 1, whose first layer is made anew; released; 0 never
    pool: int = pydantic.Field(default=60_000, ge=1)  # released: 220 rounds of 256 images
    view: Augment = "crop+flip"  # released
    steps: int = pydantic.Field(default=80_000, ge=1)  # released: 200 rounds of 400
    transfer: TransferSettings = TransferSettings(lr=0.2, lr_end=2e-4, temperature=20.0)  # released

    @pydantic.model_validator(mode="after")
    def _rates_known(self) -> FMConfig:
        if self.k not in RATES and (self.generator_lr is None or self.latent_lr is None):
            raise ValueError(f"k={self.k} has no published rates (only {list(RATES)}): give generator_lr and latent_lr")
        return self

    @property
    def rates(self) -> tuple[float, float]:
        """Learning rates of generator and latents."""
        generator, latent = RATES.get(self.k, (0.0, 0.0))
        return self.generator_lr or generator, self.latent_lr or latent


class FM(PooledRounds):
    """A round of synthesis, then student steps on everything kept so far."""

    Config: ClassVar[type] = FMConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours): student steps are what is scarce, so rounds are short and few; with so few rounds a
        # running mean of statistics would mostly remember the first, untrained generator.
        "small": {
            "warmup_rounds": 5, "steps_per_round": 40, "bn": 2.0, "bn_momentum": 0.0, "ce": 1.0, "steps": 1400,
            "transfer": {"batch": 128},
        },
        # An hour of one CPU core for 32x32 colour images and a deep teacher (ours): rounds enough to settle.
        "medium": {
            "width": 32, "warmup_rounds": 20, "steps_per_round": 20, "bn": 2.0, "bn_momentum": 0.0, "ce": 1.0,
            "steps": 4000, "transfer": {"batch": 128, "lr": 0.1},
        },
    }  # fmt: skip
    lends = ("generator", "optimizer", "bn", "pool")
    config: FMConfig

    @classmethod
    def requires(cls, config: FMConfig) -> Requirements:
        return Requirements(
            access=Access.WEIGHTS if config.bn else Access.GRADIENTS, batch_norm=config.bn > 0, outputs=PER_PIXEL_TOO
        )

    @classmethod
    def round_of(cls, config: FMConfig) -> Round:
        return Round(config.steps_per_round, warmup=config.warmup_rounds)

    @classmethod
    def rehearsal(cls, config: FMConfig) -> FMConfig:
        return config.model_copy(update={"warmup_rounds": 0, "steps_per_round": 2})

    @classmethod
    def continuing(cls, config: FMConfig) -> FMConfig:
        return config.model_copy(update={"warmup_rounds": 0})

    def __init__(self, config: FMConfig, context: Context) -> None:
        super().__init__(config, context)
        self.generator = make_generator(context, config.latent, config.width, "unit")
        lr, _ = config.rates
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=lr * config.k, betas=(0.5, 0.999))
        self.bn = context.teacher.statistics(config.bn > 0, config.bn_momentum)
        self.pool = Pool(config.pool)
        self.schedule = Schedule(self.round_of(config), round=0)

    def acquire(self) -> Losses:
        config, context = self.config, self.context
        if self.schedule["round"] + 1 == config.reset_round:
            self._reset_first_layer()
        # The clone starts from the meta-learned weights; only its gradients come back, never the weights it arrives at.
        clone = copy.deepcopy(self.generator).train()
        codes = latents(config.batch, config.latent, context).requires_grad_()
        targets = random_targets(config.batch, context.task, context.streams("labels")).to(codes.device)
        lr, latent_lr = config.rates
        inner = torch.optim.Adam(
            [{"params": clone.parameters(), "lr": lr}, {"params": [codes], "lr": latent_lr}],
            betas=(0.5, 0.999),
        )
        lowest, best, losses = torch.empty(0), torch.empty(0), Losses()
        with fixed(context.student):
            for step in range(config.k):
                images = images_from(clone, codes, context)
                losses = self._losses(images, targets)
                total = losses.total()
                # The first stands also where its loss is nan: the engine names the term once this move is over. On an
                # accelerator nobody waits for the loss.
                value, made = total.detach(), images.detach()
                if step == 0:
                    lowest, best = value, made
                better = value < lowest
                lowest, best = torch.where(better, value, lowest), torch.where(better, made, best)
                inner.zero_grad(set_to_none=True)
                total.backward()
                if config.meta:
                    add_gradients(self.generator, clone)
                inner.step()
        if config.meta:
            context.runtime.step(self.optimizer)
        self.bn.remember()
        self.keep(best, targets)
        self.schedule["round"] += 1
        if self.schedule["round"] > config.warmup_rounds:
            self.schedule.begin_steps()
        return losses

    def _losses(self, images: Tensor, targets: Tensor) -> Losses:
        config = self.config
        # Deviation: the released code lets the term in with the last round of the warm-up, against a student that has
        # not learnt anything yet.
        warm = self.schedule["round"] >= config.warmup_rounds
        losses, _ = inversion_losses(
            images, targets, self.context, self.bn, ce=config.ce, bn=config.bn,
            adversarial=config.adversarial if warm else 0.0, view=config.view,
        )  # fmt: skip
        return losses

    def _reset_first_layer(self) -> None:
        """The first linear layer and BatchNorm afresh, for diversity (released code, `reset_l0`).

        The weights of BatchNorm are drawn around 0 too, so that nearly nothing passes at first, as released.
        """
        generator = self.generator
        assert isinstance(generator, UpsamplingGenerator)
        with self.context.streams.as_global("reset", shared=True), torch.no_grad():
            nn.init.normal_(generator.project.weight, 0.0, 0.02)
            nn.init.zeros_(generator.project.bias)
            nn.init.normal_(generator.norm0.weight, 0.0, 0.02)
            nn.init.zeros_(generator.norm0.bias)

    def state(self) -> Mapping[str, Stateful]:
        return {
            "generator": self.generator, "optimizer": self.optimizer, "bn": self.bn, "pool": self.pool,
            "schedule": self.schedule,
        }  # fmt: skip


def add_gradients(into: nn.Module, source: nn.Module) -> None:
    """FOMAML: the clone's gradients, summed over the inner steps, become the initialisation's."""
    for target, clone in zip(into.parameters(), source.parameters()):
        if clone.grad is not None:
            target.grad = clone.grad.clone() if target.grad is None else target.grad.add_(clone.grad)
