"""Questions in the form of SQuAD: what is read of them, and files that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sansdata.datasets.load import load_set
from sansdata.datasets.questions import read_questions
from sansdata.errors import DataError
from sansdata.tasks import load_task
from sansdata.teachers.writers.vocabulary import tokenizer_of

CONTEXT = "Anna came home at nine with four of her dogs."


def tree(**changed: Any) -> dict[str, Any]:
    answered = {"question": "Who came?", "answers": [{"text": "Anna", "answer_start": 0}]} | changed
    none = {"question": "Why?", "answers": []}
    late = {"question": "With what?", "answers": [{"text": "four of her dogs", "answer_start": 28}]}
    return {"data": [{"paragraphs": [{"context": CONTEXT, "qas": [answered, none, late]}]}]}


def test_questions_are_read_with_their_places(tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text(json.dumps(tree()))
    (tmp_path / "words.json").write_bytes(tokenizer_of([CONTEXT, "Who came?"], 40))
    task = load_task({"kind": "question-answering", "tokenizer": str(tmp_path / "words.json"), "length": 5,
                      "first_length": 8})  # fmt: skip
    data = load_set(tmp_path / "set.json", task)
    assert len(data) == 2
    assert data.labels[:, :2].tolist() == [[0, 0], [-1, -1]]
    assert "1 of 2 answers" in data.notes[0]
    assert [row.answer for row in read_questions(tmp_path / "set.json")] == ["Anna", "four of her dogs"]


@pytest.mark.parametrize(
    "text",
    [
        "no json", "[1]", '{"data": []}', '{"data": [{"paragraphs": 3}]}',
        json.dumps(tree(answers=[{"text": "Bert", "answer_start": 0}])),
        json.dumps(tree(answers=[{"text": "Anna", "answer_start": "x"}])),
        json.dumps(tree(answers=[{"text": "Anna", "answer_start": 0}])).replace(": 0}", ": 1e999}"),
        json.dumps(tree(answers=[{"text": "", "answer_start": 3}])), "[" * 100_000,
    ],
)  # fmt: skip
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "set.json").write_text(text)
    with pytest.raises(DataError, match=r"set\.json"):
        read_questions(tmp_path / "set.json")


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="SQuAD"):
        read_questions(tmp_path / "set.tsv")
