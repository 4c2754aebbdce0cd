"""Labelled pairs of texts from files, by place and by name, and what is no such file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sansdata.datasets.load import load_set
from sansdata.errors import DataError, TaskError
from sansdata.kinds.inputs.two_texts import TwoTexts
from sansdata.tasks import PairTask, load_task
from sansdata.teachers.writers.vocabulary import tokenizer_of

PAIRS = [("a dog runs home", "a dog runs", "true"), ("a cat sleeps", "nobody sleeps", "false"), ("x y", "y", "1")]


@pytest.fixture
def task(tmp_path: Path) -> PairTask:
    words = tmp_path / "words.json"
    words.write_bytes(tokenizer_of([" ".join(row[:2]) for row in PAIRS], 40))
    fields = {"kind": "two-text-classification", "tokenizer": str(words), "length": 4, "first_length": 3}
    task = load_task({**fields, "classes": 2, "class_names": ["false", "true"]})
    assert isinstance(task, PairTask)
    return task


def written(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def test_the_same_pairs_from_every_form(task: PairTask, tmp_path: Path) -> None:
    plain = written(tmp_path / "plain.tsv", *("\t".join(row) for row in PAIRS))
    named = [f"{label},{second},{first}" for first, second, label in PAIRS]
    table = written(tmp_path / "named.csv", "label,hypothesis,premise", *named)
    objects = [f'{{"context": "{a}", "question": "{b}", "label": "{c}"}}' for a, b, c in PAIRS]
    lines = written(tmp_path / "lines.jsonl", *objects)
    sets = [load_set(path, task) for path in (plain, table, lines)]
    wanted = TwoTexts(task.inputs).read([row[0] for row in PAIRS], [row[1] for row in PAIRS])
    for one in sets:
        assert one.labels.tolist() == [1, 0, 1]
        assert all(torch.equal(one.packed[name], column) for name, column in wanted.items())  # type: ignore[union-attr]
    assert wanted["first"].shape == (3, 3)
    assert wanted["second_mask"].sum(1).tolist() == [3, 2, 1]
    assert any("2 of 3 first texts fill the whole length" in note for note in sets[0].notes)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("short.tsv", ["a\tb"], r"row 1 has 2 field\(s\); expected two texts"),
        ("half.csv", ["premise,label", "a,true"], "needs a column of each"),
        ("lines.jsonl", ['{"first": "a", "label": "true"}'], "line 1 needs 'first', 'second'"),
        ("broken.jsonl", ["{"], "line 1 is no JSON"),
        ("class.tsv", ["a\tb\tperhaps"], "row 1 has the class 'perhaps'"),
        ("empty.tsv", [""], "no pairs of texts"),
        ("pairs.txt", ["a"], "no .tsv, .csv or .jsonl file"),
    ],
)
def test_what_is_none_is_one_clear_error(
    task: PairTask, tmp_path: Path, name: str, rows: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_set(written(tmp_path / name, *rows), task)


def test_without_a_tokenizer_nothing_is_read(tmp_path: Path) -> None:
    fields = {"kind": "two-text-classification", "vocabulary": 9, "length": 4, "first_length": 3, "classes": 2}
    with pytest.raises(TaskError, match="no tokenizer"):
        load_set(written(tmp_path / "plain.tsv", "a\tb\t1", "c\td\t0"), load_task(fields))
