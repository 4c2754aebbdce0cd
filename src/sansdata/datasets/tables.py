"""Labelled tables: a CSV or TSV file, or a set known by name.

Under SANSDATA_DATA, in the folder `tabular`: adult-train.csv.gz, adult-test.csv.gz, german.csv.gz, mammography.csv.gz,
without a header line. Breast cancer and wine come with scikit-learn.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from ..errors import DataError, did_you_mean
from ..kinds.inputs.table import Table
from ..tasks import KNOWN_TASKS, Column, TableSpec, Task
from .imageset import check_labels, class_number, pick
from .labelled import KindSet

MAX_FILE_BYTES = 2 * 2**30
MAX_ROWS = 20_000_000
ABSENT = {"", "?", "na", "nan", "n/a", "null", "none"}
LABEL_COLUMNS = ("label", "class", "target", "y")
KNOWN = {
    "breast-cancer": ("load_breast_cancer", ""),
    "wine": ("load_wine", ""),
    "adult": ("", "adult-{split}.csv.gz"),
    "german-credit": ("", "german.csv.gz"),
    "mammography": ("", "mammography.csv.gz"),
}
"""name -> (a loader of scikit-learn, or '', and a file of the folder tabular); the task of the same name says the
rest."""
TEST_SHARE = 0.25
"""Share of a set without a test half of its own that is held out, by class and always the same rows."""


def load_table(spec: str | Path, task: Task, split: str = "test") -> KindSet:
    """The labelled rows of `spec` for `task`: a known set, or a .csv or .tsv file (also .gz) with a header line.

    Columns are found by their names. A level that the task does not know counts as missing where the column may miss
    values, and is an error elsewhere; numbers outside the range stay as they are, and `notes` counts them.
    Raises DataError for what cannot be found or read, or does not fit.
    """
    if str(spec) in KNOWN:
        return _known(str(spec), task, split)
    path = Path(spec).expanduser()
    if not path.is_file():
        raise DataError(
            f"'{str(spec)[:200]}' is neither a known table nor a file. {did_you_mean(str(spec), KNOWN)} "
            "A table is a .csv or .tsv file with a header line."
        )
    header, rows = _read(path, has_header=True)
    return _labelled(header, rows, task, str(path))


def load_rows(path: Path, task: Task, places: np.ndarray, labels: Sequence[str]) -> KindSet:
    """The rows of a .csv or .tsv file at `places` (M,), counted from 0 behind the header line, with `labels` for each,
    names of classes or their numbers; a column of classes in the file is not looked at. Raises DataError."""
    header, rows = _read(path, has_header=True)
    require_places(places, len(rows), str(path))
    column = task.outputs.column or LABEL_COLUMNS[0]
    kept = [place for place, name in enumerate(header) if name.strip() != column]
    chosen = []
    for place, label in zip(places.tolist(), labels, strict=True):
        if len(rows[place]) != len(header):
            raise DataError(f"{path}: row {place} has {len(rows[place])} fields and there are {len(header)} columns")
        chosen.append([*(rows[place][at] for at in kept), label])
    return _labelled([*(header[at] for at in kept), column], chosen, task, str(path))


def require_places(places: np.ndarray, count: int, source: str) -> None:
    """Raises DataError for a row that is not there."""
    beyond = places[places >= count]
    if len(beyond):
        raise DataError(f"{source}: has {count:,} rows, counted from 0; row {beyond[0]:,} is not there")


def _known(name: str, task: Task, split: str) -> KindSet:
    loader, file = KNOWN[name]
    known = KNOWN_TASKS[name]
    if task.inputs != known.inputs or task.classes != known.classes:
        raise DataError(f"{name} is read for the task of that name; give your own file for another task")
    names = [*(column.name for column in known.inputs.columns), known.outputs.column]
    if loader:
        import sklearn.datasets

        values, labels = getattr(sklearn.datasets, loader)(return_X_y=True)
        whole = _of_numbers(values, labels.astype(np.int64), known, f"{name} (scikit-learn)")
    else:
        root = os.environ.get("SANSDATA_DATA")
        path = Path(root or ".") / "tabular" / file.format(split=split)
        if root is None or not path.is_file():
            raise DataError(
                f"{name} is not on this machine: set SANSDATA_DATA to a folder with tabular/{path.name}, or give a file"
            )
        _, rows = _read(path, has_header=False)
        whole = _labelled(names, rows, task, f"{name} ({split})" if "{split}" in file else name)
    if "{split}" in file:
        return whole
    rest, test = pick(whole.labels, round(TEST_SHARE * len(whole)), seed=0)
    index = test if split == "test" else rest
    kind = "held-out" if split == "test" else "training"
    return whole.subset(index, f"the {len(index):,} {kind} rows of a fixed split by class (seed 0)")


def _of_numbers(values: np.ndarray, labels: np.ndarray, task: Task, source: str) -> KindSet:
    table = Table(task.inputs)
    numbers = torch.from_numpy(values.astype(np.float32))
    missing = torch.zeros(len(values), len(task.inputs.columns), dtype=torch.bool)
    return KindSet(task, table.rows(numbers, None, missing), labels, task.class_names, source)


def _read(path: Path, has_header: bool) -> tuple[list[str], list[list[str]]]:
    """(header, rows) as text. Raises DataError."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise DataError(f"{path}: larger than {MAX_FILE_BYTES:,} bytes")
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    inner = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    separator = "\t" if inner.suffix.lower() in (".tsv", ".tab") else ","
    try:
        with opener(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise DataError(f"{path}: unpacks to more than {MAX_FILE_BYTES:,} bytes")
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
        rows = [row for row in csv.reader(text, delimiter=separator, skipinitialspace=True) if any(row)]
    except (OSError, EOFError, ValueError, csv.Error) as fault:
        raise DataError(f"{path}: cannot be read as a table ({str(fault)[:200]})") from None
    if len(rows) < 1 + has_header:
        raise DataError(f"{path}: no rows; expected {'a header and then ' * has_header}a line for each row")
    if len(rows) > MAX_ROWS:
        raise DataError(f"{path}: {len(rows):,} rows; at most {MAX_ROWS:,} are read")
    return (rows[0], rows[1:]) if has_header else ([], rows)


def _labelled(header: Sequence[str], rows: list[list[str]], task: Task, source: str) -> KindSet:
    spec: TableSpec = task.inputs
    names = [name.strip() for name in header]
    ragged = next((place for place, row in enumerate(rows) if len(row) != len(names)), None)
    if ragged is not None:
        raise DataError(f"{source}: row {ragged + 1} has {len(rows[ragged])} fields and there are {len(names)} columns")
    label = task.outputs.column or next((name for name in LABEL_COLUMNS if name in names), "")
    for name in [*(column.name for column in spec.columns), label]:
        if name not in names:
            what = f"no column '{name}'" if name else "no column label, class, target or y (outputs.column in the task)"
            raise DataError(f"{source}: {what}. {did_you_mean(name, names)}")
    by_name = dict(zip(names, zip(*rows)))
    notes: Counter[str] = Counter()
    numbers = [_numbers(column, by_name[column.name], source, notes) for column in spec.numbers]
    levels = [_levels(column, by_name[column.name], source, notes) for column in spec.categories]
    missing = np.stack([gone for _, gone in [*numbers, *levels]], 1)
    packed = Table(spec).rows(
        torch.from_numpy(np.stack([v for v, _ in numbers], 1).astype(np.float32)) if numbers else None,
        torch.from_numpy(np.stack([v for v, _ in levels], 1)) if levels else None,
        torch.from_numpy(missing),
    )
    known = task.names
    labels = class_numbers(by_name[label], known, source)
    check_labels(labels, task.classes, source)
    return KindSet(task, packed, labels, known, source, tuple(f"{count:,} {what}" for what, count in notes.items()))


def _numbers(column: Column, texts: Sequence[str], source: str, notes: Counter[str]) -> tuple[np.ndarray, np.ndarray]:
    """(values, where one is missing) of a numeric column."""
    assert column.range is not None
    absent = np.array([text.strip().lower() in ABSENT for text in texts])
    values = np.zeros(len(texts))
    for place, text in enumerate(texts):
        if absent[place]:
            continue
        try:
            values[place] = float(text)
        except ValueError:
            values[place] = math.nan
        if not math.isfinite(values[place]):
            raise DataError(
                f"{source}: column '{column.name}' has {text[:40]!r} in row {place + 1}, which is no number"
            )
    _require_present(column, absent, source)
    low, high = column.range
    outside = int(((values < low) | (values > high))[~absent].sum())
    if outside:
        notes[f"values of '{column.name}' outside {low:g} to {high:g}"] += outside
    return values, absent


def _levels(column: Column, texts: Sequence[str], source: str, notes: Counter[str]) -> tuple[np.ndarray, np.ndarray]:
    """(places of the levels, where one is missing) of a category."""
    places = {level: place for place, level in enumerate(column.levels)}
    codes = np.array([places.get(text.strip(), -1) for text in texts], dtype=np.int64)
    absent = np.array([text.strip().lower() in ABSENT for text in texts]) & (codes < 0)
    unknown = (codes < 0) & ~absent
    if unknown.any():
        first = texts[int(np.flatnonzero(unknown)[0])].strip()[:40]
        if not column.missing:
            raise DataError(f"{source}: column '{column.name}' has the level {first!r}, which the task does not know")
        notes[f"levels of '{column.name}' unknown to the task, taken as missing"] += int(unknown.sum())
    absent |= unknown
    _require_present(column, absent, source)
    return np.where(absent, 0, codes), absent


def _require_present(column: Column, absent: np.ndarray, source: str) -> None:
    if absent.any() and not column.missing:
        raise DataError(
            f"{source}: column '{column.name}' has no value in row {int(np.flatnonzero(absent)[0]) + 1}; if values may "
            "be absent, say missing: true in the task"
        )


def class_numbers(texts: Iterable[str], names: tuple[str, ...], source: str) -> np.ndarray:
    """(N,) int64: class numbers of labels that are names of classes, or their numbers. Raises DataError."""
    places = {name: place for place, name in enumerate(names)}
    labels = []
    for row, text in enumerate(texts):
        plain = text.strip().strip("'\"").rstrip(".")  # Adult's test half ends each label in a full stop
        if plain in places:
            labels.append(places[plain])
        elif (number := class_number(plain)) is not None:
            labels.append(number)
        else:
            raise DataError(f"{source}: row {row + 1} has the class {plain[:40]!r}. {did_you_mean(plain, names)}")
    return np.array(labels, dtype=np.int64)
