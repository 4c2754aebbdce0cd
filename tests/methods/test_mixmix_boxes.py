"""Mixing two images: against torch's own resize in float64, and what the card of MixMix asks of it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sansdata.methods.mixmix import mix_pairs


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=stream(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(16, 1, 28, 28), (16, 3, 9, 16)])
def test_the_partner_is_resized_whole_into_the_box(shape: tuple[int, ...]) -> None:
    given = images(*shape)
    mixed = mix_pairs(given, (0.05, 0.6), stream())
    for one, (image, partner, share) in enumerate(zip(mixed.images, mixed.partner, mixed.share)):
        changed = (image != given[one]).any(0)
        rows, columns = changed.any(1).nonzero().flatten(), changed.any(0).nonzero().flatten()
        if not changed.any():
            assert share == 0 or partner == one
            continue
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        size = (int(bottom - top), int(right - left))
        assert share.item() == pytest.approx(size[0] * size[1] / given[0, 0].numel())
        wanted = F.interpolate(given[partner][None], size=size, mode="bilinear", align_corners=False)[0]
        assert torch.allclose(image[:, top:bottom, left:right], wanted, atol=1e-6)
        outside = ~changed
        outside[top:bottom, left:right] = False
        assert torch.equal(image[:, outside], given[one][:, outside])


def test_share_is_drawn_from_the_range_and_places_cover_the_image() -> None:
    mixed = mix_pairs(images(2000, 1, 20, 20), (0.1, 0.5), stream())
    assert 0.08 < mixed.share.min() < 0.12
    assert 0.45 < mixed.share.max() < 0.55
    assert mixed.share.mean().item() == pytest.approx(0.3, abs=0.01)
    assert torch.equal(mixed.partner.sort().values, torch.arange(2000))
    given = torch.zeros(2000, 1, 20, 20)
    given[::2] = 1  # a box shows where the partner is of the other kind
    shown = mix_pairs(given, (0.1, 0.1), stream()).images != given
    assert shown.any(0).all()


def test_without_a_box_images_stay_as_they_are() -> None:
    given = images(8, 1, 12, 12)
    mixed = mix_pairs(given, (0.0, 0.0), stream())
    assert torch.equal(mixed.images, given)
    assert not mixed.share.any()


def test_gradient_reaches_both_images() -> None:
    given = images(4, 1, 16, 16).requires_grad_()
    mixed = mix_pairs(given, (0.3, 0.3), stream(3))
    (gradient,) = torch.autograd.grad(mixed.images[0].sum(), given)
    partner = int(mixed.partner[0])
    assert partner != 0
    touched = {one for one in range(4) if gradient[one].any()}
    assert touched == {0, partner}
    assert torch.autograd.gradcheck(
        lambda x: mix_pairs(x, (0.3, 0.3), stream(3)).images, images(3, 1, 6, 6).requires_grad_()
    )
