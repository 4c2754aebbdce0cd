"""The list of local cases: which input, what is true of it, whose it is, and to which groups it belongs.

A comma-separated file with a header line: `path` (below the folder of the data) or `row` (counted from 0), `label`,
`patient_id`, and a column for each attribute by which figures are told apart.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from ..errors import DataError, did_you_mean
from ..files import read_regular, reason

MAX_BYTES = 256 * 2**20
MAX_ROWS = 2_000_000
MOST_LEVELS = 20
"""Of one group column: a column with more is no group but a measurement, and would tell cases apart."""
OWN = ("path", "row", "label", "patient_id")
SHORTEST = 6
"""Letters of a name that is looked for in what leaves: a shorter one is also a number, or a word."""


class Salted:
    """Names of patients and files as hashes under a salt that is drawn for this process and kept nowhere: equal names
    are told to be equal, and nothing can be looked up."""

    def __init__(self) -> None:
        self._salt = os.urandom(16)
        self._seen: set[bytes] = set()

    def __call__(self, name: str) -> bytes:
        """The hash of a name, which is remembered for `named_in`."""
        digest = self._digest(name)
        if len(name) >= SHORTEST:
            self._seen.add(digest)
        return digest

    def named_in(self, text: str) -> bool:
        """Whether a word of `text` is a name that was hashed; names of fewer than SHORTEST letters are not looked
        for."""
        words = [text, *re.split(r"[\s,;:=()'\"]+", text)]
        return any(self._digest(word) in self._seen for word in words if len(word) >= SHORTEST)

    def _digest(self, name: str) -> bytes:
        return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), key=self._salt, digest_size=16).digest()


@dataclass(frozen=True, eq=False)
class Manifest:
    """N cases in the order of the file.

    paths: below the data's folder, or None where rows (N,) int64 name places of a set. labels: as they stand, or None.
    patients (N,) int64: 0..P-1. groups: column -> its value for each case. identities: hashes of what must not leave.
    patients_named: whether the file says whose a case is; without, each is taken for a patient of its own.
    """

    paths: tuple[str, ...] | None
    rows: np.ndarray | None
    labels: tuple[str, ...] | None
    patients: np.ndarray
    groups: dict[str, tuple[str, ...]]
    identities: Salted
    patients_named: bool

    def __len__(self) -> int:
        return len(self.patients)


def read_manifest(path: str | Path, groups: tuple[str, ...] | None = None) -> Manifest:
    """The list of cases in `path`. groups: the columns that are groups; None takes every column that is none of path,
    row, label and patient_id.

    Raises DataError for what cannot be read, and for a list that names a case twice.
    """
    path = Path(path)
    header, rows = _read(path)
    columns = {name: tuple(row[place] for row in rows) for place, name in enumerate(header)}
    if ("path" in columns) == ("row" in columns):
        raise DataError(f"{path}: expected a column path (files below --data) or row (from 0), one of the two")
    named = _groups(path, columns, groups)
    identities = Salted()
    places = None
    if "row" in columns:
        places = _rows(path, columns["row"])
    else:
        for number, text in enumerate(columns["path"]):
            _require_below(path, number, text)
            identities(text)
            identities(PurePosixPath(text).name)
    keys = columns["path"] if places is None else tuple(places.tolist())
    if len(set(keys)) < len(keys):
        raise DataError(f"{path}: names a case twice; each stands in one row")
    patients = _patients(path, columns.get("patient_id"), len(rows), identities)
    return Manifest(
        columns["path"] if places is None else None, places, columns.get("label"), patients, named, identities,
        "patient_id" in columns,
    )  # fmt: skip


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8-sig")
        lines = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
        rows = [[field.strip() for field in row] for row in lines if any(row)]
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such manifest") from None
    except (OSError, ValueError, csv.Error) as fault:
        raise DataError(f"{path}: cannot be read as a manifest, a .csv file ({reason(fault)})") from None
    if len(rows) < 2:
        raise DataError(f"{path}: expected a header line and a line for each case, found {len(rows)} line(s)")
    header, cases = rows[0], rows[1:]
    if len(cases) > MAX_ROWS:
        raise DataError(f"{path}: {len(cases):,} cases; at most {MAX_ROWS:,} are read")
    if len(set(header)) < len(header) or not all(header):
        raise DataError(f"{path}: each column needs a name of its own, got {', '.join(header)[:200]}")
    for number, row in enumerate(cases, 1):
        if len(row) != len(header):
            raise DataError(f"{path}: case {number} has {len(row)} fields and there are {len(header)} columns")
    return header, cases


def _groups(path: Path, columns: dict[str, tuple[str, ...]], asked: tuple[str, ...] | None) -> dict:
    others = [name for name in columns if name not in OWN]
    for name in asked or ():
        if name not in others:
            raise DataError(f"{path}: no group column '{name}'. {did_you_mean(name, others)}")
    chosen = others if asked is None else list(dict.fromkeys(asked))
    for name in chosen:
        levels = len(set(columns[name]))
        if levels > MOST_LEVELS:
            raise DataError(
                f"{path}: column '{name}' has {levels:,} values; a group has at most {MOST_LEVELS}. Write bands, such "
                "as 60-79 for an age, or name the group columns with --groups"
            )
        long = next((value for value in columns[name] if len(value) > 60 or not value.isprintable()), None)
        if long is not None:
            raise DataError(f"{path}: column '{name}' holds {long[:60]!r}; a group has a name of at most 60 letters")
    return {name: tuple(value or "unknown" for value in columns[name]) for name in chosen}


def _rows(path: Path, texts: tuple[str, ...]) -> np.ndarray:
    for number, text in enumerate(texts, 1):
        if not (text.isdecimal() and len(text) < 16):
            raise DataError(f"{path}: case {number} has the row {text[:40]!r}; rows are whole numbers from 0")
    return np.array([int(text) for text in texts], dtype=np.int64)


def _require_below(path: Path, number: int, text: str) -> None:
    """A path that stays below the folder by its letters alone; links are looked for when it is opened."""
    pure = PurePosixPath(text)
    if not text or pure.is_absolute() or ".." in pure.parts or "\\" in text or not text.isprintable():
        raise DataError(
            f"{path}: case {number + 1} has the path {text[:80]!r}; paths lead down from the folder of the data"
        )


def _patients(path: Path, names: tuple[str, ...] | None, count: int, identities: Salted) -> np.ndarray:
    if names is None:
        return np.arange(count)
    empty = next((number for number, name in enumerate(names, 1) if not name), None)
    if empty is not None:
        raise DataError(f"{path}: case {empty} has no patient_id; give one to every case, or leave the column out")
    places: dict[bytes, int] = {}
    return np.array([places.setdefault(identities(name), len(places)) for name in names], dtype=np.int64)
