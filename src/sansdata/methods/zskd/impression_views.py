"""The views of an impression that ZSKD's student learns from (Nayak et al. 2019, released code).

Released: a step takes 64 impressions and 105 altered copies of each: 3 enlarged, 4 shifted, 10 turned, 3 mirrored, one
speckled, one dimmed with noise, and pairs of these.
Deviation: one view per image and step, drawn with the shares those copies have. It costs a hundredth, so that a small
budget meets many impressions instead of few in all their copies. Speckles and noise differ from image to image; the
released code seeds them anew for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

SCALES = (0.9, 0.75, 0.6)
"""The side of the central part that is enlarged to the whole image, as a share of the image's side."""
SHIFT = 0.2
"""How far an image is moved, as a share of its height or width."""
ANGLES = 10
"""How many angles an image is turned by, evenly from -90 to 90 degrees."""
SPECKLES, SALT = 0.004, 0.2
"""SPECKLES is the share of an image's values that are speckled; SALT that of the white ones among them."""

ALTERATIONS = ("enlarge", "shift", "turn", "mirror", "speckle", "dim")
"""What may be done to an image, in the order in which it is done."""
COPIES: dict[tuple[str, ...], int] = {
    (): 1,
    ("enlarge",): 3,
    ("shift",): 4,
    ("turn",): 10,
    ("mirror",): 3,
    ("speckle",): 1,
    ("dim",): 1,
    ("enlarge", "shift"): 12,
    ("shift", "turn"): 40,
    ("enlarge", "turn"): 30,
    ("speckle", "dim"): 1,
}
"""Which alterations -> how many of the released 106 copies have them. Speckled and dimmed ones only of CIFAR-10."""


def impression_views(images: Tensor, generator: torch.Generator) -> Tensor:
    """images (B, C, H, W) in unit space, each altered on its own; same shape."""
    shares = torch.tensor([float(count) for count in COPIES.values()])
    kind = torch.multinomial(shares, len(images), replacement=True, generator=generator)
    for alteration in ALTERATIONS:
        used = torch.tensor([alteration in names for names in COPIES])[kind]
        if used.any():
            images = _where(used, images, lambda some, name=alteration: _MAKERS[name](some, generator))
    return images


def enlarge(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images whose central part, of a side in SCALES, fills the whole; bilinear."""
    part = torch.tensor(SCALES)[torch.randint(len(SCALES), (len(images),), generator=generator)]
    y, x = _centred(images)
    return _look_up(images, part.view(-1, 1, 1) * y, part.view(-1, 1, 1) * x, "bilinear")


def shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images moved by a fifth to the left, right, top or bottom; white moves in."""
    side = torch.randint(4, (len(images),), generator=generator)
    for number, (axis, forward) in enumerate(((3, False), (3, True), (2, False), (2, True))):
        images = _where(side == number, images, lambda some, a=axis, f=forward: _shifted(some, a, f))
    return images


def _shifted(images: Tensor, axis: int, forward: bool) -> Tensor:
    size = images.shape[axis]
    by = size - math.ceil((1 - SHIFT) * size)
    rest = images.narrow(axis, 0 if forward else by, size - by)
    white = torch.ones_like(images.narrow(axis, 0, by))
    return torch.cat([white, rest] if forward else [rest, white], axis)


def turn(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images turned about the centre by one of ten angles, nearest pixel; black moves in."""
    degrees = torch.linspace(-90, 90, ANGLES)[torch.randint(ANGLES, (len(images),), generator=generator)]
    angle = torch.deg2rad(degrees).view(-1, 1, 1)
    y, x = _centred(images)
    return _look_up(images, angle.cos() * y + angle.sin() * x, angle.cos() * x - angle.sin() * y, "nearest")


def mirror(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images mirrored left to right, upside down, or about the diagonal; the last only where they are square."""
    square = images.shape[2] == images.shape[3]
    which = torch.randint(3 if square else 2, (len(images),), generator=generator)
    images = _where(which == 0, images, lambda some: some.flip(3))
    images = _where(which == 1, images, lambda some: some.flip(2))
    return _where(which == 2, images, lambda some: some.transpose(2, 3))


def speckle(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images with a few pixels white and four times as many black, in all channels."""
    count, channels, height, width = images.shape
    values = SPECKLES * channels * height * width
    flat = images.flatten(2)
    for share, value in ((SALT, 1.0), (1 - SALT, 0.0)):
        places = torch.randint(height * width, (count, 1, math.ceil(values * share)), generator=generator)
        flat = flat.scatter(2, places.expand(-1, channels, -1).to(flat.device), value)
    return flat.view(count, channels, height, width)


def dim(images: Tensor, generator: torch.Generator) -> Tensor:
    """Three quarters of each image and a sixteenth of even noise, which is the same in all of its channels."""
    noise = torch.rand(len(images), 1, *images.shape[2:], generator=generator).to(images.device)
    return 0.75 * images + 0.0625 * noise


_MAKERS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "enlarge": enlarge, "shift": shift, "turn": turn, "mirror": mirror, "speckle": speckle, "dim": dim,
}  # fmt: skip


def _where(chosen: Tensor, images: Tensor, alter: Callable[[Tensor], Tensor]) -> Tensor:
    """`images` with those that are `chosen` (B,) altered."""
    places = chosen.nonzero().flatten().to(images.device)
    return images.index_copy(0, places, alter(images[places])) if len(places) else images


def _centred(images: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (1, H, 1) and columns (1, 1, W) in pixels from the centre."""
    height, width = images.shape[2:]
    return (
        (torch.arange(height) - (height - 1) / 2).view(1, height, 1),
        (torch.arange(width) - (width - 1) / 2).view(1, 1, width),
    )


def _look_up(images: Tensor, y: Tensor, x: Tensor, mode: str) -> Tensor:
    """Each image at rows y and columns x, in pixels from the centre, broadcastable to (B, H, W); black outside."""
    height, width = images.shape[2:]
    y, x = torch.broadcast_tensors(2 * y / (height - 1), 2 * x / (width - 1))
    grid = torch.stack([x, y], dim=3).to(images.device, images.dtype)
    return F.grid_sample(images, grid, mode, "zeros", align_corners=True)
