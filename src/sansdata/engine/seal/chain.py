"""chain.jsonl: a record a line, each with the hash of the one before it, so that a line that was changed, removed or
moved is seen. What was cut off at the end is seen by the signature, or by the files that later records name.

    {"event": ..., "facts": {...}, "files": {name: sha256}, "hash": ..., "n": 0, "phase": ..., "previous": ...,
     "when": ...}

A record is text in one form only (keys in order, no spaces), and its hash is that of the text without the hash.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import SealError
from ...files import exclusive, is_regular, open_in_place, parse_json, read_regular, reason, sha256, utc_now

CHAIN = "chain.jsonl"
BEGINNING = "0" * 64
"""What the first record has in place of the hash before it."""
MAX_BYTES = 64_000_000
FIELDS = {"event", "facts", "files", "n", "phase", "previous", "when", "hash"}


@dataclass(frozen=True)
class Record:
    """phase: SEALED, LOCAL or REPORT. event: what happened, in a word. files: name in the run directory -> SHA-256 as
    it was then. hash: over all of it and the record before."""

    n: int
    phase: str
    event: str
    when: str
    previous: str
    hash: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def append(
    folder: Path, phase: str, event: str, facts: Mapping[str, Any] | None = None, files: Iterable[str] = ()
) -> Record:
    """Adds a record to the chain in a run directory, which begins with the first, and waits until the disk has it.

    files: names in the directory; those that are there are hashed now. Raises SealError where the chain was tampered
    with, so that nothing is put on top of a broken one, or where it cannot be written.
    """
    try:
        with exclusive(folder):
            records = read(folder)
            fields = {
                "n": len(records), "phase": phase, "event": event, "when": utc_now(), "facts": dict(facts or {}),
                "files": {name: sha256(folder / name) for name in files if is_regular(folder / name)},
                "previous": records[-1].hash if records else BEGINNING,
            }  # fmt: skip
            record = Record(**fields, hash=_hash(fields))
            with open_in_place(folder / CHAIN) as file:
                file.write(_line(fields | {"hash": record.hash}))
                os.fsync(file.fileno())
    except OSError as fault:
        raise SealError(f"{folder / CHAIN} cannot be written ({reason(fault)}): what was done stands nowhere") from None
    return record


def read(folder: Path) -> list[Record]:
    """All records, each checked against the one before it; none where there is no chain. Raises SealError that names
    the first line which is not what was written."""
    path = folder / CHAIN
    try:
        data = read_regular(path, MAX_BYTES)
    except FileNotFoundError:
        return []
    except OSError as fault:
        raise SealError(f"{path} cannot be read ({reason(fault)})") from None
    if data and not data.endswith(b"\n"):
        raise SealError(f"{path}: its last line is cut")
    records: list[Record] = []
    for number, line in enumerate(data.splitlines(keepends=True)):
        record = _parsed(line, f"{path}, line {number + 1}")
        if record.n != number or record.previous != (records[-1].hash if records else BEGINNING):
            raise SealError(
                f"{path}, line {number + 1}: does not follow the line before it; a line was removed, added or moved"
            )
        records.append(record)
    return records


def changed_files(folder: Path, records: Iterable[Record]) -> list[str]:
    """Files that are no longer as the last record that names them has them: 'summary.json was changed'."""
    last = {name: content for record in records for name, content in record.files.items()}
    faults = []
    for name, content in last.items():
        if not is_regular(folder / name):
            faults.append(f"{name} is missing")
        elif sha256(folder / name) != content:
            faults.append(f"{name} was changed after it was recorded")
    return faults


def _parsed(line: bytes, where: str) -> Record:
    try:
        fields = parse_json(line)
    except ValueError:
        raise SealError(f"{where}: is no record; it was changed") from None
    if not isinstance(fields, dict) or fields.keys() != FIELDS or not _is_sound(fields):
        raise SealError(f"{where}: is no record; it was changed")
    own = fields.pop("hash")
    if _hash(fields) != own or _line(fields | {"hash": own}) != line:
        raise SealError(f"{where}: was changed after it was written: its hash is not that of its contents")
    return Record(**fields, hash=own)


def _is_sound(fields: Mapping[str, Any]) -> bool:
    texts = all(isinstance(fields[name], str) for name in ("event", "phase", "previous", "when", "hash"))
    plain = isinstance(fields["facts"], dict) and isinstance(fields["files"], dict) and type(fields["n"]) is int
    return texts and plain and all(_is_name(name) and isinstance(one, str) for name, one in fields["files"].items())


def _is_name(name: str) -> bool:
    """Of a file of the run directory itself: a record leads nowhere else."""
    return name == Path(name).name and name not in ("", ".", "..") and "\0" not in name


def _hash(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(_text(fields).encode()).hexdigest()


def _line(fields: Mapping[str, Any]) -> bytes:
    return _text(fields).encode() + b"\n"


def _text(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
