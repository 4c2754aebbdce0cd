"""A network without its smallest weights, and what images can mend of it: BatchNorm's statistics, and the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..arithmetic import cosine
from ..models.copying import duplicate
from ..models.modes import fixed
from ..models.packed import on_grid
from ..models.taps import forward, logits_of
from ..objectives.logits import kl
from ..runtime import Runtime
from .quantize import Layers, layers_of, weight_of
from .watch import inputs_of

Masks = Mapping[str, Tensor]
"""Path of a layer -> bool, of its weight's shape: what is kept."""

CHUNK = 512
"""Images on which BatchNorm's statistics are taken."""
PRUNED = 0.01
"""Share of exact zeros from which on a network counts as pruned: trained weights are never exactly 0."""
VALUES = 8
"""Weights per output channel, other than 0, above which a grid that holds all of them is no chance."""
TEMPERATURE = 4.0
"""Of the answers that a pruned network learns again (ours)."""
RATE, CLIP = 0.02, 1.0
"""Of the steps in which it learns them: the first one's rate, and the gradient's largest norm (ours)."""


def magnitude_masks(module: nn.Module, keep: float, shape: tuple[int, int, int]) -> Masks:
    """The largest weights of all convolutions and linear layers together, a share `keep` of them, above 0, at most 1.

    One threshold for all layers ("global magnitude", the strong plain choice of Blalock et al. 2020). shape (C, H, W)
    of an image. Raises StudentError where no such layer runs.
    """
    weights = {path: weight_of(module, path).detach() for path in layers_of(module, shape)}
    sizes = torch.cat([weight.abs().flatten() for weight in weights.values()])
    kept = torch.zeros(len(sizes), dtype=torch.bool, device=sizes.device)
    kept[sizes.topk(max(1, round(keep * len(sizes)))).indices] = True
    parts = kept.split([weight.numel() for weight in weights.values()])
    return {path: part.view_as(weight) for part, (path, weight) in zip(parts, weights.items())}


@torch.no_grad()
def prune(module: nn.Module, masks: Masks) -> nn.Module:
    """A copy of `module` with 0 where a mask says so."""
    pruned = duplicate(module)
    _apply(pruned, masks)
    return pruned


def kept_share(module: nn.Module, masks: Masks) -> float:
    """The share of the masked layers' weights that is not 0."""
    weights = [weight_of(module, path) for path in masks]
    return sum(int(w.count_nonzero()) for w in weights) / sum(w.numel() for w in weights)


@torch.no_grad()
def left_by_pruning(module: nn.Module) -> Masks:
    """What an earlier pruning kept of each layer's weight; nothing where the network was not pruned.

    A network counts as pruned where at least PRUNED of the weights of its convolutions and linear layers are exactly 0
    within layers that are not 0 altogether: layers that merely start at 0 are to be learnt. The zeros of a grid of few
    values are no pruning.
    """
    weights = {path: weight for path, weight in _stored_weights(module).items() if not _rounded(weight)}
    zeros = {path: weight.numel() - int(weight.count_nonzero()) for path, weight in weights.items()}
    within = sum(count for path, count in zeros.items() if count < weights[path].numel())
    if not zeros or within < PRUNED * sum(weight.numel() for weight in weights.values()):
        return {}
    return {path: weights[path] != 0 for path, count in zeros.items() if count}


def _rounded(weight: Tensor) -> bool:
    """Whether all values are on a grid of 2, 4 or 8 bits; not where there are too few of them to tell."""
    enough = int(weight.count_nonzero()) > VALUES * len(weight)
    return enough and any(on_grid(weight, bits) is not None for bits in (2, 4, 8))


def hold_zeros(module: nn.Module, runtime: Runtime) -> None:
    """From here on `runtime.step` leaves at 0 what an earlier pruning set to 0."""
    weights = _stored_weights(module)
    for path, mask in left_by_pruning(module).items():
        runtime.keep(weights[path], lambda weight, mask=mask: weight.mul_(mask))


def pruned_share(module: nn.Module) -> float:
    """The share of the weights of all convolutions and linear layers that an earlier pruning set to 0."""
    total = sum(weight.numel() for weight in _stored_weights(module).values())
    zeros = sum(mask.numel() - int(mask.count_nonzero()) for mask in left_by_pruning(module).values())
    return zeros / max(total, 1)


def _stored_weights(module: nn.Module) -> dict[str, Tensor]:
    """path -> the weight that is learnt of each convolution and linear layer: below a view at few bits, the one in
    float. Those that are made of several tensors, such as by `weight_norm`, have none."""
    weights: dict[str, Tensor] = {}
    for path, part in module.named_modules():
        if not isinstance(part, Layers):
            continue
        if not parametrize.is_parametrized(part, "weight"):
            weights[path] = part.weight
        elif isinstance(original := getattr(part.parametrizations.weight, "original", None), Tensor):  # type: ignore[union-attr]
            weights[path] = original
    return weights


@torch.no_grad()
def recalibrate(pruned: nn.Module, original: nn.Module, inputs: Tensor) -> None:
    """BatchNorm's running statistics of `pruned` after its changed activations, in place. inputs (N, C, H, W) as the
    networks take them.

    Deviation: not those of the images themselves, which are not the data. The original's are moved as far as pruning
    moves those of the images: mean + (mean after - mean before), variance * variance after / variance before. With
    nothing pruned nothing changes, whatever the images.
    """
    inputs = inputs[:CHUNK]
    before: dict[str, tuple[Tensor, Tensor]] = {}
    norms = {path: part for path, part in original.named_modules() if isinstance(part, nn.BatchNorm2d)}
    norms = {path: part for path, part in norms.items() if part.running_mean is not None}

    def look(path: str, x: Tensor) -> None:
        before[path] = _statistics(x)

    def move(path: str, x: Tensor) -> None:
        old, part = norms[path], pruned.get_submodule(path)
        assert isinstance(part, nn.BatchNorm2d)
        assert old.running_mean is not None
        assert old.running_var is not None
        (mean, var), (new_mean, new_var) = before[path], _statistics(x)
        part.running_mean.copy_(old.running_mean + (new_mean - mean))  # type: ignore[union-attr]
        # A channel that the images never use, or no longer use, says nothing of how its spread changes.
        alive = (var > 1e-8) & (new_var > 1e-8)
        ratio = torch.where(alive, new_var / var.clamp_min(1e-8), torch.ones_like(var))
        part.running_var.copy_(old.running_var * ratio)  # type: ignore[union-attr]

    with fixed(original), inputs_of(original, norms, look):
        original(inputs)
    with fixed(pruned), inputs_of(pruned, norms, move):
        pruned(inputs)


def recover(
    pruned: nn.Module, masks: Masks, original: nn.Module, inputs: Tensor, runtime: Runtime, *,
    steps: int, generator: torch.Generator, batch: int = 128, read: Callable[[Any], Tensor] = logits_of,
) -> None:  # fmt: skip
    """The pruned network learns the original's answers on inputs (N, C, H, W), normalised, again; in place.

    SGD (Nesterov 0.9) on the softened divergence of the logits, cosine to 0, the gradient's norm at most CLIP: with
    BatchNorm held still a larger step has nothing to catch it. What is pruned stays 0, and BatchNorm keeps its
    statistics: those of the images are not the data's. read: the logits in what both return.
    """
    with fixed(original), torch.no_grad():
        answers = torch.cat([forward(original, part, read=read).logits for part in inputs.split(CHUNK)])
    modes = {part: part.training for part in pruned.modules()}
    flags = {p: p.requires_grad for p in pruned.parameters()}
    pruned.eval().requires_grad_(True)
    optimizer = torch.optim.SGD(pruned.parameters(), RATE, momentum=0.9, nesterov=True)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * cosine(step, steps)
        ids = torch.randint(len(inputs), (batch,), generator=generator).to(inputs.device)
        kl(forward(pruned, inputs[ids], read=read).logits, answers[ids], TEMPERATURE).mean().backward()
        runtime.step(optimizer, CLIP)
        _apply(pruned, masks)
    for part, mode in modes.items():
        part.training = mode
    for p, flag in flags.items():
        p.requires_grad_(flag)


@torch.no_grad()
def _apply(module: nn.Module, masks: Masks) -> None:
    for path, mask in masks.items():
        weight_of(module, path).mul_(mask)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
