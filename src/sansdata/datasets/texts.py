"""Labelled texts: a TSV, CSV or JSONL file, a folder with a sub-folder per class, or a set known by name.

Under SANSDATA_DATA: text/sst2/train.tsv, dev.tsv, test.tsv, each line a sentence, a tab and its label.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, did_you_mean
from ..files import text_lines
from ..kinds.inputs.tokens import Tokens
from ..tasks import Task
from .imageset import check_labels, class_number
from .labelled import KindSet
from .layout import other_files
from .tables import LABEL_COLUMNS

MAX_FILE_BYTES = 2 * 2**30
MAX_TEXT_BYTES = 10_000_000
TEXT_FIELDS = ("text", "sentence")
KNOWN = {"sst2": "text/sst2/{split}.tsv"}
"""name -> file below SANSDATA_DATA; class 0 negative, 1 positive."""


def load_texts(spec: str | Path, task: Task, split: str = "test") -> KindSet:
    """The labelled texts of `spec`, read with the task's tokenizer.

    A .tsv or .csv file has the text first and the class last, or a header line that names them; a .jsonl file an object
    a line with 'text' and 'label'; a folder one folder of .txt files per class. Raises DataError for what cannot be
    found or read, TaskError where the task has no tokenizer.
    """
    texts, classes = zip(*read_pairs(spec, task, split))
    names = task.names
    labels = np.array([class_of(one, names, str(spec), row) for row, one in enumerate(classes)], dtype=np.int64)
    check_labels(labels, task.classes, str(spec))
    packed = Tokens(task.inputs).read(texts)
    cut = int((packed["mask"].all(1)).sum())
    notes = [f"{cut:,} of {len(texts):,} texts fill the whole length or were cut to it"] if cut else []
    root = Path(spec).expanduser()
    if str(spec) not in KNOWN and root.is_dir() and (left := _not_read(root)):
        notes.append(other_files(root, left))
    return KindSet(task, packed, labels, names, str(spec), tuple(notes))


def read_pairs(spec: str | Path, task: Task, split: str = "test") -> list[tuple[str, str]]:
    """(text, class as it is written there) of every text of `spec`, before any tokenizer. Raises DataError for what
    cannot be found or read."""
    if str(spec) in KNOWN:
        root = os.environ.get("SANSDATA_DATA")
        path = Path(root or ".") / KNOWN[str(spec)].format(split=split)
        if root is None or not path.is_file():
            raise DataError(f"{spec} is not on this machine: set SANSDATA_DATA to a folder with {KNOWN[str(spec)]}")
    else:
        path = Path(spec).expanduser()
    if path.is_dir():
        pairs = list(_of_folder(path))
    elif path.is_file() and path.suffix.lower() == ".jsonl":
        pairs = list(_of_lines(path, task))
    elif path.is_file() and path.suffix.lower() in (".tsv", ".csv"):
        pairs = _of_table(path, task)
    else:
        raise DataError(
            f"'{str(spec)[:200]}' is neither a known set of texts, a .tsv, .csv or .jsonl file, nor a folder. "
            f"{did_you_mean(str(spec), KNOWN)}"
        )
    if not pairs:
        raise DataError(f"{path}: no texts; give at least one with its class")
    return pairs


def text_of(path: Path, most: int) -> str:
    """What a file of at most so many bytes says. Raises DataError."""
    try:
        with open(path, "rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise DataError(f"{path}: larger than {most:,} bytes")
        return data.decode("utf-8-sig")
    except (OSError, ValueError) as fault:
        raise DataError(f"{path}: cannot be read as text ({str(fault)[:200]})") from None


def rows_of_table(path: Path) -> list[list[str]]:
    """The fields of every line of a .tsv or .csv file that has any. Raises DataError."""
    text = text_of(path, MAX_FILE_BYTES)
    if path.suffix.lower() == ".tsv":  # quotes are letters there
        return [line.split("\t") for line in text_lines(text) if line.strip()]
    try:
        return [row for row in csv.reader(io.StringIO(text, newline="")) if any(row)]
    except csv.Error as fault:
        raise DataError(f"{path}: cannot be read as a table ({fault})") from None


def _of_table(path: Path, task: Task) -> list[tuple[str, str]]:
    rows = rows_of_table(path)
    if not rows:
        return []
    first, last = 0, len(rows[0]) - 1
    header = [name.strip().lower() for name in rows[0]]
    if any(name in header for name in TEXT_FIELDS):
        columns = [task.outputs.column.lower()] if task.outputs.column else LABEL_COLUMNS
        label = next((name for name in columns if name in header), None)
        if label is None:
            raise DataError(f"{path}: no column {' or '.join(columns)} beside the text; it has {', '.join(header)}")
        first, last = next(header.index(name) for name in TEXT_FIELDS if name in header), header.index(label)
        rows = rows[1:]
    short = next((place for place, row in enumerate(rows) if len(row) <= max(first, last) or len(row) < 2), None)
    if short is not None:
        raise DataError(f"{path}: row {short + 1} has {len(rows[short])} field(s); expected a text and its class")
    return [(row[first], row[last]) for row in rows]


def lines_of_json(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, fields) of every line of a .jsonl file that is not empty; no fields of one that is no object. Raises
    DataError."""
    for number, line in enumerate(text_lines(text_of(path, MAX_FILE_BYTES)), 1):
        if not line.strip():
            continue
        try:
            record: Any = json.loads(line)
        except (ValueError, RecursionError):
            raise DataError(f"{path}: line {number} is no JSON; each line must be an object by itself") from None
        yield number, record if isinstance(record, dict) else {}


def _of_lines(path: Path, task: Task) -> Iterator[tuple[str, str]]:
    labels = [task.outputs.column] if task.outputs.column else LABEL_COLUMNS
    for number, fields in lines_of_json(path):
        text = next((fields[name] for name in TEXT_FIELDS if isinstance(fields.get(name), str)), None)
        label = next((fields[name] for name in labels if isinstance(fields.get(name), (str, int))), None)
        if text is None or label is None:
            raise DataError(f"{path}: line {number} needs 'text' and '{labels[0]}'")
        yield text, str(label)


def _of_folder(root: Path) -> Iterator[tuple[str, str]]:
    for folder in _class_folders(root):
        for path in sorted(folder.iterdir()):
            if _is_text(path):
                yield text_of(path, MAX_TEXT_BYTES), folder.name


def _not_read(root: Path) -> list[Path]:
    """What lies in a folder of class folders, or beside them, and is no text that is read."""
    folders = _class_folders(root)
    beside = [path for path in sorted(root.iterdir()) if path not in folders]
    return [*beside, *(path for folder in folders for path in sorted(folder.iterdir()) if not _is_text(path))]


def _class_folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _is_text(path: Path) -> bool:
    return path.suffix == ".txt" and path.is_file() and not path.is_symlink()


def class_of(label: str, names: tuple[str, ...], source: str, row: int) -> int:
    """The class that a name or a number means. Raises DataError for a name that is none."""
    plain = label.strip()
    if plain in names:
        return names.index(plain)
    if (number := class_number(plain)) is not None:
        return number
    raise DataError(f"{source}: row {row + 1} has the class {plain[:40]!r}. {did_you_mean(plain, names)}")
