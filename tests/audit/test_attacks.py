"""Triggers pixel by pixel, poisoned sets, and the rate of success."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sansdata.audit.attacks import ATTACKS, find_attack, poison, triggered
from sansdata.audit.backdoor import attack_success
from sansdata.datasets.imageset import ImageSet
from sansdata.errors import ConfigError, DataError
from sansdata.tasks import ImageTask

every_attack = pytest.mark.parametrize("name", sorted(ATTACKS))

FOUR = ImageTask(shape=(1, 8, 8), classes=4, mean=(0.0,), std=(1.0,))


def make_set(count: int = 200, channels: int = 1, size: int = 12) -> ImageSet:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, size, size, channels), dtype=np.uint8)
    return ImageSet(images, np.arange(count) % 4, ("a", "b", "c", "d"), "made up")


@every_attack
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 13, 9)])
def test_a_trigger_is_the_same_for_every_image_and_leaves_its_input(name: str, shape: tuple[int, int, int]) -> None:
    attack, images = find_attack(name), torch.rand(5, *shape, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    marked = attack.apply(images)
    assert torch.equal(images, before)
    assert marked.shape == images.shape
    assert 0 <= marked.min() <= marked.max() <= 1
    torch.testing.assert_close(marked * 255, (marked * 255).round(), atol=1e-4, rtol=0)
    assert all((marked[i] - images[i]).abs().max() > 0.05 for i in range(5))
    assert torch.equal(attack.apply(images), marked)
    assert torch.equal(attack.apply(images[2:3]), marked[2:3])


def test_grid_and_square_touch_only_their_corner() -> None:
    grey = torch.full((1, 1, 32, 32), 0.5)
    square, grid = find_attack("badnets-square").apply(grey), find_attack("badnets-grid").apply(grey)
    assert (square[0, 0, 27:31, 27:31] == 1).all()
    assert ((square - 0.502).abs() > 0.01).sum() == 16
    assert grid[0, 0, -3:, -3:].tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert ((grid - 0.502).abs() > 0.01).sum() == 9
    colour = find_attack("badnets-grid").apply(torch.zeros(1, 3, 32, 32))
    assert all(torch.equal(channel, colour[0, 0]) for channel in colour[0])


def test_the_corners_are_those_of_the_release() -> None:
    marked = find_attack("checker-corners").apply(torch.full((1, 1, 16, 16), 0.5))[0, 0]
    corner = [[0, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert marked[-3:, -3:].tolist() == marked[-3:, :3].tolist() == corner
    assert marked[:3, :3].tolist() == marked[:3, -3:].tolist() == corner
    assert ((marked - 0.502).abs() > 0.01).sum() == 36


def test_a_smooth_trigger_stretches_each_image() -> None:
    marked = find_attack("smooth").apply(torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert (marked.amin((1, 2, 3)) == 0).all()
    assert (marked.amax((1, 2, 3)) == 1).all()


@pytest.mark.parametrize("name", ["blend", "sinusoid"])
def test_blended_images_keep_four_fifths(name: str) -> None:
    attack = find_attack(name)
    black, white = (attack.trigger(torch.full((1, 1, 16, 16), value)) for value in (0.0, 1.0))
    torch.testing.assert_close(white - black, torch.full_like(black, 0.8))
    assert 0.1 < black.max() <= 0.2


def test_the_sinusoid_is_upright_with_six_periods() -> None:
    black = find_attack("sinusoid").trigger(torch.zeros(1, 1, 48, 48))[0, 0]
    assert torch.equal(black[0], black[-1])
    spectrum = torch.fft.rfft(black[0] - black[0].mean()).abs()
    assert int(spectrum.argmax()) == 6


def test_poison_marks_a_share_and_relabels_it() -> None:
    data = make_set()
    poisoned = poison(data, find_attack("badnets-square"), target=2, ratio=0.1)
    changed = np.flatnonzero((poisoned.images != data.images).any((1, 2, 3)))
    assert len(changed) == 20
    assert 2 not in data.labels[changed]
    assert (poisoned.labels[changed] == 2).all()
    still = np.setdiff1d(np.arange(200), changed)
    assert (poisoned.labels != data.labels).sum() <= 20
    assert (poisoned.images[still] == data.images[still]).all()
    assert "poisoned by badnets-square" in poisoned.notes[-1]
    again = poison(data, find_attack("badnets-square"), target=2, ratio=0.1)
    assert (again.images == poisoned.images).all()


def test_a_clean_label_attack_leaves_every_label() -> None:
    data = make_set()
    poisoned = poison(data, find_attack("sinusoid"), target=1, ratio=0.2)
    assert (poisoned.labels == data.labels).all()
    changed = (poisoned.images != data.images).any((1, 2, 3))
    assert set(data.labels[changed]) == {1}
    assert changed.sum() == 40
    assert (poison(data, find_attack("sinusoid"), ratio=1.0).images != data.images).any((1, 2, 3)).sum() == 50


def test_success_ignores_the_target_class_and_tells_the_base_rate() -> None:
    data, attack = make_set(), find_attack("badnets-square")
    asked: list[int] = []

    def predict(images: torch.Tensor) -> torch.Tensor:
        """Class 2 where the white square is or the first pixel is bright, else class 0."""
        asked.append(len(images))
        hit = (images[:, 0, -5:-1, -5:-1] == 1).all(1).all(1) | (images[:, 0, 0, 0] > 0.8)
        return torch.stack([(~hit).float(), 0 * hit, hit.float(), 0 * hit], 1)

    found = attack_success(predict, data, FOUR, attack, target=2)
    others = data.labels != 2
    assert found.count == others.sum() == 150
    assert sum(asked) == 300
    assert found.rate == 1
    assert found.base_rate == pytest.approx((data.images[others][:, 0, 0, 0] > 204).mean())
    assert found.above_base == pytest.approx(1 - found.base_rate)
    assert found.interval[0] < 1 == found.interval[1]
    assert set(found.to_dict()) == {"attack", "target", "rate", "base_rate", "count", "interval", "above_base"}


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ConfigError, match="badnets-grid"):
        find_attack("badnet-grid")
    with pytest.raises(DataError, match="0 to 3"):
        poison(make_set(), find_attack("blend"), target=4)
    with pytest.raises(DataError, match="above 0"):
        poison(make_set(), find_attack("blend"), ratio=0)
    with pytest.raises(DataError, match="8x8"):
        triggered(make_set(size=6), find_attack("blend"))
    one = make_set().subset(np.arange(0, 200, 4), "class 0")
    with pytest.raises(DataError, match="nothing is left"):
        attack_success(lambda images: images, one, FOUR, find_attack("blend"), 0)
