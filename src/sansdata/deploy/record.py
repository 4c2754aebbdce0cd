"""What was measured of an exported model, beside the file and in its run: added to, never replaced."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from ..engine.seal.phases import record_phase
from ..figures import Drawing
from ..files import exclusive, is_regular, open_regular, read_json, read_record, reason, sha256, write_json

NAME = "exports.json"
MOST = 500
"""Exports that a run remembers; the oldest go."""


def beside(file: Path) -> Path:
    """FILE.json."""
    return file.with_name(f"{file.name}.json")


def write_beside(file: Path, entry: dict[str, Any]) -> Path:
    """Writes `entry` as FILE.json. Raises OSError."""
    write_json(beside(file), entry)
    return beside(file)


def is_record(path: Path) -> bool:
    """Whether `path` is a FILE.json that `write_beside` wrote."""
    return _entry(path) is not None


def is_exported(file: Path) -> bool:
    """Whether `file` is an export, unchanged since the record beside it was written."""
    entry = _entry(beside(file))
    return entry is not None and is_regular(file) and entry["sha256"] == sha256(file)


def is_self_test(path: Path) -> bool:
    """Whether `path` is a self-test that travels with an exported file."""
    try:
        with open_regular(path, 1 << 62) as file, zipfile.ZipFile(file) as archive:
            return {"answers.npy", "about.npy"} <= set(archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _entry(path: Path) -> dict[str, Any] | None:
    try:
        entry = read_json(path)
    except (OSError, ValueError):
        return None
    return entry if isinstance(entry, dict) and {"sansdata", "format", "sha256", "name"} <= set(entry) else None


def add_to_run(run_dir: Path, entry: dict[str, Any]) -> str:
    """Adds an entry to exports.json of a run. Gives '' or, where nothing could be written, why."""
    path = run_dir / NAME
    try:
        with exclusive(run_dir):
            entries = [*read_record(path, "exports")["exports"], entry][-MOST:]
            write_json(path, {"exports": entries, "figures": [one.to_dict() for one in drawings(entries)]})
    except (OSError, ValueError, RecursionError) as fault:
        return f"{path} cannot be written ({reason(fault)}): what was measured stands only beside the file"
    exported = {name: entry[name] for name in ("name", "sha256") if name in entry}
    return record_phase(run_dir, "REPORT", "exported", exported, [NAME])


def add_accuracy(run_dir: Path, accuracies: dict[str, float], source: str) -> str:
    """Notes what real data say of files, by their SHA-256, in the entries that have no accuracy yet. source: the set.
    Gives what `add_to_run` does."""
    path = run_dir / NAME
    try:
        with exclusive(run_dir):
            entries = read_record(path, "exports")["exports"]
            for entry in entries:
                if entry.get("sha256") in accuracies and "accuracy" not in entry:
                    entry.update(accuracy=accuracies[entry["sha256"]], accuracy_on=source)
            write_json(path, {"exports": entries, "figures": [one.to_dict() for one in drawings(entries)]})
    except (OSError, ValueError, RecursionError) as fault:
        return f"{path} cannot be written ({reason(fault)}): the accuracy of exported files stands nowhere else"
    return record_phase(run_dir, "LOCAL", "evaluated exports", {"source": source}, [NAME])


def drawings(entries: list[dict[str, Any]]) -> list[Drawing]:
    """Quality against size and against latency, a point for each of several files as it was exported last. The
    quality is accuracy on real data where every file has one, else agreement with the student."""
    latest = {str(entry.get("name")): entry for entry in entries}
    quality = "accuracy" if all(_number(entry, "accuracy") is not None for entry in latest.values()) else "agreement"
    of = "accuracy on real data" if quality == "accuracy" else "agreement with the student"
    made = []
    for axis, unit in (("size", "kilobytes"), ("p50", "milliseconds of one input")):
        points = {}
        for name, entry in latest.items():
            x, y = _number(entry, axis), _number(entry, quality)
            if x is not None and y is not None:
                points[name] = [[x / 1000 if axis == "size" else x, 100 * y]]
        if len(points) > 1:  # one alone is against nothing, and stands in the table
            title = f"{quality} against {'size' if axis == 'size' else 'latency'}"
            made.append(Drawing(title, "points", points, f"up: {of}, in per cent; right: {unit}"))
    return made


def _number(entry: dict[str, Any], name: str) -> float | None:
    value = entry.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
