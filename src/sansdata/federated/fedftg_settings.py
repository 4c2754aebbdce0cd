"""The settings of FedFTG."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from ..config import Strict
from ..synthesis.generator import Width
from ..training.transfer import TransferSettings


class Distillation(Strict):
    """What the server does after averaging; released values.

    iterations: labels and noise are drawn anew for each. hard, ce, diversity: weights in the generator's loss of
    disagreement, fidelity and spread. ensemble: clients teach by their share of each class ('class'), or evenly
    ('even', the ablation). over_classes: a sample's loss is their 'sum', for which transfer.lr fits whatever their
    number, or their 'mean', as released with a rate of 0.1, where the decay of weights then counts K times as much.
    Both rates fall by lr_decay per round. warmup: rounds before the first distillation (ours).

    Deviation: statistics 'frozen' keeps BatchNorm's as they were averaged; in the released code they move towards
    generated images ('update'), which costs several points on real ones.
    """

    iterations: int = pydantic.Field(default=10, ge=1)
    generator_steps: int = pydantic.Field(default=1, ge=0)
    distil_steps: int = pydantic.Field(default=5, ge=1)
    latent: int = pydantic.Field(default=100, ge=1)
    width: Width = "auto"
    generator_lr: float = pydantic.Field(default=0.01, gt=0)
    hard: float = pydantic.Field(default=1.0, ge=0)
    ce: float = pydantic.Field(default=1.0, ge=0)
    diversity: float = pydantic.Field(default=1.0, ge=0)
    over_classes: Literal["sum", "mean"] = "sum"
    ensemble: Literal["class", "even"] = "class"
    statistics: Literal["frozen", "update"] = "frozen"
    warmup: int = pydantic.Field(default=0, ge=0)
    lr_decay: float = pydantic.Field(default=0.998, gt=0, le=1)
    transfer: TransferSettings = TransferSettings(
        lr=0.01, momentum=0.0, weight_decay=1e-3, schedule="constant", batch=50, temperature=1.0
    )

    @pydantic.model_validator(mode="after")
    def _asks_something(self) -> Distillation:
        if self.generator_steps and not (self.hard or self.ce or self.diversity):
            raise ValueError("hard, ce and diversity are all 0: the generator would have no loss")
        return self


class FedFTGConfig(Strict):
    """host: what clients and averaging do. on: the host's own settings. Clients know nothing of the rest."""

    host: Literal["fedavg", "fedprox", "feddyn", "scaffold"] = "fedavg"
    on: dict[str, Any] = pydantic.Field(default_factory=dict)
    distil: Distillation = Distillation()
