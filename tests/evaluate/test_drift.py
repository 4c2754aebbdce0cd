"""Drift of aggregates: counts against numpy, the index against its formula written out, and what is flagged."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import Tiny, make_table_task
from typer.testing import CliRunner

from sansdata.api.bundle import create_bundle
from sansdata.api.monitor import monitor
from sansdata.cli.main import app
from sansdata.errors import ConfigError, DataError
from sansdata.evaluate.aggregates import Aggregates, Histogram, aggregate, plain, read_aggregates
from sansdata.evaluate.drift import Drift, drifts, psi
from sansdata.kinds.index import input_kind
from sansdata.tasks import ImageTask

TASK = ImageTask(shape=(1, 4, 4), classes=2, mean=(0.0,), std=(1.0,), class_names=("no", "yes"))


def scores(inputs: torch.Tensor) -> torch.Tensor:
    """The brighter, the surer of 'yes'."""
    bright = inputs.mean((1, 2, 3))
    return torch.stack([-bright, bright], 1)


def images(count: int, shift: float, seed: int = 0) -> torch.Tensor:
    drawn = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return drawn * 0.5 + shift + 0.1 * torch.rand(count, 1, 1, 1, generator=torch.Generator().manual_seed(seed + 1))


def counted(inputs: torch.Tensor, reference: Aggregates | None = None) -> Aggregates:
    return aggregate(scores, inputs.split(64), TASK, reference, {"yes": 0.73})


def test_the_index_is_its_formula() -> None:
    before, after = [10, 20, 30, 40], [40, 30, 20, 10]
    expected = sum((a / 100 - b / 100) * math.log(a / b) for a, b in zip(after, before))
    assert psi(before, after) == pytest.approx(expected, rel=1e-12)
    assert psi(before, before) == 0
    assert psi(before, after) == pytest.approx(psi(after, before))
    assert math.isfinite(psi([0, 10], [10, 0]))
    assert psi([1, 2], [100, 200]) == pytest.approx(0)


def test_counts_are_those_of_numpy() -> None:
    inputs = images(300, 0.2)
    made = counted(inputs)
    values = inputs.flatten(1).mean(1).numpy()
    edges = [-np.inf, *made.inputs["mean"].edges, np.inf]
    assert list(made.inputs["mean"].counts) == list(np.histogram(values, edges)[0])
    assert made.count == sum(made.inputs["mean"].counts) == 300
    assert max(made.inputs["mean"].counts) - min(made.inputs["mean"].counts) <= 1
    chance = torch.softmax(scores(inputs), 1)[:, 1]
    assert made.alerts["yes"].count == int((chance >= 0.73).sum())
    assert made.named == {"no": int((chance < 0.5).sum()), "yes": int((chance >= 0.5).sum())}


def test_one_population_is_not_flagged_and_another_is() -> None:
    before = counted(images(2000, 0.2))
    same = drifts(before, counted(images(2000, 0.2, 7), before))
    assert not any(one.flagged for one in same)
    assert all(one.psi < 0.05 for one in same)
    moved = {one.what: one for one in drifts(before, counted(images(2000, 0.3, 7), before))}
    assert moved["inputs: mean"].flagged
    assert moved["scores: yes"].flagged
    assert moved["alerts: yes"].psi > 0.2
    assert not moved["inputs: spread"].flagged


TABLE = make_table_task()


def column(values: Sequence[float] | np.ndarray, reference: Aggregates | None = None) -> Aggregates:
    """Rows of a table of which one number has these values."""
    return aggregate(lambda one: torch.zeros(len(one["numbers"]), TABLE.classes), [rows_with(values)], TABLE, reference)


def rows_with(values: Sequence[float] | np.ndarray) -> dict[str, torch.Tensor]:
    rows = input_kind(TABLE).draw(len(values), torch.Generator().manual_seed(0))
    rows["numbers"][:, 0] = torch.as_tensor(np.asarray(values, np.float32))
    rows["missing"] = torch.zeros_like(rows["missing"])
    return rows


def move(before: Sequence[float] | np.ndarray, after: Sequence[float] | np.ndarray) -> Drift:
    reference = column(before)
    (own,) = (one for one in drifts(reference, column(after, reference)) if one.what == f"inputs: {NUMBER}")
    return own


NUMBER = TABLE.inputs.numbers[0].name
FEW_ONES, MANY_ONES = np.arange(1000) < 50, np.arange(1000) < 950
GAIN = np.where(np.arange(1000) % 12 == 0, np.arange(1000) + 114.0, 0.0)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (FEW_ONES, MANY_ONES),
        (MANY_ONES, FEW_ONES),
        (GAIN, np.full(1000, 99999.0)),
        (GAIN, np.full(1000, -1.0)),
        (GAIN, np.full(1000, 1.0)),
        (-GAIN, np.full(1000, -99999.0)),
        (np.zeros(1000), np.full(1000, 5.0)),
        (np.zeros(1000), np.full(1000, -5.0)),
        (np.r_[np.linspace(0.2, 0.9, 50), np.ones(950)], np.linspace(0.2, 0.9, 100)),
    ],
)
def test_a_column_that_crowds_at_one_value_is_seen_to_move(before: np.ndarray, after: np.ndarray) -> None:
    assert move(before, after).flagged
    same = move(before, np.roll(before, 7))
    assert (same.psi, same.flagged) == (0, False)


def test_a_flag_moves_as_far_either_way() -> None:
    assert move(FEW_ONES, MANY_ONES).psi == pytest.approx(move(MANY_ONES, FEW_ONES).psi)


def test_a_reference_in_a_bin_without_end_is_not_compared() -> None:
    """Such as one that was counted elsewhere: whatever lies beyond the edge would be the same to it."""
    single = {"schema_version": 1, "count": 500}
    for edges, counts in (((), (500,)), ((0.0,), (0, 500)), ((0.0,), (400, 0, 100))):
        one = Aggregates(inputs={"x": Histogram(edges=edges, counts=counts)}, **single)
        (found,) = drifts(one, one)
        assert math.isnan(found.psi)
        assert found.flagged
        assert "cannot be compared" in found.note


@pytest.fixture(scope="module")
def bundle(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create_bundle(tiny.teacher, tmp_path_factory.mktemp("bundle") / "chest-1.0.0", tiny.task).path


def house(path: Path, bright: float, seed: int = 0) -> Path:
    """Images darker than any noise, each a little otherwise."""
    random = np.random.default_rng(seed)
    mean = bright + 0.02 * random.standard_normal((300, 1, 1))
    drawn = 255 * (mean + 0.02 * random.standard_normal((300, 8, 8)))
    np.savez(path, x=drawn.clip(0, 255).astype(np.uint8), y=np.zeros(300, np.int64))
    return path


def test_a_houses_own_reference_has_bins_of_its_own(bundle: Path, tmp_path: Path) -> None:
    """Beyond the bins of noise nothing could be compared, the very same data not either."""
    first, kept = house(tmp_path / "first.npz", 0.2), tmp_path / "reference.json"
    against_noise = monitor(bundle, first, out=kept)
    assert {one.what: one.flagged for one in against_noise.drifts}["inputs: mean"]
    same = monitor(bundle, first, reference=kept)
    assert [(one.what, one.psi) for one in same.drifts if one.psi != 0] == []
    assert not monitor(bundle, house(tmp_path / "later.npz", 0.2, seed=1), reference=kept).flagged
    darker = {one.what: one for one in monitor(bundle, house(tmp_path / "d.npz", 0.15, 2), reference=kept).drifts}
    assert darker["inputs: mean"].psi > 0.2
    assert darker["inputs: mean"].flagged
    assert "cannot be compared" not in " ".join(one.note for one in darker.values())


def test_counts_of_a_ward_are_compared_in_the_references_bins(bundle: Path, tmp_path: Path) -> None:
    data, kept = house(tmp_path / "ward.npz", 0.4), tmp_path / "counts.json"
    here = monitor(bundle, data)
    monitor(bundle, data, out=kept)
    there = monitor(bundle, aggregates=kept)
    assert [(one.what, one.psi) for one in there.drifts] == [(one.what, one.psi) for one in here.drifts]


def test_edges_of_the_house_say_nothing_of_a_single_input() -> None:
    values = np.r_[np.random.default_rng(0).standard_normal(200), np.full(40, 3.25)].astype(np.float32)
    reference = Aggregates(schema_version=1, count=500, inputs={NUMBER: Histogram(edges=(0.5,), counts=(250, 250))})
    rows = [rows_with(values)]
    counted = aggregate(lambda one: torch.zeros(len(one["numbers"]), TABLE.classes), rows, TABLE, reference, finer=True)
    made = counted.inputs[NUMBER]
    single = set(values.astype(np.float64)[values < 3])
    assert len(made.edges) >= 9
    assert 0.5 in made.edges
    assert 3.25 in made.edges or np.nextafter(3.25, 4) in made.edges
    assert single.isdisjoint(made.edges)
    below = int((values < 0.5).sum())
    assert made.between((0.5,)) == Histogram(edges=(0.5,), counts=(below, 240 - below))
    assert made.between((0.4999,)) is None


def test_bins_that_are_empty_in_both_add_nothing() -> None:
    assert psi([10, 0, 0, 10], [1000, 0, 0, 1000]) == 0


def test_few_samples_are_not_taken_for_a_move() -> None:
    before = counted(images(2000, 0.2))
    several = [drifts(before, counted(images(12, 0.2, seed), before)) for seed in range(20)]
    of_means = [one for found in several for one in found if one.what == "inputs: mean"]
    assert sum(one.psi > 0.2 for one in of_means) > 10
    assert not any(one.flagged for one in of_means)
    assert any("too few" in one.note for one in of_means)


def test_what_chance_does_is_what_it_is_said_to_do() -> None:
    """Two samples of one population, many times: one in a hundred lies above."""
    random = np.random.default_rng(0)
    pairs = [random.multinomial(500, [0.1] * 10, 2) for _ in range(2000)]
    of = [Histogram(edges=tuple(range(9)), counts=tuple(map(int, row))) for pair in pairs for row in pair]
    single = {"schema_version": 1, "count": 500}
    several = [Aggregates(inputs={"x": one}, **single) for one in of]
    found = [drifts(before, now)[0] for before, now in zip(several[::2], several[1::2])]
    assert 0.002 < np.mean([one.psi > one.by_chance for one in found]) < 0.03
    assert np.mean([one.psi for one in found]) == pytest.approx(9 * 2 / 500, rel=0.1)


def test_missing_values_are_a_bin_of_their_own() -> None:
    task = make_table_task()
    kind = input_kind(task)
    rows = kind.draw(200, torch.Generator().manual_seed(0))
    made = aggregate(lambda one: torch.zeros(len(one["numbers"]), task.classes), [rows], task)
    columns = [*task.inputs.numbers, *task.inputs.categories]
    assert set(made.inputs) == {column.name for column in columns}
    for place, column in enumerate(columns):
        lost = int(rows["missing"][:, place].sum())
        histogram = made.inputs[column.name]
        assert sum(histogram.counts) == 200
        assert (len(histogram.counts) == len(histogram.edges) + 2) == bool(lost)
        assert not lost or histogram.counts[-1] == lost
    none = {**rows, "missing": torch.zeros_like(rows["missing"])}
    all_there = aggregate(lambda one: torch.zeros(len(one["numbers"]), task.classes), [none], task, made)
    assert drifts(made, all_there)


def test_too_few_cases_are_refused() -> None:
    with pytest.raises(DataError, match="too much of single cases"):
        counted(images(9, 0.2))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"count": 3}, "count"),
        ({"extra": 1}, "unknown setting 'extra'"),
        ({"inputs": {"mean": {"edges": [1.0, 0.0], "counts": [1, 2, 3]}}}, "edges must rise"),
        ({"inputs": {"mean": {"edges": [0.0], "counts": [1]}}}, "1 edges make 2 bins"),
        ({"inputs": {"mean": {"edges": [0.0], "counts": [-1, 2]}}}, "greater than or equal to 0"),
        ({"inputs": {"mean": {"edges": ["x"], "counts": [1, 2]}}}, "valid number"),
        ({"alerts": {"yes": {"threshold": 2, "count": 1}}}, "threshold"),
    ],
)
def test_what_are_no_aggregates_is_said(change: dict, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(plain(counted(images(50, 0.2))) | change))
    with pytest.raises(DataError, match=said):
        read_aggregates(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 100_000])
def test_other_files_are_no_aggregates(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.json"):
        read_aggregates(tmp_path / "a.json")


def test_other_bins_are_not_compared() -> None:
    before = counted(images(100, 0.2))
    after = before.model_copy(update={"inputs": {"mean": Histogram(edges=(0.0,), counts=(50, 50))}})
    found = {one.what: one for one in drifts(before, after)}
    assert "other bins" in found["inputs: mean"].note
    assert "no longer there" in found["inputs: spread"].note


def test_a_bundle_is_watched(tiny: Tiny, tmp_path: Path) -> None:
    """Images without labels, of which only counts are kept; then those counts alone."""
    create_bundle(tiny.teacher, tmp_path / "b", tiny.task, {"thresholds": {"1": 0.5}})
    done = monitor(tmp_path / "b", tiny.pool, out=tmp_path / "now.json")
    assert done.reference.source == "noise"
    assert done.reference.alerts["1"].threshold == 0.5
    assert done.now.count == len(list(Path(tiny.pool).iterdir()))
    assert "png" not in (tmp_path / "now.json").read_text()
    monitor(tmp_path / "b", tiny.pool, out=tmp_path / "now.json")
    (tmp_path / "mine.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"mine\.json: is there already"):
        monitor(tmp_path / "b", tiny.pool, out=tmp_path / "mine.json")
    again = monitor(tmp_path / "b", aggregates=tmp_path / "now.json", reference=tmp_path / "now.json")
    assert not again.flagged
    create_bundle(tiny.teacher, tmp_path / "c.zip", tiny.task, reference=tmp_path / "now.json")
    assert monitor(tmp_path / "c.zip", tiny.pool).flagged is False
    with pytest.raises(ConfigError, match="not both"):
        monitor(tmp_path / "b")
    with pytest.raises(DataError, match="--data"):
        monitor(tmp_path / "b", tmp_path)


def test_the_command_ends_with_1_where_something_moved(tiny: Tiny, tmp_path: Path) -> None:
    create_bundle(tiny.teacher, tmp_path / "b", tiny.task)
    dark = np.random.default_rng(0).integers(0, 20, (200, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "dark.npz", x=dark)
    ended = CliRunner().invoke(app, ["monitor", str(tmp_path / "b"), "--data", str(tmp_path / "dark.npz")])
    assert ended.exit_code == 1, ended.output
    assert "MOVED" in ended.output
    assert "verdict   something moved" in ended.output
