"""The record of a run: one file for each of its processes, and `ledger.json`, which is their sum.

A process writes its own file when it begins, at its first violation, before each checkpoint and at its end, however
many there are at once or one after another. So nothing that a process recorded is lost to a later one, a killed process
has left what it had seen by the checkpoint from which the run goes on, and what was broken once stays broken: a record
that is there and cannot be read counts as a broken one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...files import own_folder, read_json, utc_now, write_json
from .no_data import LISTED, NoDataGuard, beyond

NAME = "ledger.json"
RECORDS = "[!.]*.json"
LOST = "an earlier process of this run left no record"
UNREADABLE = "a record that is there and cannot be read: nobody knows what else it held"


class Ledger:
    """The record of the process that `guard` watches, in the run directory `directory`."""

    def __init__(self, directory: Path, guard: NoDataGuard, rank: int = 0) -> None:
        self.directory, self.guard, self.rank = directory, guard, rank
        self.parts = directory / "ledger"
        self._broken = False
        self._own: tuple[Path, dict[str, Any]] | None = None
        """The file of this process, and what it holds."""
        self._written: int | None = None
        """Entries in the file."""

    def begin(self, continued: bool) -> None:
        """Writes for the first time. continued: other processes of this run went before. Raises OSError."""
        own_folder(self.parts)
        if continued and self.rank == 0 and not any(self.parts.glob(RECORDS)):
            write_json(self.parts / "0-earlier.json", _read(self.directory / NAME) or _lost(NAME))  # of version 0.1
        self.write()

    def check(self) -> None:
        """Keeps a first violation at once. Raises NoDataViolation in a strict run."""
        self.guard.check()
        if self.guard.violations and not self._broken:
            self._broken = True
            with contextlib.suppress(OSError):  # the next checkpoint tries again, and is not made without it
                self.write()

    def write(self, ended: bool = False) -> None:
        """This process's record where it has changed; the first process of a group sums up. ended: it is the last word
        of the process, which a killed one has not. Raises OSError."""
        if self.guard.sealed_at is None:
            self.guard.look_around()
        entries = len(self.guard.files) + self.guard.undeclared + len(self.guard.unwatched)
        if entries == self._written and not ended:
            return
        began = (self.guard.began_at or utc_now()).translate({ord(":"): None, ord("-"): None})
        record = {"rank": self.rank, "ended": utc_now() if ended else None, **self.guard.record()}
        self._own = self.parts / f"{began}-{os.getpid()}-rank-{self.rank}.json", record
        write_json(*self._own)
        if self.rank == 0:
            self.sum_up()
        self._written = entries

    def sum_up(self) -> None:
        """Writes `ledger.json`. Raises OSError."""
        own = dict([self._own] if self._own else [])
        several = [own.get(path) or _read(path) for path in sorted(self.parts.glob(RECORDS))]
        write_json(self.directory / NAME, total(one for one in several if one is not None))


def total(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of the records of a run's processes, in the order in which they began.

    mode: strict where all were. sealed: when the first process of the last group ended its watch well, else None.
    violations: the first of them; undeclared: how many there were, as far as the records do not list the same ones.
    """
    records = list(records)
    firsts = [record for record in records if record.get("rank", 0) == 0]
    files = _distinct(records, "files", ("path", "role", "sha256"))
    violations = _distinct(records, "violations", ("path", "event"))
    unlisted = sum(undeclared(record) - len(record["violations"]) for record in records)
    return {
        "mode": "strict" if all(record["mode"] == "strict" for record in records) else "record",
        "sealed": firsts[-1].get("sealed") if firsts else None,
        "files": files[:LISTED],
        "violations": violations[:LISTED],
        "undeclared": len(violations) + unlisted,
        "unwatched": _distinct(records, "unwatched", ("what", "name"))[:LISTED] + beyond(files),
        "processes": [
            {name: record.get(name) for name in ("process", "rank", "mode", "began", "ended", "bytes_read")}
            | {"violations": undeclared(record)}
            for record in records
        ],
    }


def read_ledger(directory: Path) -> dict[str, Any]:
    """`ledger.json` of a run; empty where there is none. One that cannot be read is given as a broken one."""
    return _read(directory / NAME) or {}


def ledger_of(value: Any) -> dict[str, Any]:
    """What was read from a file of the ledger, where it is a record; else what stands in for it, a broken one."""
    return value if _is_record(value) else _unreadable(NAME)


def undeclared(ledger: Mapping[str, Any]) -> int:
    """How many undeclared reads a record tells of: the number that it gives, and no fewer than it lists."""
    entries, count = ledger.get("violations"), ledger.get("undeclared")
    return max(len(entries) if isinstance(entries, list) else 0, count if isinstance(count, int) else 0)


def _distinct(records: list[Mapping[str, Any]], kind: str, names: tuple[str, ...]) -> list[Any]:
    """Every entry once, as the first process told it."""
    entries: dict[tuple[Any, ...], Any] = {}
    for record in records:
        for entry in record.get(kind, []):
            entries.setdefault(tuple(entry.get(name) for name in names), entry)
    return list(entries.values())


def _read(path: Path) -> dict[str, Any] | None:
    """None where there is no file."""
    try:
        record = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        record = None
    return record if _is_record(record) else _unreadable(path.name)


def _is_record(value: Any) -> bool:
    """Whether its lists hold entries of plain values, as a process writes them."""
    if not isinstance(value, dict) or not {"mode", "files", "violations"} <= value.keys():
        return False
    lists = [value.get(kind, []) for kind in ("files", "violations", "unwatched")]
    return all(isinstance(several, list) and all(map(_is_plain, several)) for several in lists)


def _is_plain(entry: Any) -> bool:
    return isinstance(entry, dict) and not any(isinstance(value, (list, dict)) for value in entry.values())


def _lost(name: str) -> dict[str, Any]:
    """What stands in for a record that is not there: nothing is known of what that process read."""
    return {"mode": "record", "files": [], "violations": [], "unwatched": [{"what": LOST, "name": name, "when": None}]}


def _unreadable(name: str) -> dict[str, Any]:
    """What stands in for a record that is there and cannot be read: it may have held anything."""
    return _lost(name) | {"violations": [{"path": name, "event": UNREADABLE, "when": None}], "unwatched": []}
