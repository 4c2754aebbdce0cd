"""The local view: a part of the image at full size, against a plain loop, with gradients."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from sansdata.synthesis.resized_crop import ASPECT, random_resized_crop


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(*shape, generator=seeded(seed), dtype=dtype)


def boxes(count: int, height: int, width: int, scale: tuple[float, float], seed: int) -> list[tuple[float, ...]]:
    """(top, left, height, width) of each part, drawn again from the same stream."""
    generator = seeded(seed)
    area = scale[0] + (scale[1] - scale[0]) * torch.rand(count, generator=generator)
    low, high = (math.log(a) for a in ASPECT)
    aspect = (low + (high - low) * torch.rand(count, generator=generator)).exp()
    places = torch.rand(2, count, generator=generator)
    found = []
    for i in range(count):
        tall = max(1.0, min(1.0, math.sqrt(area[i] / aspect[i])) * height)
        wide = max(1.0, min(1.0, math.sqrt(area[i] * aspect[i])) * width)
        found.append((places[0, i].item() * (height - tall), places[1, i].item() * (width - wide), tall, wide))
    return found


@pytest.mark.parametrize("shape", [(5, 1, 12, 12), (4, 3, 9, 16)])
def test_it_is_what_grid_sample_gives_for_the_same_parts(shape):
    count, _, height, width = shape
    images, scale = drawn(*shape), (0.25, 1.0)
    seen = random_resized_crop(images, scale, seeded(3))
    assert seen.shape == images.shape
    for i, (top, left, tall, wide) in enumerate(boxes(count, height, width, scale, 3)):
        rows = top + (torch.arange(height) + 0.5) * tall / height  # in pixels from the upper edge
        columns = left + (torch.arange(width) + 0.5) * wide / width
        y, x = torch.meshgrid(2 * rows / height - 1, 2 * columns / width - 1, indexing="ij")
        grid = torch.stack([x, y], dim=-1)[None]
        wanted = F.grid_sample(images[i : i + 1], grid, "bilinear", "border", align_corners=False)[0]
        assert (seen[i] - wanted).abs().max() < 1e-5


def test_the_whole_image_is_itself_where_nothing_is_cut():
    """scale 1 with the image's own aspect is no change; other aspects are cut to the image along one axis."""
    images = drawn(64, 1, 8, 8)
    seen = random_resized_crop(images, (4.0, 4.0), seeded())
    assert torch.allclose(seen, images, atol=1e-6)


def test_an_even_image_stays_even_and_the_range_is_kept():
    even = random_resized_crop(torch.full((8, 3, 10, 10), 0.3), (0.25, 1.0), seeded())
    assert torch.allclose(even, torch.tensor(0.3))
    images = drawn(32, 3, 10, 10)
    seen = random_resized_crop(images, (0.25, 1.0), seeded())
    assert images.min() <= seen.min()
    assert seen.max() <= images.max() + 1e-6
    assert torch.equal(seen, random_resized_crop(images, (0.25, 1.0), seeded()))
    assert not torch.equal(seen, random_resized_crop(images, (0.25, 1.0), seeded(1)))


def test_smaller_scales_show_less():
    ramp = torch.linspace(0, 1, 16).expand(200, 1, 16, 16)
    spans = []
    for scale in ((0.25, 0.3), (0.8, 1.0)):
        seen = random_resized_crop(ramp, scale, seeded())
        spans.append((seen.amax((1, 2, 3)) - seen.amin((1, 2, 3))).mean().item())
    assert 0.4 < spans[0] < 0.6 < 0.8 < spans[1] < 1.0


def test_gradient_equals_finite_differences():
    images = drawn(2, 2, 5, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: random_resized_crop(x, (0.25, 1.0), seeded(2)), (images,))
