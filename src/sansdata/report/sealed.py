"""What the record of a sealed run says of it, for whoever reads a page and not the record."""

from __future__ import annotations

from pathlib import Path

from ..engine.seal.check import Checked, check
from ..engine.seal.isolation import LEVELS, LIMITS
from ..engine.seal.phases import is_sealed
from ..errors import SealError
from .words import clip

Row = tuple[str, str]


def checked(directory: Path) -> Checked | str:
    """The record of a sealed run; why there is none that could be believed; or '' for a run that was never sealed."""
    if not is_sealed(directory):
        return ""
    try:
        return check(directory)
    except SealError as fault:
        return clip(str(fault), 400)


def level_of(record: Checked) -> str:
    """The weakest level of isolation of the processes that made the student: the student is no better than that."""
    known = [LEVELS.index(level) for level in record.levels if level in LEVELS]
    return LEVELS[min(known)] if known else LEVELS[0]


def rows(directory: Path) -> list[Row]:
    """(what, how it is) for the page of a run; nothing for one that was not sealed."""
    record = checked(directory)
    if isinstance(record, str):
        return [("record", f"cannot be believed: {record}")] if record else []
    level = level_of(record)
    counts = ", ".join(f"{phase} {count}" for phase, count in record.counts.items())
    broken = [("fault", clip(fault, 400)) for fault in record.faults]
    return [
        ("record", f"{len(record.records)} lines, none changed, removed or moved ({counts})"),
        *broken,
        ("isolation", level),
        ("what that does not say", LIMITS[level]),
        ("signature", "present; `sansdata verify --key` checks it" if record.signed else "none"),
        ("head", record.head),
    ]


def data_statement(directory: Path, clean: bool, strict: bool) -> str:
    """One paragraph on which data the student met. clean: the ledger holds no undeclared read; strict: one would have
    stopped the run."""
    record = checked(directory)
    if isinstance(record, str):
        if record:
            return f"The record of this run cannot be believed: {record} Nothing is claimed of the data that it met."
        how = "would have stopped the run" if strict else "would have been recorded"
        reads = f"The guard saw no undeclared read; one {how}." if clean else "Undeclared reads were recorded."
        return f"{reads} The run was not sealed: no record shows that its files are as it left them."
    if record.faults:
        return "The claim that no data was read does not hold: " + clip("; ".join(record.faults), 600) + "."
    level = level_of(record)
    local = sum(one.phase == "LOCAL" for one in record.records)
    later = f" Data of the house were met afterwards, in phases of their own ({local} record(s))." if local else ""
    return f"No data was read in the phase SEALED; isolation: {level}. {LIMITS[level]}{later}"
