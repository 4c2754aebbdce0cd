"""Labelled tables from files: columns by name, levels, missing values, and what is wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import make_table_task

from sansdata.datasets.load import load_set
from sansdata.datasets.tables import KNOWN, load_table
from sansdata.errors import DataError
from sansdata.tasks import KNOWN_TASKS

TASK = make_table_task()
GOOD = "label,shape,size,count,doubt,colour\n0,round,1.5,3,0.5,red\n3,,-2,9,?,blue\n1, square ,6,0,NA,green\n"


def write(tmp_path: Path, text: str, name: str = "rows.csv") -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_columns_are_found_by_their_names(tmp_path: Path) -> None:
    data = load_table(write(tmp_path, GOOD), TASK)
    assert data.labels.tolist() == [0, 3, 1]
    packed = data.packed
    assert not isinstance(packed, torch.Tensor)
    assert packed["numbers"].tolist() == [[1.5, 3, 0.5], [-2, 9, 0], [6, 0, 0]]
    assert packed["categories"].tolist() == [[0, 0], [2, 0], [1, 1]]
    assert packed["missing"].tolist() == [
        [False] * 5,
        [False, False, True, False, True],
        [False, False, True, False, False],
    ]
    assert data.notes == ()
    (inputs, labels), *rest = data.batches(2)
    assert labels.tolist() == [0, 3]
    assert len(rest) == 1
    assert inputs["numbers"].shape == (2, 3)


def test_the_forms_of_a_file(tmp_path: Path) -> None:
    tabs = write(tmp_path, GOOD.replace(",", "\t"), "rows.tsv")
    with gzip.open(tmp_path / "rows.csv.gz", "wt") as file:
        file.write("\ufeff" + GOOD)
    for path in (tabs, tmp_path / "rows.csv.gz"):
        assert load_table(path, TASK).labels.tolist() == [0, 3, 1]


def test_what_lies_outside_is_counted(tmp_path: Path) -> None:
    data = load_table(write(tmp_path, GOOD.replace("1.5", "99").replace("round", "oval")), TASK)
    assert data.notes == (
        "1 values of 'size' outside -2 to 6", "1 levels of 'shape' unknown to the task, taken as missing",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("size", "sise"), "no column 'size'. Did you mean 'sise'"),
        (("label", "answer"), "no column label, class, target or y"),
        (("1.5", "tall"), "'tall' in row 1, which is no number"),
        (("1.5", "inf"), "no number"),
        (("1.5", ""), "no value in row 1; if values may be absent, say missing"),
        (("red", "mauve"), "the level 'mauve', which the task does not know"),
        (("0,round", "9,round"), r"outside 0\.\.3"),
        (("0,round", "x,round"), "the class 'x'"),
        (("0,round", f"{'9' * 20},round"), "the class '9999"),
        (("0,round", f"{'9' * 5000},round"), "the class '9999"),
        (("3,,", "3,,,"), "row 2 has 7 fields"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load_table(write(tmp_path, GOOD.replace(*change, 1)), TASK)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither a known table nor a file"):
        load_table("breast-cancr", TASK)
    with pytest.raises(DataError, match="no rows; expected a header and then a line for each row"):
        load_table(write(tmp_path, "a,b\n"), TASK)
    (tmp_path / "x.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        load_table(tmp_path / "x.csv.gz", TASK)
    with pytest.raises(DataError, match="is read for the task of that name"):
        load_table("wine", TASK)


@pytest.mark.parametrize("name", ["breast-cancer", "wine"])
def test_packaged_sets_have_two_halves_without_a_row_in_common(name: str) -> None:
    task = KNOWN_TASKS[name]
    train, test = load_set(name, task, "train"), load_set(name, task, "test")
    assert len(test) == round(0.25 * (len(train) + len(test)))
    assert set(np.unique(train.labels)) == set(np.unique(test.labels)) == set(range(task.classes))
    low, high = (torch.tensor([column.range[side] for column in task.inputs.numbers]) for side in (0, 1))
    for data in (train, test):
        numbers = data.packed["numbers"]  # type: ignore[union-attr]
        assert ((numbers >= low - 1e-4) & (numbers <= high + 1e-4)).all()


@pytest.mark.parametrize("name", sorted(set(KNOWN) - {"breast-cancer", "wine"}))
def test_real_sets(name: str, real_data: Path) -> None:
    task = KNOWN_TASKS[name]
    data = load_set(name, task, "test")
    assert len(data) >= 250
    assert set(np.unique(data.labels)) == {0, 1}
