"""Task files of every kind: what is read, and what a wrong field is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import sansdata
from sansdata.errors import ConfigError, TaskError, UserError
from sansdata.methods.fm import FMConfig
from sansdata.settings import RunSettings
from sansdata.tasks import KNOWN_TASKS, ImageTask, PairTask, load_task
from sansdata.training.transfer import TransferSettings

TABLE = {
    "kind": "table-classification", "classes": 2,
    "columns": [
        {"name": "age", "range": [0, 99], "whole": True}, {"name": "sex", "levels": ["f", "m"], "missing": True},
    ],
}  # fmt: skip
TEXT = {"kind": "text-classification", "vocabulary": 100, "length": 8, "classes": 3}


def test_a_pair_may_be_said_by_its_name_or_side_by_side() -> None:
    named, sides = load_task(TABLE), load_task(load_task(TABLE).model_dump(mode="json"))
    assert named == sides
    assert named.pair == ("table", "classes")
    assert named.inputs.width == 3
    assert load_task(TEXT).pair == ("tokens", "classes")


def test_images_and_classes_are_always_the_shorthand() -> None:
    task = load_task({
        "inputs": {"kind": "image", "shape": [1, 8, 8]}, "outputs": {"kind": "classes", "classes": 4},
        "preprocessing": {"mean": [0.5], "std": [0.25]},
    })  # fmt: skip
    assert task == ImageTask(shape=(1, 8, 8), classes=4, mean=(0.5,), std=(0.25,))
    assert set(task.model_dump()) == {"kind", "shape", "classes", "mean", "std", "class_names"}


@pytest.mark.parametrize("name", KNOWN_TASKS)
def test_known_tasks_can_be_written_and_read(name: str) -> None:
    task = KNOWN_TASKS[name]
    assert load_task(json.loads(json.dumps(task.model_dump(mode="json")))) == task


def test_levels_are_text_whatever_yaml_takes_them_for(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    levels = "[1, no, yes, Off, true, 2.5, 01, 12:30, 1:30.5, x]"
    file.write_text(f"kind: table-classification\nclasses: 2\ncolumns:\n- {{name: a, levels: {levels}}}\n")
    assert ", ".join(load_task(file).inputs.columns[0].levels) == levels[1:-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"columns": []}, "columns"),
        ({"columns": [{"name": "a"}]}, r"column 'a' needs either range: \[lowest, highest\]"),
        ({"columns": [{"name": "a", "range": [1, 1]}]}, "lowest, highest"),
        ({"columns": [{"name": "a", "levels": ["x"], "mean": 1}]}, "belong to numbers"),
        ({"columns": [{"name": "a", "levels": ["x", "x"]}]}, "level twice"),
        ({"columns": [{"name": "a", "range": [0, 1]}] * 2}, "two columns are named 'a'"),
        ({"columns": [{"name": "a", "rang": [0, 1]}]}, "Did you mean 'range'"),
        ({"classes": 1}, "classes"),
        ({"clases": 2}, "unknown setting 'clases'"),
        ({"class_names": ["one"]}, "1 names for 2 classes"),
        ({"kind": "table-clasification"}, "Known: image, table-classification"),
        ({"kind": ["table"]}, "not supported"),
        (
            {"kind": None, "inputs": {"kind": "tabel"}, "outputs": {"kind": "classes", "classes": 2}},
            "Did you mean 'table'",
        ),
        ({"kind": None, "inputs": {}, "outputs": {}}, "needs a kind"),
        ({"kind": None, "inputs": 3, "outputs": 3}, "must be a section"),
    ],
)
def test_wrong_fields_of_a_table_are_named_with_the_mend(change: dict[str, Any], words: str) -> None:
    with pytest.raises(TaskError, match=words):
        load_task({key: value for key, value in (TABLE | change).items() if value is not None})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vocabulary": 1}, "vocabulary"),
        ({"length": 0}, "length"),
        ({"padding": 100}, "no id of a vocabulary of 100"),
        ({"vocabulary": None, "tokenizer": "nowhere.json"}, "cannot be read"),
        ({"vocabulary": None}, "'vocabulary' is missing"),
    ],
)
def test_wrong_fields_of_texts_are_named_with_the_mend(change: dict[str, Any], words: str) -> None:
    with pytest.raises(TaskError, match=words):
        load_task({key: value for key, value in (TEXT | change).items() if value is not None})


def test_a_vocabulary_is_counted_from_the_tokenizer_beside_the_task(tmp_path: Path) -> None:
    tokenizer = {"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "c": 6}}, "added_tokens": [{"id": 7}]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    file = tmp_path / "t.yaml"
    file.write_text("kind: text-classification\ntokenizer: tokenizer.json\nlength: 5\nclasses: 2\n")
    task = load_task(file)
    assert task.inputs.vocabulary == 8
    assert list(task.files()) == [tmp_path / "tokenizer.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": 3}', '{"model": {"vocab": {}}}', "[" * 100_000])
def test_a_file_that_is_no_tokenizer_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.json").write_text(text)
    fields = {key: value for key, value in TEXT.items() if key != "vocabulary"}
    with pytest.raises(TaskError, match=r"t\.json"):
        load_task(fields | {"tokenizer": str(tmp_path / "t.json")})


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: ImageTask(shape=(2, 8, 8), classes=2, mean=(0.0,), std=(1.0,)), TaskError),
        (lambda: sansdata.Column(name="a"), ConfigError),
        (lambda: PairTask(inputs={"kind": "nothing"}, outputs={}), TaskError),  # type: ignore[arg-type]
        (lambda: RunSettings(seed=-1), ConfigError),
        (lambda: FMConfig(k=3), ConfigError),
        (lambda: TransferSettings(lr=-1), ConfigError),
    ],
)
def test_public_constructors_raise_errors_of_ours(make: Any, fault: type[UserError]) -> None:
    """Not pydantic's, with a web address, which nobody who catches UserError would see."""
    with pytest.raises(fault) as caught:
        make()
    assert "pydantic" not in str(caught.value)
    assert "http" not in str(caught.value)


def test_what_a_task_does_not_have_is_said() -> None:
    with pytest.raises(TaskError, match="a task of table x classes has no 'shape'; it needs a side that has one"):
        _ = load_task(TABLE).shape
