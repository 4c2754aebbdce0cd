"""Self-retrospection: the last steps unlearn what a trigger does (Hong et al., ICML 2023, arXiv 2306.02368).

A two-level problem on the student's weights theta: a perturbation delta that changes many answers stands for the
unknown trigger, and the student is taught to answer as without it, at the delta that is best for theta:

    outer  f(delta, theta) = weight * KL(S(x) || S(x + delta on a few images))
    inner  g(delta, theta) = -KL(S(x) || S(x + delta on all)) + l2 |delta|^2

The gradient of f through the best delta is found by fixed-point iteration (Grazzi et al. 2020) with the map
delta - rate * dg/ddelta. The constants are those of the released code (illidanlab/ABD,
cmi/datafree/unlearn.py and cmi/utils/hypergrad.py); the paper's equations were not read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from ..arithmetic import cosine
from ..contracts import Batch, Forward, Losses, Progress, Stateful
from ..method import Context
from ..models.modes import in_mode
from ..objectives.logits import kl
from ..settings import RetrospectSettings
from .transfer import set_lr

START = 1e-3
"""The standard deviation of the random delta from which the search starts.

Deviation: released code starts at 0, where the gradient is 0 and Adam makes its first step of rounding errors.
"""
STILL = 1e-10
"""The norm of a change of the fixed-point iterate below which it has arrived (released)."""


class Retrospect:
    """Steps a fresh Adam on the loss of the batch and on the hyper-gradient, for the last share of the run."""

    def __init__(
        self,
        context: Context,
        forward: Forward,
        optimizer: torch.optim.Optimizer,
        student: nn.Module,
        settings: RetrospectSettings,
        temperature: float,
        scale: float = 1.0,
    ) -> None:
        """optimizer: the run's own; its parameters are those that learn here too. temperature: of the run's matching
        loss, where the settings name none for the divergences here; scale: of that loss, and so of these."""
        self.context, self.forward, self.student, self.settings = context, forward, student, settings
        self.temperature = settings.temperature or temperature
        self.learns = [p for group in optimizer.param_groups for p in group["params"]]
        self.scale = scale
        # Deviation: Adam whatever the run steps; the release steps SGD here in its CMI, Adam elsewhere.
        self.optimizer = torch.optim.Adam(self.learns, lr=settings.lr)

    def _begins(self, progress: Progress) -> int:
        return progress.planned - max(1, round(self.settings.share * progress.planned))

    def active(self, progress: Progress) -> bool:
        return progress.steps >= self._begins(progress)

    def step(self, loss: Callable[[Forward, Batch], Losses], batch: Batch) -> Losses:
        """One step. No clipping, as released."""
        progress = self.context.progress
        begins = self._begins(progress)
        done = (progress.steps - begins) / max(1, progress.planned - begins)
        set_lr(self.optimizer, self.settings.lr * cosine(done))
        delta = self.search(batch)
        losses = loss(self.forward, batch)
        losses.total(batch.weights).backward()
        outer = self._unlearn(batch.images, delta)
        losses.add("retrospect", 1, lambda: outer)
        self.context.runtime.step(self.optimizer)
        return losses

    # -- the trigger

    def search(self, batch: Batch) -> Tensor:
        """delta (1, C, H, W), in units of normalised images: `rounds` steps of Adam up the mean KL between the answers
        without and with it, less `search_l2` times its square. Neither bounded nor clipped, as released."""
        settings, context, images = self.settings, self.context, batch.images
        stream = context.streams("retrospect")
        delta = START * torch.randn(1, *images.shape[1:], generator=stream)
        delta = delta.to(images).requires_grad_()
        optimizer = torch.optim.Adam([delta], lr=settings.delta_lr, maximize=True)
        with in_mode(self.student, train=False):
            network, clean = self._searched(batch)
            for _ in range(settings.rounds):
                changed = self._apart(network(self._moved(images, delta)), clean).mean()
                changed = changed - settings.search_l2 * delta.square().sum()
                # Not runtime.step: every process has images and a delta of its own, there is nothing to average.
                (delta.grad,) = torch.autograd.grad(changed, [delta])
                optimizer.step()
        delta = delta.detach()
        if settings.search == "random":
            direction = torch.randn(delta.shape, generator=stream).to(delta)
            return direction * (delta.norm() / direction.norm())
        return delta

    def _searched(self, batch: Batch) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        """Whose logits the search is after, and those (B, K) on the batch as it is."""
        teacher = self.context.teacher
        if self.settings.search == "student":
            with torch.no_grad():
                return (lambda images: self.forward(images).logits), self.forward(batch.images).logits
        return (lambda images: teacher(images).logits), batch.answers().logits.detach()

    def _apart(self, moved: Tensor, clean: Tensor) -> Tensor:
        """(B,) KL(clean || moved) at the run's temperature and in the scale of its matching loss, as released."""
        return self.scale * kl(moved, clean, self.temperature)

    def _moved(self, images: Tensor, delta: Tensor) -> Tensor:
        """images (B, C, H, W) in unit space, moved by a delta in normalised units."""
        door = self.context.pixels
        return door.undo(door(images) + delta)

    # -- the two-level step

    def _unlearn(self, images: Tensor, delta: Tensor) -> Tensor:
        """Adds the hyper-gradient of the outer loss to the parameters' gradients; gives that loss, detached.

        The student runs in eval mode. Deviation: released code leaves it in train mode, so that the running statistics
        of BatchNorm take in images with the trigger.
        """
        settings = self.settings
        count = min(len(images), max(2, int(settings.marked * len(images))))
        order = torch.randperm(len(images), generator=self.context.streams("retrospect-marked"))
        marked = images[order[:count].to(images.device)]
        delta = delta.detach().requires_grad_()
        with in_mode(self.student, train=False):
            with torch.no_grad():
                clean, clean_marked = self.forward(images).logits, self.forward(marked).logits
            # Images that are not marked differ by 0, so only the marked ones are run. S(x) is a constant, as in the
            # released code for ZSKT; that for CMI differentiates both sides.
            apart = self._apart(self.forward(self._moved(marked, delta)).logits, clean_marked)
            outer = settings.weight * apart.sum() / len(images)
            changed = self._apart(self.forward(self._moved(images, delta)).logits, clean).mean()
            inner = settings.l2 * delta.square().sum() - changed
            slopes = hyper_gradient(outer, inner, delta, self.learns, settings.fixed_point, settings.fixed_point_lr)
        for p, slope in zip(self.learns, slopes, strict=True):
            if slope is not None:
                p.grad = slope if p.grad is None else p.grad + slope
        return outer.detach()

    def findings(self) -> list[str]:
        """Where a run that was cut short looked back for fewer steps than planned, or not at all."""
        progress = self.context.progress
        planned, done = progress.planned - self._begins(progress), progress.steps - self._begins(progress)
        if done >= planned:
            return []
        return [f"the run was cut: {max(0, done)} of {planned} steps of retrospection were made; give it more budget"]

    def state(self) -> Mapping[str, Stateful]:
        return {"retrospect": self.optimizer}


def hyper_gradient(
    outer: Tensor, inner: Tensor, delta: Tensor, parameters: Sequence[Tensor], iterations: int, rate: float
) -> list[Tensor | None]:
    """d outer / d parameters, where delta is the fixed point of delta - rate * d inner / d delta.

    outer, inner: scalars, functions of delta and the parameters. Starts at v = 0 and repeats
    v <- (d map / d delta)^T v + d outer / d delta; then d outer / d parameters + (d map / d parameters)^T v. With 0
    iterations it is the first-order gradient. None for a parameter that neither depends on.
    """
    (slope,) = torch.autograd.grad(inner, [delta], create_graph=True)
    mapped = delta - rate * slope
    to_delta, *direct = torch.autograd.grad(outer, [delta, *parameters], allow_unused=True)
    v = torch.zeros_like(delta)
    for _ in range(iterations):
        (through,) = torch.autograd.grad(mapped, [delta], grad_outputs=v, retain_graph=True)
        last, v = v, through + to_delta
        if bool((v - last).norm() < STILL):
            break
    implicit = torch.autograd.grad(mapped, list(parameters), grad_outputs=v, allow_unused=True)
    return [b if a is None else a if b is None else a + b for a, b in zip(direct, implicit)]
