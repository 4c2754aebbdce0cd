"""Labels, noise and views: ranges, sums, determinism, and that gradients reach the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sansdata.kinds.inputs.image_noise import dead_leaves, fractal, gaussian
from sansdata.synthesis.augment import augment, jitter, random_crop, random_flip
from sansdata.synthesis.labels import random_labels, stratified_labels

quick = settings(max_examples=30, deadline=None)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- labels


@quick
@given(st.integers(0, 300), st.integers(2, 40), st.integers(0, 1000))
def test_stratified_labels_differ_by_at_most_one_per_class(count, classes, seed):
    labels = stratified_labels(count, classes, seeded(seed))
    shares = np.bincount(labels.numpy(), minlength=classes)
    assert shares.sum() == count == len(labels)
    assert len(shares) == classes
    assert shares.max() - shares.min() <= 1


@quick
@given(st.integers(1, 300), st.integers(2, 40), st.integers(0, 1000))
def test_random_labels_are_classes(count, classes, seed):
    labels = random_labels(count, classes, seeded(seed))
    assert labels.shape == (count,)
    assert labels.dtype == torch.int64
    assert 0 <= labels.min() <= labels.max() < classes


def test_random_labels_are_even_and_stratified_ones_not_in_order():
    counts = np.bincount(random_labels(20_000, 10, seeded()).numpy())
    assert abs(counts - 2000).max() < 5 * 42
    labels = stratified_labels(100, 10, seeded()).tolist()
    assert labels != sorted(labels)
    assert labels[:50] != labels[50:]


# -- noise


@pytest.mark.parametrize("make", [fractal, dead_leaves])
@settings(max_examples=12, deadline=None)
@given(shape=st.tuples(st.sampled_from([1, 3]), st.integers(4, 17), st.integers(4, 17)), seed=st.integers(0, 99))
def test_pictures_lie_in_unit_space_and_follow_their_seed(make, shape, seed):
    images = make(3, shape, seeded(seed))
    assert images.shape == (3, *shape)
    assert images.dtype == torch.float32
    assert 0 <= images.min() <= images.max() <= 1
    assert torch.equal(images, make(3, shape, seeded(seed)))
    assert not torch.equal(images, make(3, shape, seeded(seed + 1)))
    assert not torch.equal(images[0], images[1])


def test_gaussian_is_standard_normal():
    x = gaussian(200, (3, 16, 16), seeded())
    assert x.mean().abs() < 0.01
    assert abs(x.std() - 1) < 0.01


def test_fractal_noise_is_smoother_than_white_noise_and_its_spectrum_falls():
    images = fractal(200, (1, 32, 32), seeded(1))
    power = torch.fft.fft2(images - images.mean((2, 3), keepdim=True)).abs().square().mean((0, 1))
    assert power[0, 1] > 10 * power[0, 15]


def test_dead_leaves_are_even_patches():
    images = dead_leaves(50, (1, 32, 32), seeded(2))
    still = (images[..., 1:] == images[..., :-1]).float().mean()
    assert still > 0.6


# -- views


images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(5))


@quick
@given(st.integers(1, 4), st.integers(0, 1000))
def test_a_crop_is_a_window_of_the_padded_image(pad, seed):
    cropped = random_crop(images, pad, seeded(seed))
    padded = torch.nn.functional.pad(images, (pad,) * 4)
    for before, after in zip(padded, cropped):
        windows = [before[:, y : y + 8, x : x + 8] for y in range(2 * pad + 1) for x in range(2 * pad + 1)]
        assert any(torch.equal(after, window) for window in windows)


def test_crops_and_flips_differ_between_images_of_a_batch_and_reach_every_place():
    row = torch.arange(8.0).view(1, 1, 1, 8).expand(2000, 1, 8, 8)
    assert {int(v) for v in random_crop(row, 1, seeded())[:, 0, 4, 3].tolist()} == {2, 3, 4}
    flipped = random_flip(row, seeded())[:, 0, 0, 0] == 7
    assert abs(flipped.float().mean() - 0.5) < 0.06


@quick
@given(st.integers(0, 1000))
def test_a_flip_is_the_image_or_its_mirror(seed):
    for before, after in zip(images, random_flip(images, seeded(seed))):
        assert torch.equal(after, before) or torch.equal(after, before.flip(-1))


@quick
@given(st.integers(0, 3), st.integers(0, 1000))
def test_jitter_rolls_the_whole_batch_by_one_offset_within_reach(reach, seed):
    moved = jitter(images, reach, seeded(seed))
    offsets = range(-reach, reach + 1)
    assert any(torch.equal(moved, images.roll((dy, dx), (2, 3))) for dy in offsets for dx in offsets)


def test_jitter_uses_its_whole_reach():
    line = torch.arange(9.0).view(1, 1, 1, 9)
    generator = seeded()
    assert {int(jitter(line, 2, generator)[0, 0, 0, 4]) for _ in range(200)} == {2, 3, 4, 5, 6}


@pytest.mark.parametrize("kind", ["none", "crop", "crop+flip"])
def test_gradients_reach_every_pixel_that_is_still_seen(kind):
    x = images.clone().requires_grad_()
    seen = augment(x, kind, seeded(3))
    seen.sum().backward()
    assert x.grad is not None
    assert set(x.grad.unique().tolist()) <= {0.0, 1.0}
    assert x.grad.sum() >= 6 * 3 * 7 * 7
    assert torch.equal(augment(images, kind, seeded(3)), seen.detach())


def test_no_view_is_the_image_itself():
    assert augment(images, "none", seeded()) is images
