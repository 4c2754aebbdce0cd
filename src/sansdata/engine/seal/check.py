"""What the chain of a run says, and whether it can be believed."""

from __future__ import annotations

import base64
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import SealError
from ...files import is_regular, sha256
from ...signing import Key, verified
from . import chain, phases
from .chain import Record
from .sealing import BOUND, MESSAGE, OF_SAMPLES, SAMPLES

LATER_FILES = ("evaluation.json", "validation.json", "audit.json", "exports.json")
"""Files of a run that later verbs make, each of which records them."""


@dataclass(frozen=True)
class Checked:
    """A chain that is whole. faults: what else keeps the run from being what it claims, none where it is. signer:
    fingerprint of the key by which the end was checked, None where no key was given."""

    records: tuple[Record, ...]
    faults: tuple[str, ...]
    signed: bool
    signer: str | None

    @property
    def head(self) -> str:
        """The hash of the last record: it stands for everything before it."""
        return self.records[-1].hash

    @property
    def isolation(self) -> dict[str, Any]:
        """As the last process that began found it."""
        begun = [one.facts.get("isolation") for one in self.records if one.event in (phases.BEGUN, phases.RESUMED)]
        return next((one for one in reversed(begun) if isinstance(one, dict)), {})

    @property
    def levels(self) -> list[str]:
        """The level of each process that made the student: the weakest counts."""
        begun = [one.facts.get("isolation") for one in self.records if one.event in (phases.BEGUN, phases.RESUMED)]
        return [str(one.get("level")) for one in begun if isinstance(one, dict)]

    @property
    def counts(self) -> dict[str, int]:
        """Records of each phase."""
        return dict(Counter(record.phase for record in self.records))


def check(run_dir: Path, key: Key | None = None) -> Checked:
    """Reads and judges the chain of a run directory. Raises SealError where there is none, or where a line of it was
    changed, removed or moved."""
    records = chain.read(run_dir)
    if not records:
        raise SealError(f"{run_dir}: holds no {chain.CHAIN}, so it is no sealed run, or its record was taken away")
    faults = [f"a phase was broken: {how}" for how in phases.broken(records)]
    if records[0].event != phases.BEGUN and not faults:
        faults.append("the record does not begin with the beginning of the run")
    if not phases.has_ended(records):
        faults.append("the phase SEALED has not ended")
    faults += chain.changed_files(run_dir, records)
    faults += _changed_samples(run_dir, [one for one in records if one.event == phases.ENDED])
    for name in LATER_FILES:
        if os.path.lexists(run_dir / name) and not any(name in one.files for one in records):
            faults.append(f"{name} is in no record: the record of the step that made it is gone or was never made")
    signed = [record for record in records if record.event == phases.SIGNED]
    if key is not None:
        faults += _signature_faults(run_dir, records, signed, key)
    faults = list(dict.fromkeys(faults))
    return Checked(tuple(records), tuple(faults), bool(signed), None if key is None else key.fingerprint)


def _changed_samples(run_dir: Path, ends: list[Record]) -> list[str]:
    """Samples that are there and not as the last end has them."""
    hashes = ends[-1].facts.get(OF_SAMPLES) if ends else None
    if not isinstance(hashes, dict):
        return []
    there = [name for name in SAMPLES if os.path.lexists(run_dir / name)]
    return [
        f"{name} was changed after it was recorded" if name in hashes else f"{name} was not there at the end"
        for name in there if not is_regular(run_dir / name) or sha256(run_dir / name) != hashes.get(name)
    ]  # fmt: skip


def _signature_faults(run_dir: Path, records: list[Record], signed: list[Record], key: Key) -> list[str]:
    """What is not as the key signed it. Whoever can write in the directory can add records, but not this one: so the
    files are held against the end that is signed, and not against what a later record says of them."""
    if not signed:
        return ["its end is not signed, and a key was given"]
    last = signed[-1]
    of = next((record for record in records if record.hash == last.facts.get("of")), None)
    if of is None or of.event != phases.ENDED or of.n > last.n:
        return ["the signature is of no record of an end that is there"]
    try:
        signature = base64.b64decode(str(last.facts.get("signature")), validate=True)
    except ValueError:
        signature = b""
    if not verified(key, MESSAGE + of.hash.encode(), signature):
        return [f"the signature is not by the key {key.file}"]
    faults = [*chain.changed_files(run_dir, [of]), *_changed_samples(run_dir, [of])]
    for name in BOUND:
        if name not in of.files and os.path.lexists(run_dir / name):
            faults.append(f"{name} was not there at the end that is signed")
    for record in records[of.n + 1 :]:
        if record.event in (phases.BEGUN, phases.RESUMED, phases.ENDED):
            faults.append(f"the run went on after the end that is signed (record {record.n}: {record.event})")
    return faults
