"""Boxes are exchanged between images of one class, and what comes of it is as noisy as before."""

import torch

from sansdata.methods.diffdfkd.cutmix import cutmix, random_box, within_classes


def test_partners_are_of_the_same_class_and_everyone_is_given_once():
    generator = torch.Generator().manual_seed(0)
    targets = torch.tensor([0, 1, 2, 0, 1, 0, 3])
    for _ in range(20):
        partners = within_classes(targets, generator)
        assert targets[partners].equal(targets)
        assert sorted(partners.tolist()) == list(range(7))
        alone = partners == torch.arange(7)
        assert alone.tolist() == [False, False, True, False, False, False, True]


def test_a_box_crosses_no_class_and_leaves_the_noise_as_strong():
    """4,096 states of pure noise keep their deviation within 1 %; the mean of two has 0.71 of it."""
    generator = torch.Generator().manual_seed(1)
    targets = torch.arange(4096) % 4
    states = torch.randn(4096, 1, 8, 8, generator=generator)
    marked = states + 100 * targets[:, None, None, None]
    while torch.equal(mixed := cutmix(marked, targets, generator), marked):  # a box may be empty
        pass
    noise = mixed - 100 * targets[:, None, None, None]
    assert noise.abs().max() < 10
    assert abs(float(noise.std()) - 1) < 0.01
    halves = (states + states[within_classes(targets, generator)]) / 2
    assert abs(float(halves.std()) - 0.5**0.5) < 0.01


def test_boxes_have_the_areas_of_their_law():
    """lambda ~ Beta(a, a) has mean 1/2; cut at the border an even centre leaves less, and never more than asked."""
    generator = torch.Generator().manual_seed(2)
    areas = []
    for _ in range(2000):
        rows, columns = random_box((32, 32), generator)
        assert 0 <= rows.start <= rows.stop <= 32
        assert 0 <= columns.start <= columns.stop <= 32
        areas.append((rows.stop - rows.start) * (columns.stop - columns.start) / 1024)
    assert 0.2 < sum(areas) / len(areas) < 0.5
    assert max(areas) > 0.9
    assert min(areas) < 0.01


def test_a_box_is_not_looked_for_without_end(monkeypatch):
    """Draws that are no numbers are in no range; the losses show them later."""
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, float("nan")))
    rows, columns = random_box((8, 8), torch.Generator().manual_seed(3))
    assert 0 <= rows.start <= rows.stop <= 8
    assert 0 <= columns.start <= columns.stop <= 8
