"""Three phases with three rights, each a command of its own: SEALED makes the student and meets no data, LOCAL meets
the data of the house (to validate, to fine-tune), REPORT lets only aggregates leave.

A phase that was broken is a record in the chain. No process removes it: whoever reads the run is told, for ever.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from ...errors import SealError
from ...files import read_json
from ..guard.ledger import UNREADABLE, read_ledger
from ..guard.paths import below
from . import chain
from .chain import Record

Phase = Literal["SEALED", "LOCAL", "REPORT"]
BEGUN, RESUMED, STOPPED, ENDED, SIGNED = "begun", "resumed", "stopped", "sealed", "signed"
MODELS = frozenset(("teacher", "key", "helper", "student", "task", "config", "code", "system", "run",
                    "program"))  # fmt: skip
"""Roles of files that are no data, wherever they lie."""
BROKEN = "broken"
"""The event of a record that says that a phase was broken, and how."""


def record_phase(
    run_dir: Path,
    phase: Phase,
    event: str,
    facts: Mapping[str, Any] | None = None,
    files: Iterable[str] = (),
    data: str | Path | Iterable[str | Path | None] | None = None,
) -> str:
    """Adds what a verb did to the chain of a sealed run; of any other run, nothing. Every verb that opens data beside a
    run, or writes into its directory, calls this once it is done; one that declares something first, or takes a
    while, before it opens them too.

    event: the verb in the past, such as 'evaluated' or 'fine-tuned'. facts: plain values, aggregates only. files: names
    of those in the run directory that it wrote. data: a file or folder of the house's data that it read, or several.

    Gives '' or, where nothing could be recorded, why.
    """
    if not is_sealed(run_dir):
        return ""
    sets = [data] if data is None or isinstance(data, (str, Path)) else list(data)
    met = [os.path.realpath(one) for one in sets if one is not None and os.path.exists(one)]
    there = {"data": met if len(met) > 1 else met[0]} if met else {}
    try:
        records = chain.read(run_dir)
        for how in _broken_by(run_dir, records, phase, met):
            if how not in broken(records):
                chain.append(run_dir, phase, BROKEN, {"how": how})
        chain.append(run_dir, phase, event, {**(facts or {}), **there}, files)
    except (SealError, ValueError) as fault:
        return f"{fault}; this step is not in the record of the run"
    return ""


def is_sealed(run_dir: Path) -> bool:
    """Whether a run directory says of itself that it is a sealed run's, by its chain or by its manifest."""
    if os.path.lexists(run_dir / chain.CHAIN):
        return True
    try:
        manifest = read_json(run_dir / "run.json")
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and isinstance(manifest.get("sealed"), dict)


def broken(records: Iterable[Record]) -> list[str]:
    """How phases were broken, in the words of the records."""
    return [str(record.facts.get("how", "")) for record in records if record.event == BROKEN]


def has_ended(records: Iterable[Record]) -> bool:
    """Whether the phase SEALED came to its end."""
    return any(record.phase == "SEALED" and record.event == ENDED for record in records)


def met_data(records: Iterable[Record]) -> bool:
    """Whether a LOCAL verb has been at the run."""
    return any(record.phase == "LOCAL" for record in records)


def _broken_by(run_dir: Path, records: list[Record], phase: Phase, sets: Iterable[str]) -> list[str]:
    """What a verb of this phase breaks by being done now."""
    if phase != "LOCAL":
        return []
    faults = []
    if not has_ended(records):
        faults.append("LOCAL data was met before the phase SEALED had ended")
    read = [path for data in sets if (path := _read_while_sealed(run_dir, data))]
    faults += [f"the phase SEALED read {path}, which lies in what is LOCAL data now" for path in dict.fromkeys(read)]
    return faults


def _read_while_sealed(run_dir: Path, data: str) -> str:
    """A file of the ledger that lies in `data`, or ''."""
    ledger = read_ledger(run_dir)
    if any(one.get("event") == UNREADABLE for one in ledger.get("violations", [])):
        return "what nobody knows, since its ledger cannot be read: it may be a file"
    paths = [str(one.get("path")) for one in ledger.get("files", []) if one.get("role") not in MODELS]
    return next((path for path in paths if below(path, data)), "")
