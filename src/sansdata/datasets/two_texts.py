"""Labelled pairs of texts: a TSV, CSV or JSONL file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..kinds.inputs.two_texts import TwoTexts
from ..tasks import Task
from .imageset import check_labels
from .labelled import KindSet
from .tables import LABEL_COLUMNS
from .texts import class_of, lines_of_json, rows_of_table

FIRST = ("first", "context", "premise", "sentence1", "text1")
SECOND = ("second", "text", "hypothesis", "sentence2", "text2", "question", "sentence")
"""Names of the columns, or of the fields of a line of JSON."""


def load_two_texts(spec: str | Path, task: Task) -> KindSet:
    """The labelled pairs of `spec`, read with the task's tokenizer.

    A .tsv or .csv file has the first text, the second and the class, in this order, or a header line that names them; a
    .jsonl file has an object a line with the same names. Raises DataError for what cannot be found or read, TaskError
    where the task has no tokenizer.
    """
    rows = list(_rows(Path(spec).expanduser(), task))
    if not rows:
        raise DataError(f"{spec}: no pairs of texts")
    names = task.names
    labels = np.array([class_of(one, names, str(spec), row) for row, (_, _, one) in enumerate(rows)], dtype=np.int64)
    check_labels(labels, task.classes, str(spec))
    packed = TwoTexts(task.inputs).read([first for first, _, _ in rows], [second for _, second, _ in rows])
    notes = []
    for which, mask in (("first", packed["first_mask"]), ("second", packed["second_mask"])):
        if cut := int(mask.all(1).sum()):
            notes.append(f"{cut:,} of {len(rows):,} {which} texts fill the whole length or were cut to it")
    return KindSet(task, packed, labels, names, str(spec), tuple(notes))


def _rows(path: Path, task: Task) -> Iterator[tuple[str, str, str]]:
    """(first text, second text, class)."""
    suffix, labels = path.suffix.lower(), [task.outputs.column.lower()] if task.outputs.column else LABEL_COLUMNS
    if path.is_file() and suffix == ".jsonl":
        yield from _of_lines(path, labels)
    elif path.is_file() and suffix in (".tsv", ".csv"):
        yield from _of_table(path, labels)
    else:
        raise DataError(f"'{str(path)[:200]}' is no .tsv, .csv or .jsonl file of pairs of texts")


def _of_table(path: Path, labels: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    rows = rows_of_table(path)
    places = [0, 1, 2]
    header = [name.strip().lower() for name in rows[0]] if rows else []
    numbers = [
        next((header.index(name) for name in named if name in header), None) for named in (FIRST, SECOND, labels)
    ]
    if numbers[0] is not None or numbers[1] is not None:
        if None in numbers:
            raise DataError(
                f"{path}: needs a column of each of {', '.join(FIRST)}; of {', '.join(SECOND)}; and of "
                f"{', '.join(labels)}; it has {', '.join(header)}"
            )
        places, rows = [place for place in numbers if place is not None], rows[1:]
    for number, row in enumerate(rows, 1):
        if len(row) <= max(places):
            raise DataError(f"{path}: row {number} has {len(row)} field(s); expected two texts and their class")
        yield row[places[0]], row[places[1]], row[places[2]]


def _of_lines(path: Path, labels: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    for number, fields in lines_of_json(path):
        first, second = (_field(fields, named, str) for named in (FIRST, SECOND))
        label = _field(fields, labels, (str, int))
        if first is None or second is None or label is None:
            raise DataError(
                f"{path}: line {number} needs '{FIRST[0]}', '{SECOND[0]}' and '{labels[0]}', or other names of them"
            )
        yield str(first), str(second), str(label)


def _field(fields: dict[str, Any], names: Sequence[str], sort: Any) -> Any:
    return next((fields[name] for name in names if isinstance(fields.get(name), sort)), None)
