"""CutMix between noisy states: a box of one image in the place of another's, whose seams later steps repair."""

from __future__ import annotations

import torch
from torch import Tensor

REFUSALS = 64
"""Of numbers one pair in two is refused at most."""


def within_classes(targets: Tensor, generator: torch.Generator) -> Tensor:
    """(B,) for each image another of the same class where there is one, else itself; every image is given once."""
    partners = torch.arange(len(targets))
    for number in targets.unique():
        members = (targets == number).nonzero().flatten().cpu()
        members = members[torch.randperm(len(members), generator=generator)]
        partners[members] = members.roll(1)
    return partners


def random_box(size: tuple[int, int], generator: torch.Generator) -> tuple[slice, slice]:
    """Rows and columns of a box with an even centre, cut at the border, whose area before that is 1 - lambda of the
    image; lambda ~ Beta(a, a), a ~ Beta(1, 1) (released)."""
    a = float(torch.rand(1, generator=generator).clamp_min(1e-3))
    kept = _beta(a, generator)
    height, width = (round(side * (1 - kept) ** 0.5) for side in size)
    row, column = (int(torch.randint(side, (1,), generator=generator)) for side in size)
    return (
        slice(max(0, row - height // 2), min(size[0], row + height - height // 2)),
        slice(max(0, column - width // 2), min(size[1], column + width - width // 2)),
    )


def _beta(a: float, generator: torch.Generator) -> float:
    """A draw of Beta(a, a) for a in 0..1 (Joehnk 1964): torch's own draws from the global generator.

    One half, its mean, after as many refusals as only draws that are not numbers have: the losses will show those.
    """
    for _ in range(REFUSALS):
        one, other = (float(draw) ** (1 / a) for draw in torch.rand(2, generator=generator, dtype=torch.float64))
        if 0 < one + other <= 1:
            return one / (one + other)
    return 0.5


def cutmix(states: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    """States (B, C, H, W) with one box of each exchanged for that of another image of its class, targets (B,).

    The noise of a state is independent from pixel to pixel, so that what comes of it is as noisy everywhere; a mixture
    of two would be less so.
    """
    rows, columns = random_box((states.shape[2], states.shape[3]), generator)
    partners = within_classes(targets, generator).to(states.device)
    mixed = states.clone()
    mixed[:, :, rows, columns] = states[partners][:, :, rows, columns]
    return mixed
