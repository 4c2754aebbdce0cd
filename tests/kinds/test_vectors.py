"""Vectors: what counts is how they are spread as a set."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sansdata.contracts import Outputs
from sansdata.errors import TaskError, TeacherError
from sansdata.figures import values
from sansdata.kinds.index import output_kind
from sansdata.kinds.outputs.vectors import Vectors
from sansdata.tasks import PairTask, VectorsSpec, load_task
from sansdata.testing.worlds import WORLDS

KIND = Vectors(VectorsSpec(size=3))


def test_a_task_takes_its_size_from_the_noise() -> None:
    fields = {"inputs": {"kind": "noise", "shape": [2, 3]}, "outputs": {"kind": "vectors"}}
    assert load_task(fields).outputs.size == 6
    with pytest.raises(TaskError, match="need a size"):
        load_task({"inputs": WORLDS["table"].task.inputs.model_dump(mode="json"), "outputs": {"kind": "vectors"}})
    assert isinstance(output_kind(load_task(fields)), Vectors)
    assert PairTask.model_validate(fields | {"outputs": {"kind": "vectors", "size": 4}}).outputs.size == 4


def test_what_is_no_vector_is_said() -> None:
    assert KIND.faults(torch.zeros(4, 3), 4) == []
    assert "(4, 3)" in KIND.faults(torch.zeros(4, 2), 4)[0]
    assert "tensor of vectors" in KIND.faults("words", 4)[0]
    with pytest.raises(TeacherError):
        KIND.read({"other": 1})


def test_vectors_that_are_one_or_not_finite_are_faults_of_a_teacher() -> None:
    draw = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    assert KIND.judge(draw, str)[1:] == ([], [])
    assert "same vector" in KIND.judge(torch.ones(8, 3), str)[1][0]
    assert "not finite" in KIND.judge(draw.log(), str)[1][0]


def test_the_same_input_is_matched_by_the_squared_difference() -> None:
    one, other = (torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    loss = KIND.match(Outputs(one), Outputs(other), SimpleNamespace())
    assert torch.allclose(loss, ((one - other) ** 2).mean(1))
    assert KIND.agreement(one, other) is None


def test_figures_tell_a_set_that_is_alike_from_one_that_is_not() -> None:
    random = np.random.default_rng(0)
    sought, alike, narrow = random.normal(size=(500, 3)), random.normal(size=(400, 3)), random.normal(size=(400, 3)) / 9
    good, bad = (values(KIND.evaluate(one.astype(np.float32), sought, alike)) for one in (alike, narrow))
    assert good["energy_distance"] < 0.02 < 0.3 < bad["energy_distance"]
    assert good["spread_ratio"] == pytest.approx(1, abs=0.1)
    assert bad["spread_ratio"] == pytest.approx(1 / 9, abs=0.05)
    assert good["teacher_energy_distance"] == pytest.approx(good["energy_distance"], abs=1e-6)
    assert bad["energy_distance_to_teacher"] > 0.3


def test_vectors_without_spread_are_warned_of() -> None:
    assert KIND.warnings(values(KIND.describe(torch.randn(50, 3))), 1.0, 50, str) == []
    assert [w.name for w in KIND.warnings(values(KIND.describe(torch.ones(50, 3))), 1.0, 50, str)] == [
        "collapse of vectors"
    ]


def test_the_order_of_a_set_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sansdata.kinds.outputs.vectors.MOST", 300)
    random = np.random.default_rng(0)
    places = np.repeat(np.arange(10), 100)[:, None]
    sought, drawn = (places + 0.1 * random.normal(size=(1000, 3)) for _ in range(2))
    figures = values(KIND.evaluate(random.permutation(drawn).astype(np.float32), sought, None))
    assert figures["energy_distance"] < 0.1
