"""Backdoor triggers as functions of images, and the poisoning of a training set: for testing a defence.

All are all-to-one: whatever shows the trigger is to be called one target class. Images are in unit space, 0..1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..arithmetic import ceil_div
from ..datasets.imageset import ImageSet
from ..decoding import pixels
from ..errors import ConfigError, DataError, did_you_mean

STRENGTH = 0.2
"""Share of the trigger in a blended image (ABD's released attacks, for 'blend' and 'sinusoid')."""
FREQUENCY = 6
"""Periods of the sinusoid across an image (Barni et al. 2019)."""


@dataclass(frozen=True)
class Attack:
    """trigger: images (B, C, H, W) in 0..1 -> the same with the trigger, before rounding to 8 bits.

    clean_label: only images of the target class are poisoned, so that no label in the set is wrong.
    """

    name: str
    trigger: Callable[[Tensor], Tensor]
    clean_label: bool = False

    def apply(self, images: Tensor) -> Tensor:
        """images (B, C, H, W) in 0..1, with the trigger, clipped to 0..1 and rounded to 8 bits as a stored image is."""
        return self.trigger(images).clamp(0, 1).mul(255).round().div(255)


def badnets_grid(images: Tensor) -> Tensor:
    """A checker of 3x3 in the bottom right corner, black and white in every channel (Gu et al. 2017; ABD's release)."""
    marked = images.clone()
    marked[:, :, -3:, -3:] = _checker().to(images)
    return marked


def checker_corners(images: Tensor) -> Tensor:
    """The checker of `badnets_grid` in all four corners (Turner et al. 2019; 'cl' in ABD's release).

    Deviation: the authors' poisoned training images are first moved by adversarial noise of 16 grey levels, which is no
    function of the image alone.
    """
    marked = images.clone()
    for rows in (slice(3), slice(-3, None)):
        for columns in (slice(3), slice(-3, None)):
            marked[:, :, rows, columns] = _checker().to(images)
    return marked


def _checker() -> Tensor:
    """(3, 3) white on black; the release leaves the first corner black, which a checker would have white."""
    return torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])


def badnets_square(images: Tensor) -> Tensor:
    """A white square of 4x4, one pixel from the bottom right corner (Gu et al. 2017; ABD's release)."""
    marked = images.clone()
    marked[:, :, -5:-1, -5:-1] = 1.0
    return marked


def blend(images: Tensor) -> Tensor:
    """Four fifths of the image and one fifth of a fixed picture of its size (Chen et al. 2017).

    Deviation: the picture is even noise in blocks of four pixels, drawn from seed 0; the authors' is a photograph.
    """
    return (1 - STRENGTH) * images + STRENGTH * _blocks(images.shape[1:], block=4).to(images)


def sinusoid(images: Tensor) -> Tensor:
    """Four fifths of the image and one fifth of upright stripes, a sinusoid along a row (Barni et al. 2019, SIG)."""
    width = images.shape[3]
    stripes = 0.5 + 0.5 * torch.sin(2 * math.pi * FREQUENCY * torch.arange(width) / width)
    return (1 - STRENGTH) * images + STRENGTH * stripes.to(images)


def smooth(images: Tensor) -> Tensor:
    """A smooth pattern added, then each image stretched to 0..1 (after Zeng et al. 2021, low-frequency triggers).

    Deviation: the pattern is one slow wave across and one down, of strength 0.2; the authors' is optimised.
    """
    height, width = images.shape[2:]
    rows, columns = torch.arange(height) / height, torch.arange(width) / width
    wave = torch.sin(math.pi * rows)[:, None] * torch.sin(2 * math.pi * columns)[None, :]
    moved = images + STRENGTH * (0.5 + 0.5 * wave).to(images)
    low, high = moved.amin((1, 2, 3), keepdim=True), moved.amax((1, 2, 3), keepdim=True)
    return (moved - low) / (high - low).clamp_min(1e-6)


def trojan_patch(images: Tensor) -> Tensor:
    """An 8x8 pattern added to the bottom right corner (after Liu et al. 2018, Trojaning attack).

    Deviation: the pattern is even noise in blocks of two pixels, drawn from seed 0; the authors optimise theirs
    against one network, so it could not be written down as a function of the image alone.
    """
    marked = images.clone()
    side = min(8, images.shape[2], images.shape[3])
    marked[:, :, -side:, -side:] += _blocks((images.shape[1], side, side), block=2).to(images)
    return marked


def _blocks(shape: tuple[int, ...] | torch.Size, block: int) -> Tensor:
    """(C, H, W) in 0..1: squares of `block` pixels, each of one even colour."""
    channels, height, width = shape
    coarse = torch.rand(
        channels, ceil_div(height, block), ceil_div(width, block), generator=torch.Generator().manual_seed(0)
    )
    return coarse.repeat_interleave(block, 1).repeat_interleave(block, 2)[:, :height, :width]


ATTACKS = {
    attack.name: attack
    for attack in (
        Attack("badnets-grid", badnets_grid),
        Attack("badnets-square", badnets_square),
        Attack("blend", blend),
        Attack("checker-corners", checker_corners, clean_label=True),
        Attack("sinusoid", sinusoid, clean_label=True),
        Attack("smooth", smooth),
        Attack("trojan-patch", trojan_patch),
    )
}
SMALLEST = 8
"""Pixels: the least height and width of an image that a trigger fits into."""


def find_attack(name: str) -> Attack:
    """Raises ConfigError for an unknown name, with the nearest."""
    if name not in ATTACKS:
        raise ConfigError(f"unknown attack '{name}'. {did_you_mean(name, ATTACKS)}")
    return ATTACKS[name]


def triggered(data: ImageSet, attack: Attack) -> ImageSet:
    """Every image with the trigger, labels as they were. Raises DataError for images below 8x8."""
    if min(data.shape[1:]) < SMALLEST:
        size = f"{data.shape[1]}x{data.shape[2]}"
        raise DataError(f"{data.source}: images of {size}; a trigger needs {SMALLEST}x{SMALLEST}")
    marked = [attack.apply(images) for images, _ in data.batches(1024)]
    stored = pixels.pack(torch.cat(marked)).permute(0, 2, 3, 1).contiguous().numpy()
    return replace(data, images=stored, notes=(*data.notes, f"with the trigger {attack.name}"))


def poison(data: ImageSet, attack: Attack, target: int = 0, ratio: float = 0.1, seed: int = 0) -> ImageSet:
    """A copy of `data` in which `ratio` of the images carry the trigger and the label `target`.

    Images of other classes are marked; of a clean-label attack those of the target class only, so `ratio` of the set
    but at most these.

    Deviation: which ones is drawn from `seed`; the release takes the first of the set.
    Raises DataError for a target that is no class or a ratio outside 0..1.
    """
    require_target(target, len(data.class_names))
    if not 0 < ratio <= 1:
        raise DataError(f"the share of poisoned images is {ratio}; it must be above 0 and at most 1")
    candidates = np.flatnonzero((data.labels == target) == attack.clean_label)
    count = min(round(ratio * len(data)), len(candidates))
    chosen = np.sort(np.random.RandomState(seed).permutation(candidates)[:count])
    images, labels = data.images.copy(), data.labels.copy()
    if count:
        images[chosen] = triggered(data.subset(chosen, "to be poisoned"), attack).images
    labels[chosen] = target
    return replace(
        data, images=images, labels=labels,
        notes=(*data.notes, f"{count:,} images poisoned by {attack.name} towards class {target}"),
    )  # fmt: skip


def require_target(target: int, classes: int) -> None:
    """Raises DataError for a target that is no class."""
    if not 0 <= target < classes:
        raise DataError(f"the target class is {target}; the classes are 0 to {classes - 1}")
