"""What is read off the masks of a film, against shapes and curves whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from sansdata.evaluate import area_curves as curves

FPS = 50.0


def ellipsoid(long: float, wide: float, tilt: float, size: int = 160) -> np.ndarray:
    """bool (S, S): a slice through an ellipsoid of those half axes, in pixels."""
    y, x = np.mgrid[:size, :size] - size / 2 + 0.5
    along, across = x * np.sin(tilt) + y * np.cos(tilt), x * np.cos(tilt) - y * np.sin(tilt)
    return (along / long) ** 2 + (across / wide) ** 2 <= 1


@pytest.mark.parametrize("tilt", [0.0, 0.4, -1.1])
def test_discs_give_the_volume_of_an_ellipsoid_in_any_direction(tilt: float) -> None:
    (volume,) = curves.volumes(ellipsoid(60, 30, tilt)[None])
    assert volume == pytest.approx(4 / 3 * np.pi * 60 * 30**2, rel=0.05)
    assert curves.volumes(np.zeros((1, 8, 8), bool)).tolist() == [0.0]


def beating(beats: float = 3, frames: int = 150, noise: float = 0.0) -> np.ndarray:
    phase = np.arange(frames) * beats / frames * 2 * np.pi
    return 1000 + 300 * np.cos(phase) + noise * np.random.default_rng(0).normal(size=frames)


def test_peaks_and_valleys_of_a_noisy_curve_are_found_without_a_reference() -> None:
    ed, es = curves.events(beating(noise=40.0), FPS)
    assert np.abs(ed - [50, 100]).max() <= 3
    assert np.abs(es - [25, 75, 125]).max() <= 3
    flat = curves.events(np.full(60, 7.0), FPS)
    assert [len(one) for one in flat] == [0, 0]


@pytest.mark.parametrize(
    ("reference", "full", "wanted"), [(52, True, 50), (97, True, 100), (20, False, 25), (80, False, 75)]
)
def test_the_reference_chooses_the_beat_and_not_the_frame(reference: int, full: bool, wanted: int) -> None:
    assert curves.event_near(beating(), reference, full) == wanted
    assert curves.event_near(np.ones(9), 3, full) is None


def test_where_no_frame_lies_below_the_median_those_at_it_are_chosen_from() -> None:
    """As released: a curve of masks that are empty in most frames."""
    assert curves.event_near(np.array([9, 7, 4, *[0] * 8, 3, 6, 8]), 5, full=False) == 3


@pytest.mark.parametrize(
    ("true", "found", "apart"),
    [
        ([10, 50], [12, 49], [2, 1]),
        ([10, 50], [11, 12, 13], [1, 15]),  # each found event for one true one
        ([10], [], [15]),
        ([10], [60], [15]),
        ([], [3, 4], []),
    ],
)  # fmt: skip
def test_events_are_matched_one_to_one_and_misses_count(true: list[int], found: list[int], apart: list[int]) -> None:
    assert curves.matched(true, found).tolist() == apart


def test_ejection_is_the_share_that_leaves() -> None:
    curve = beating()
    assert curves.ejection_fraction(curve, [50, 100], [25, 75]) == pytest.approx(100 * 600 / 1300, abs=0.5)
    assert curves.ejection_fraction(curve, [], [25]) == pytest.approx(100 * 600 / 1300, abs=0.5)
    assert np.isnan(curves.ejection_fraction(np.zeros(9), [], []))


def test_limits_of_agreement_and_correlation_are_those_of_their_definition() -> None:
    random = np.random.default_rng(1)
    true = random.uniform(20, 70, 30)
    found = 0.8 * true + 4 + random.normal(size=30)
    measured = curves.agreement(np.append(found, np.nan), np.append(true, 3))
    gap = found - true
    assert measured.count == 30
    assert measured.bias == pytest.approx(gap.mean())
    assert measured.high - measured.low == pytest.approx(2 * 1.96 * gap.std(ddof=1))
    assert measured.r == pytest.approx(np.corrcoef(found, true)[0, 1])
    assert measured.error == pytest.approx(np.abs(gap).mean())
    assert curves.agreement(np.array([np.nan]), np.array([1.0])).count == 0
