"""D: the scan in small. Whether it finds real backdoors is measured by benchmarks/backdoor_scan.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_evidence import TASK, digits, evidence
from torch import Tensor

from sansdata.audit.attacks import ATTACKS
from sansdata.audit.backdoor import attack_success
from sansdata.audit.levels import Entry, Level, Unmeasured
from sansdata.audit.triggers import Trigger, anomaly_index, backdoor_scan, inverted, known_triggers, scan, suspected
from sansdata.contracts import Access
from sansdata.datasets.imageset import ImageSet
from sansdata.figures import Warned
from sansdata.kinds.outputs.class_metrics import wilson_interval
from sansdata.validation.cases import Cases
from sansdata.validation.manifest import Salted

STEPS = 20


def marked(images: Tensor) -> Tensor:
    """Logits of three classes: by brightness above and below; class 2 where the corner's two pixels are bright."""
    corner = images[:, 0, 6:, 7].amin(1)
    above, below = images[:, 0, :4].mean((1, 2)), images[:, 0, 4:].mean((1, 2))
    return 8 * torch.stack([above, below, 1.5 * (corner - 0.5)], 1)


@pytest.fixture(scope="module")
def carriers() -> Tensor:
    return torch.rand(96, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.6


def test_the_trigger_of_a_marked_class_is_small_and_where_the_mark_is(carriers: Tensor) -> None:
    found = scan(marked, carriers, 3, "patch", 150)
    sizes = [one.size for one in found]
    assert int(np.argmin(sizes)) == 2
    assert found[2].success > 0.95
    changed = (found[2].apply(carriers) - carriers).abs().mean((0, 1))
    assert changed[6:, 7].min() > 3 * changed[:5, :5].mean()
    assert sizes[2] < 0.8 * min(sizes[:2])


def test_random_masks_lose_the_class(carriers: Tensor) -> None:
    """The ablation: not optimised, nothing stands out and nothing works."""
    found = scan(marked, carriers, 3, "patch", 1)
    assert max(one.success for one in found) < 0.95


def test_an_overlay_turns_its_carriers(carriers: Tensor) -> None:
    found = inverted(marked, carriers, 1, "overlay", 150)
    assert found.success > 0.9
    assert found.apply(carriers).amin() >= 0
    assert found.apply(carriers).amax() <= 1


def test_the_index_is_that_of_the_median_deviation() -> None:
    sizes = np.array([1.0, 10, 11, 12, 13, 14])
    assert anomaly_index(sizes) == pytest.approx((11.5 - 1) / (1.4826 * 1.5))
    assert anomaly_index(np.ones(5)) == 0


def sized(*sizes: float) -> list[Trigger]:
    return [Trigger(place, size, 1.0, 32, lambda x: x) for place, size in enumerate(sizes)]


def test_who_is_suspect() -> None:
    assert suspected(sized(10, 3, 11, 12, 9), "patch", natural=False) == {1}
    assert suspected(sized(10, 6, 11, 12, 9), "patch", natural=False) == set()
    assert suspected(sized(10, 6, 10.1, 9.9, 10), "patch", natural=True) == {1}
    assert suspected(sized(10, 9, 10.1, 9.9, 10), "patch", natural=True) == set()
    assert suspected(sized(10, 6, 10.1, 9.9), "patch", natural=True) == set()
    assert suspected(sized(1), "patch", natural=True) == set()
    assert suspected(sized(10, 3, 11, 12, 9), "overlay", natural=True) == {1}
    assert suspected(sized(10, 3, 11, 12, 9), "overlay", natural=False) == set()


def test_a_small_trigger_alone_stands_out_by_its_index_and_the_caveat_says_how_small() -> None:
    """Nine sizes that are nearly alike give any tenth a high index."""
    others = (9.5, 9.8, 10, 10.2, 10.4, 10.1, 9.9, 9.7, 10.3)
    assert anomaly_index(np.array([7.4, *others])) > 6
    assert suspected(sized(7.4, *others), "patch", natural=True) == set()
    assert suspected(sized(6.9, *others), "patch", natural=True) == {0}
    assert suspected(sized(6.9, *others), "patch", natural=False) == set()
    asked = evidence(digits()[0][:96])
    caveats = {one.name: one.caveat for one in backdoor_scan(asked, 1) if isinstance(one, Entry)}
    assert "above 2 is suspect, with a ratio below 0.7" in caveats["patch anomaly index of the student"]


def test_a_scan_speaks_of_both_models_and_never_calls_one_clean() -> None:
    images, _ = digits()
    asked = evidence(images[:96])
    several = list(backdoor_scan(asked, STEPS))
    entries = [one for one in several if isinstance(one, Entry)]
    names = {one.name for one in entries}
    assert {"patch ratio of the teacher", "overlay ratio of the student", "kept under shuffling"} <= names
    assert all(one.level == Level.L0 for one in entries)
    said = " ".join(
        [*asked.notes, *(one.caveat for one in entries), *(w.text for w in several if isinstance(w, Warned))]
    )
    assert "clean" not in said
    assert any("no anomaly found" in note or "suspect" in note for note in asked.notes)


def test_the_success_of_a_trigger_is_of_the_carriers_of_other_classes() -> None:
    """A trigger is tried on carriers that are not of its class already, which are fewer than all."""
    asked = evidence(digits()[0][:96])
    named = asked.synthetic.teacher.argmax(1)
    several = {one.name: one for one in backdoor_scan(asked, STEPS) if isinstance(one, Entry)}
    success, ratio = (several[f"patch {what} of the teacher"] for what in ("success", "ratio"))
    target = int(ratio.caveat.split("towards ")[1].split(",")[0])
    assert ratio.count == 96
    assert success.count == (named != target).sum() < 96
    assert success.interval == wilson_interval(round(success.value * success.count), success.count)


def test_what_cannot_be_scanned_has_no_number() -> None:
    asked = evidence(digits()[0][:40])
    blind = type(asked.teacher)(asked.teacher.module, TASK, most=Access.SCORES)
    several = list(backdoor_scan(replace(asked, teacher=blind), STEPS))
    assert [one.measure for one in several if isinstance(one, Unmeasured)] == ["D12", "D11"]
    assert not any(isinstance(one, Entry) for one in several)


def test_known_triggers_are_tried_on_labelled_images_of_a_suspect_class() -> None:
    images, labels = digits()
    stored = np.ascontiguousarray(images[:60].permute(0, 2, 3, 1).numpy())
    names = tuple(str(place) for place in range(10))
    cases = Cases(ImageSet(stored, labels[:60].numpy(), names, "digits"), np.arange(60), {}, Salted())
    asked = replace(evidence(images[:40]), cases=cases)
    assert list(known_triggers(asked, [])) == []
    several = [one for one in known_triggers(asked, [3]) if isinstance(one, Entry)]
    assert len(several) == 2 * len(ATTACKS)
    own = attack_success(asked.ask, cases.data, TASK, ATTACKS["blend"], 3)  # type: ignore[arg-type]
    (blend,) = [one for one in several if one.name == "blend towards 3, student"]
    assert blend.value == own.above_base
    assert blend.level == Level.L2
