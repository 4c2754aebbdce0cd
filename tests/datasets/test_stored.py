"""Labelled inputs of any kind, as their kind stores them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import CLASSES, WORLDS

import sansdata
from sansdata import columns
from sansdata.datasets.load import load_set
from sansdata.errors import DataError
from sansdata.kinds.index import input_kind

STORED = [
    name
    for name, world in WORLDS.items()
    if world.task.pair[1] == "classes" and name not in ("image", "writer", "writer-of-two")
]
every_stored_world = pytest.mark.parametrize("world", STORED)


def arrays(world: str, count: int = 20) -> dict[str, np.ndarray]:
    kind = input_kind(WORLDS[world].task)
    stored = kind.to_arrays(kind.pack(kind.draw(count, torch.Generator().manual_seed(0))))
    return {**stored, "y": np.arange(count) % CLASSES}


@every_stored_world
def test_what_a_kind_stores_is_read_back_with_its_classes(world: str, tmp_path: Path) -> None:
    given, task = arrays(world), WORLDS[world].task
    np.savez(tmp_path / "set.npz", **given, logits=np.zeros((20, CLASSES)))
    found = load_set(tmp_path / "set.npz", task)
    assert columns.same(found.packed, input_kind(task).from_arrays(given))  # type: ignore[union-attr]
    assert found.labels.tolist() == given["y"].tolist()
    assert found.class_names == tuple(task.name_of(label) for label in range(CLASSES))
    assert sansdata.evaluate(WORLDS[world].module(), tmp_path / "set.npz", task).count == 20
    assert sansdata.evaluate(WORLDS[world].module(), found, task).count == 20


@every_stored_world
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"y": np.arange(19)}, "but 19 labels"),
        ({"y": np.full(20, CLASSES)}, "outside 0..3"),
        ({"y": np.zeros(20)}, "whole numbers"),
        ({"y": np.array(["a"] * 20)}, "whole numbers"),
        ({"y": None}, "'y'"),
    ],
)
def test_other_labels_are_refused(world: str, change: dict, said: str, tmp_path: Path) -> None:
    given = {name: array for name, array in (arrays(world) | change).items() if array is not None}
    np.savez(tmp_path / "set.npz", **given)
    with pytest.raises(DataError, match=said):
        load_set(tmp_path / "set.npz", WORLDS[world].task)


@every_stored_world
def test_other_inputs_are_refused(world: str, tmp_path: Path) -> None:
    given = arrays(world)
    first = next(iter(given))
    for broken in ({name: array for name, array in given.items() if name != first}, given | {first: given[first][0]}):
        np.savez(tmp_path / "set.npz", **broken)
        with pytest.raises(DataError, match=r"set\.npz"):
            load_set(tmp_path / "set.npz", WORLDS[world].task)
    (tmp_path / "set.npz").write_bytes(b"no archive")
    with pytest.raises(DataError):
        load_set(tmp_path / "set.npz", WORLDS[world].task)
    with pytest.raises(DataError):
        load_set(tmp_path / "missing.npz", WORLDS[world].task)
