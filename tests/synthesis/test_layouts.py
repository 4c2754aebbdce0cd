"""What an inversion asks of a teacher of masks, and how it moves with the image."""

from __future__ import annotations

import torch

from sansdata.synthesis.augment import augment, jitter, random_flip
from sansdata.synthesis.layouts import UNASKED, random_layouts, together


def layouts(count: int = 200) -> torch.Tensor:
    return random_layouts(count, 3, (24, 20), torch.Generator().manual_seed(0))


def test_layouts_are_regions_of_every_class_alike() -> None:
    drawn = layouts()
    assert drawn.shape == (200, 24, 20)
    shares = torch.bincount(drawn.flatten()) / drawn.numel()
    assert (shares - 1 / 3).abs().max() < 0.03
    same_as_neighbour = (drawn[:, :, 1:] == drawn[:, :, :-1]).float().mean()
    assert 0.7 < same_as_neighbour < 0.95


def test_a_layout_moves_with_its_image_and_nothing_is_asked_of_what_comes_in() -> None:
    targets = layouts(6)
    images = targets[:, None].float() / 3 + 0.1
    for change in (
        lambda seen: augment(seen, "crop+flip", torch.Generator().manual_seed(3)),
        lambda seen: jitter(seen, 4, torch.Generator().manual_seed(3)),
        lambda seen: random_flip(seen, torch.Generator().manual_seed(3)),
    ):
        moved, labels = together(change, images, targets)
        asked = labels != UNASKED
        assert torch.allclose(moved[:, 0][asked], labels[asked].float() / 3 + 0.1)
        assert not moved[:, 0][~asked].any()
        assert torch.equal(moved, change(images))


def test_targets_that_are_classes_stay_as_they_are() -> None:
    images, classes = torch.randn(4, 1, 8, 8), torch.arange(4)
    moved, same = together(lambda seen: seen.flip(-1), images, classes)
    assert same is classes
    assert torch.equal(moved, images.flip(-1))
