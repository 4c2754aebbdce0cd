"""A: balanced, imbalanced and collapsed synthetic sets are told apart and put in order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_evidence import answers, digits, drawn, evidence, teacher

from sansdata.audit.levels import Entry, Level, Unmeasured
from sansdata.audit.synthetic import diversity, mean_distance, synthetic_bias, vendi
from sansdata.figures import Drawing, Warned


def found(packed: torch.Tensor) -> dict[str, Entry | Warned]:
    several = list(synthetic_bias(evidence(packed)))
    return {one.name: one for one in several if isinstance(one, Entry | Warned)}


@pytest.fixture(scope="module")
def sets() -> dict[str, dict]:
    """The same number of images each: even, two classes cut to a tenth, and each class from one picture and jitter."""
    images, labels = digits()
    by_class = [images[labels == place][:60] for place in range(10)]
    even = torch.cat(by_class)
    cut = torch.cat([part if place > 1 else part[:6] for place, part in enumerate(by_class)])
    random = torch.Generator().manual_seed(0)
    one = torch.cat([part[:1].expand(60, -1, -1, -1) for part in by_class]).float()
    jitter = (one + 4 * torch.randn(one.shape, generator=random)).clamp(0, 255).to(torch.uint8)
    return {"even": found(even), "cut": found(cut), "collapsed": found(jitter)}


def test_balance_puts_the_imbalanced_set_below_and_intervals_do_not_overlap(sets) -> None:
    even, cut = (sets[name]["class entropy"] for name in ("even", "cut"))
    assert cut.value < even.value
    assert cut.interval[1] < even.interval[0]
    assert (
        sets["cut"]["rarest over commonest class"].interval[1] < sets["even"]["rarest over commonest class"].interval[0]
    )
    assert "classes hardly synthesised" in sets["cut"]
    assert "classes hardly synthesised" not in sets["even"]


def test_diversity_sees_the_collapse_that_balance_does_not(sets) -> None:
    assert sets["collapsed"]["class entropy"].value > 0.9
    for place in range(10):
        even, collapsed = (sets[name][f"diversity of {place}"] for name in ("even", "collapsed"))
        assert collapsed.interval[1] < even.interval[0]
        assert (
            sets["collapsed"][f"effective samples of {place}"].value
            < sets["even"][f"effective samples of {place}"].value
        )
    assert sets["collapsed"]["near duplicates"].interval[0] > sets["even"]["near duplicates"].interval[1]


def test_of_a_large_class_the_samples_that_were_compared_are_counted_and_spread_evenly() -> None:
    """The specimen: 1,000 samples of a class in order, the first half all alike, the others all unlike."""
    logits = np.eye(2, dtype=np.float32)[[0] * 1000 + [1]]
    inside = np.r_[np.tile(np.eye(501)[0], (500, 1)), np.eye(501)[1:], np.eye(501)[:1]]
    several = {one.name: one for one in diversity(drawn(logits, logits), inside, ()) if isinstance(one, Entry)}
    assert several["near duplicates"].value == 0.5
    assert several["effective samples of 0"].value > 25
    assert {one.count for one in several.values()} == {400}
    logits = np.eye(2, dtype=np.float32)[np.arange(5000) % 2]
    several = {
        one.name: one for one in diversity(drawn(logits, logits), np.ones((5000, 8)), ()) if isinstance(one, Entry)
    }
    assert several["near duplicates"].value == 1
    assert several["near duplicates"].count == 800


def test_samples_that_excite_nothing_are_all_alike() -> None:
    logits = np.eye(2, dtype=np.float32)[[0] * 20 + [1]]
    several = {
        one.name: one for one in diversity(drawn(logits, logits), np.zeros((21, 4)), ()) if isinstance(one, Entry)
    }
    assert several["diversity of 0"].value == 0
    assert several["near duplicates"].value == 1
    assert several["effective samples of 0"].value == pytest.approx(1)


def test_where_no_class_has_two_samples_nothing_is_said_of_duplicates() -> None:
    logits = np.eye(3, dtype=np.float32)
    (missing,) = diversity(drawn(logits, logits), np.ones((3, 4)), ())
    assert isinstance(missing, Unmeasured)


def test_a_class_that_alone_collapsed_is_an_alarm() -> None:
    images, labels = digits()
    parts = [images[labels == place][:40] for place in range(10)]
    parts[3] = parts[3][:1].expand(40, -1, -1, -1)
    alarm = found(torch.cat(parts))["collapse within classes"]
    assert "samples of 3 " in alarm.text  # type: ignore[union-attr]


def test_everything_here_is_of_level_0_and_a_teacher_that_is_only_asked_has_no_diversity() -> None:
    images, _ = digits()
    entries = found(images[:100]).values()
    assert {one.level for one in entries if isinstance(one, Entry)} == {Level.L0}
    assert all(one.count <= 100 for one in entries if isinstance(one, Entry))
    from dataclasses import replace

    from sansdata.contracts import Access

    asked = evidence(images[:50])
    blind = teacher().__class__(asked.teacher.module, asked.task, most=Access.SCORES)
    missing = [one for one in synthetic_bias(replace(asked, teacher=blind)) if isinstance(one, Unmeasured)]
    assert [one.measure for one in missing] == ["A2", "A4"]


def test_the_statistics_gap_is_beside_as_much_noise_and_of_its_own_inputs() -> None:
    """The statistics of fewer inputs lie further off by chance, of noise as of others."""
    images, _ = digits()
    own = teacher().network
    several = list(synthetic_bias(evidence(images[:300], natural=answers(images[:60], own))))
    made, natural = (entry_of(several, f"statistics gap {name}") for name in ("over noise's", "of natural inputs"))
    assert (made.count, natural.count) == (256, 60)
    (lines,) = [one.data for one in several if isinstance(one, Drawing) and one.name == "statistics gap by layer"]
    assert lines.keys() == {"synthetic", "noise, 256 inputs", "natural", "noise, 60 inputs"}
    for one, where, noise in ((made, "synthetic", "noise, 256 inputs"), (natural, "natural", "noise, 60 inputs")):
        sums = [sum(distance for _, distance in lines[line]) for line in (where, noise)]
        assert one.value == pytest.approx(sums[0] / sums[1])
    few = entry_of(list(synthetic_bias(evidence(images[:60]))), "statistics gap over noise's")
    assert few.value == pytest.approx(natural.value)


def entry_of(several, name: str) -> Entry:
    (one,) = [one for one in several if isinstance(one, Entry) and one.name == name]
    return one


def test_distances_and_effective_samples_are_what_they_say() -> None:
    units = np.eye(5)
    assert mean_distance(units).value == pytest.approx(1)
    assert vendi(units) == pytest.approx(5)
    same = np.tile(units[:1], (5, 1))
    assert mean_distance(same).value == pytest.approx(0)
    assert vendi(same) == pytest.approx(1)
    two = np.r_[np.tile(units[:1], (2, 1)), np.tile(units[1:2], (2, 1))]
    assert mean_distance(two).value == pytest.approx(4 / 6)
    assert vendi(two) == pytest.approx(2)
