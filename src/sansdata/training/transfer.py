"""The student's side that every method shares: optimiser, schedule, batch and the loss that matches logits."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pydantic
import torch
from torch import Tensor, nn

from ..arithmetic import cosine
from ..compress.quant_relu import DECAYS, resolutions
from ..contracts import Outputs
from ..objectives import logits
from ..settings import Grown

Share = Annotated[float, pydantic.Field(ge=0, le=1)]


class TransferSettings(Grown):
    """batch: images per step and process. match, temperature: the loss on logits. clip: bound on the gradient norm.

    milestones: the shares of the run, 0..1, at which the schedule 'step' takes the rate times `factor`.
    """

    later: ClassVar[tuple[str, ...]] = ("factor",)

    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float = pydantic.Field(default=0.1, gt=0)
    lr_end: float = pydantic.Field(default=0.0, ge=0)
    momentum: float = pydantic.Field(default=0.9, ge=0, lt=1)
    weight_decay: float = pydantic.Field(default=1e-4, ge=0)
    schedule: Literal["cosine", "constant", "step"] = "cosine"
    milestones: tuple[Share, ...] = (0.4, 0.8)  # DAFL: epochs 800 and 1600 of 2000
    factor: float = pydantic.Field(default=0.1, gt=0, lt=1)  # DAFL
    batch: int = pydantic.Field(default=256, ge=2, le=65536)
    match: Literal["kl", "l1", "mse"] = "kl"
    temperature: float = pydantic.Field(default=20.0, gt=0)
    clip: float | None = pydantic.Field(default=None, gt=0)

    def make_optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        slow = list(resolutions(module))
        params = [p for p in module.parameters() if p.requires_grad and not any(p is one for one in slow)]
        groups: list[dict[str, Any]] = [{"params": params}]
        if slow:
            groups.append({"params": slow, "weight_decay": DECAYS * self.weight_decay})
        if self.optimizer == "adam":
            return torch.optim.Adam(groups, lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)

    def lr_at(self, progress: float) -> float:
        """The learning rate at progress 0..1."""
        if self.schedule == "constant":
            return self.lr
        if self.schedule == "step":
            return self.lr * self.factor ** sum(progress >= at for at in self.milestones)
        return self.lr_end + (self.lr - self.lr_end) * cosine(progress)

    def decay(self, progress: float) -> float:
        """The share of the first learning rate that is left at progress 0..1: for what follows the same schedule."""
        return self.lr_at(progress) / self.lr

    def matching(self, student: Outputs, teacher: Outputs) -> Tensor:
        """(B,) the loss between the two logits."""
        return logits.match(self.match, student.logits, teacher.logits, self.temperature)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr
