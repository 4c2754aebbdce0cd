"""ZSKD's views of impressions: what each alteration does to an image, and how often it is drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sansdata.methods.zskd import impression_views as views
from sansdata.synthesis.augment import augment

SHAPES = [(1, 8, 8), (3, 10, 10), (3, 9, 13)]
shapes = pytest.mark.parametrize("shape", SHAPES)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, shape: tuple[int, int, int]) -> torch.Tensor:
    return 0.1 + 0.8 * torch.rand(count, *shape, generator=seeded(9))


def each(count: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """One image many times."""
    return pictures(1, shape).expand(count, *shape).clone()


@shapes
def test_a_shift_keeps_four_fifths_and_fills_with_white(shape: tuple[int, int, int]):
    image = pictures(1, shape)[0]
    _, height, width = shape
    down, across = height - math.ceil(0.8 * height), width - math.ceil(0.8 * width)
    wanted = [torch.ones(shape) for _ in range(4)]
    wanted[0][:, :, : width - across] = image[:, :, across:]
    wanted[1][:, :, across:] = image[:, :, : width - across]
    wanted[2][:, : height - down] = image[:, down:]
    wanted[3][:, down:] = image[:, : height - down]
    seen = views.shift(each(80, shape), seeded())
    found = {next(i for i, w in enumerate(wanted) if torch.equal(w, one)) for one in seen}
    assert found == {0, 1, 2, 3}


@shapes
def test_turning_takes_the_nearest_pixel_or_black(shape: tuple[int, int, int]):
    """Against a loop over pixels. Where two pixels are equally near, either will do: such are left out."""
    image = pictures(1, shape)[0].numpy()
    _, height, width = shape
    candidates = []
    for degrees in np.linspace(-90, 90, 10):
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        turned, sure = np.zeros(shape, np.float32), np.ones((height, width), bool)
        for row in range(height):
            for column in range(width):
                y, x = row - (height - 1) / 2, column - (width - 1) / 2
                v, u = c * y + s * x + (height - 1) / 2, c * x - s * y + (width - 1) / 2
                sure[row, column] = min(abs(v % 1 - 0.5), abs(u % 1 - 0.5)) > 1e-3
                if 0 <= round(v) < height and 0 <= round(u) < width:
                    turned[:, row, column] = image[:, round(v), round(u)]
        candidates.append((turned, sure))
    found = set()
    for one in views.turn(torch.from_numpy(image).expand(60, *shape).clone(), seeded(1)).numpy():
        fits = [i for i, (t, sure) in enumerate(candidates) if np.abs(t - one)[:, sure].max(initial=0) < 1e-6]
        assert fits
        found.add(fits[0])
    assert len(found) >= 8


@shapes
def test_enlarging_looks_up_the_central_part(shape: tuple[int, int, int]):
    """A ramp becomes a flatter ramp about the same centre."""
    _, height, width = shape
    ramp = torch.arange(width).float().sub((width - 1) / 2).div(width).view(1, 1, 1, width)
    seen = views.enlarge(ramp.expand(60, shape[0], height, width).clone(), seeded())
    slopes = {round(float(one[0, 0, -1] / ramp[0, 0, 0, -1]), 3) for one in seen}
    assert slopes == {0.9, 0.75, 0.6}
    assert torch.allclose(seen[..., :1, :].expand_as(seen), seen, atol=1e-6)


@shapes
def test_mirrors(shape: tuple[int, int, int]):
    image = pictures(1, shape)[0]
    wanted = [image.flip(2), image.flip(1)] + ([image.transpose(1, 2)] if shape[1] == shape[2] else [])
    seen = views.mirror(each(60, shape), seeded())
    assert {next(i for i, w in enumerate(wanted) if torch.equal(w, one)) for one in seen} == set(range(len(wanted)))


@shapes
def test_speckles_are_few_black_or_white_and_in_all_channels(shape: tuple[int, int, int]):
    before = pictures(50, shape)
    after = views.speckle(before, seeded())
    changed = (after != before).all(1)
    assert torch.equal(changed, (after != before).any(1))
    values = 0.004 * math.prod(shape)
    most = math.ceil(0.2 * values) + math.ceil(0.8 * values)
    assert 1 <= changed.sum((1, 2)).min() <= changed.sum((1, 2)).max() <= most
    assert set(after.amax(1)[changed].tolist()) == {0.0, 1.0}


def test_dimming_adds_one_noise_to_all_channels():
    before = pictures(4, (3, 8, 8))
    noise = (views.dim(before, seeded()) - 0.75 * before) / 0.0625
    assert torch.allclose(noise, noise[:, :1].expand_as(noise), atol=1e-4)
    assert -1e-5 <= noise.min() <= noise.max() <= 1 + 1e-5
    assert noise.std() > 0.2


def test_views_are_drawn_with_the_released_shares():
    """56 of 106 copies are shifted, which is what brings white into a black image; one is the image itself."""
    assert sum(views.COPIES.values()) == 106
    black = torch.zeros(4000, 1, 10, 10)
    white = (views.impression_views(black, seeded()) > 0.99).flatten(1).sum(1) > 5
    assert abs(white.float().mean() - (4 + 12 + 40) / 106) < 0.04
    images = pictures(4000, (1, 10, 10))
    same = (views.impression_views(images, seeded(1)) == images).flatten(1).all(1)
    assert abs(same.float().mean() - 1 / 106) < 0.01


@shapes
def test_views_keep_shape_range_and_seed(shape: tuple[int, int, int]):
    images = pictures(64, shape)
    seen = augment(images, views.impression_views, seeded(4))
    assert seen.shape == images.shape
    assert 0 <= seen.min() <= seen.max() <= 1
    assert torch.equal(seen, augment(images, views.impression_views, seeded(4)))
    assert not torch.equal(seen, augment(images, views.impression_views, seeded(5)))
