"""What an audit found, and audit.json of a run, which is added to and never replaced."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..figures import Drawing, Finding, Warned
from ..files import exclusive, read_record, reason, utc_now, write_json
from .levels import Entry, Level, Unmeasured

NAME = "audit.json"
MOST = 100
"""Audits that a run remembers; with more, the next is refused."""


@dataclass(frozen=True)
class Audit:
    """level: the highest that the evidence reaches. entries: what was found, each with its own level. unmeasured: what
    could not be measured, and why. warnings: what a reader must not miss; that there are none means that these
    measures found nothing, and no more."""

    level: Level
    entries: tuple[Entry, ...]
    drawings: tuple[Drawing, ...]
    warnings: tuple[Warned, ...]
    unmeasured: tuple[Unmeasured, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, level: Level, entries: Iterable[Any], notes: Iterable[str] = ()) -> Audit:
        """From what the measures gave, in their order."""
        several = list(entries)

        def kept(kind: type) -> tuple:
            return tuple(one for one in several if isinstance(one, kind))

        return cls(level, kept(Entry), kept(Drawing), kept(Warned), kept(Unmeasured), tuple(notes))

    def entry(self, name: str) -> Entry:
        """The entry of that name, such as 'agreement on held-out synthetic'. Raises KeyError."""
        for one in self.entries:
            if one.name == name:
                return one
        raise KeyError(name)

    @property
    def figures(self) -> tuple[Finding, ...]:
        """Entries and drawings as a report shows them."""
        return (*(one.figure for one in self.entries), *self.drawings)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: one audit of `audit.json`."""
        return {
            "level": self.level.name, "evidence": self.level.says, "entries": [one.to_dict() for one in self.entries],
            "figures": [one.to_dict() for one in self.figures], "warnings": [one.to_dict() for one in self.warnings],
            "not measurable": [one.to_dict() for one in self.unmeasured], "notes": list(self.notes),
        }  # fmt: skip


def keep(run_dir: Path, audit: dict[str, Any]) -> str:
    """Adds an audit to audit.json of a run. Gives '' or, where nothing could be written, why."""
    path = run_dir / NAME
    try:
        with exclusive(run_dir):
            before = read_record(path, "audits")["audits"]
            if len(before) >= MOST:
                return f"{path} holds {MOST} audits; move it away to begin another, since none is replaced"
            write_json(path, {"audits": [*before, {"at": utc_now()} | audit]})
    except (OSError, ValueError, RecursionError) as fault:
        return f"{path} cannot be written ({reason(fault)}): these figures stand nowhere else"
    return ""
