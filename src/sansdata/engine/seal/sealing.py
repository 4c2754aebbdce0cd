"""A run that is sealed: what it writes into its chain, and the signature at its end."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import ConfigError, NoDataViolation, SealError
from ...files import is_regular, sha256, user_path
from ...signing import ED25519, Key, private_key, sign
from ..guard.ledger import read_ledger, undeclared
from ..guard.no_data import NoDataGuard
from . import chain, phases
from .chain import Record
from .isolation import detect

BOUND = ("config.yaml", "run.json", "plan.json", "metrics.jsonl", "events.log", "ledger.json", "summary.json",
         "student.safetensors", "student.best.safetensors", "tokenizer.json")  # fmt: skip
"""Files of a run that its end binds."""
SAMPLES = ("images.npz", "kept.npz")
"""Files that a house may have to delete: their hashes are facts of the end under `OF_SAMPLES`, and their absence is no
fault."""
OF_SAMPLES = "samples"
MESSAGE = b"sansdata: the record of a sealed run ends with "
"""What is signed: this, and the hash of the record."""


class Seal:
    """The seal of one process. key: private, to sign the end with."""

    def __init__(self, directory: Path, guard: NoDataGuard, key: Key | None) -> None:
        self.directory, self.guard, self.key = directory, guard, key
        self.isolation = detect(directory, guard.declared).to_dict()

    def begin(self, manifest: Mapping[str, Any], continued: bool) -> None:
        """Writes who begins, on what, and how far it is cut off. Raises SealError where the chain of a run that is
        continued was tampered with, or is not there."""
        records = chain.read(self.directory)
        if continued and not records:
            raise SealError(f"{self.directory}: is no sealed run so far; what was done in it stands in no record")
        if phases.met_data(records):
            self._say_broken("the phase SEALED goes on after LOCAL data was met")
        teacher = manifest.get("teacher")
        facts = {
            "isolation": self.isolation,
            "config_hash": manifest.get("config_hash"), "sansdata": manifest.get("sansdata"),
            "versions": manifest.get("versions"), "machine": manifest.get("machine"),
            "method": manifest.get("method"), "seed": manifest.get("seed"),
            "teacher": {name: teacher.get(name) for name in ("source", "sha256", "fingerprint")}
            if isinstance(teacher, dict) else None,
            "selection": "by agreement with the teacher on inputs made without data; real data chooses nothing",
        }  # fmt: skip
        chain.append(self.directory, "SEALED", phases.RESUMED if continued else phases.BEGUN, facts)

    def stop(self, status: str, fault: BaseException) -> None:
        """Writes that the run did not come to its end, and what it was stopped for. Best effort."""
        with contextlib.suppress(SealError, OSError, ValueError):
            if isinstance(fault, NoDataViolation):
                self._say_violations(fault)
            chain.append(self.directory, "SEALED", phases.STOPPED, {"status": status, "why": str(fault)[:500]})

    def end(self, status: str) -> Record:
        """Binds every file of the run, and signs where there is a key. Raises SealError."""
        samples = {name: sha256(self.directory / name) for name in SAMPLES if is_regular(self.directory / name)}
        ledger = _summary(self.directory)
        if ledger.get("violations"):
            self._say_broken(f"the ledger holds {ledger['violations']} undeclared read(s)")
        facts = {"status": status, OF_SAMPLES: samples, "ledger": ledger, "isolation": self.isolation["level"]}
        record = chain.append(self.directory, "SEALED", phases.ENDED, facts, BOUND)
        if self.key is not None:
            record = sign_end(self.directory, self.key, record)
        return record

    def _say_violations(self, fault: NoDataViolation) -> None:
        for violation in self.guard.violations[:20]:
            how = f"{violation['event']} of {violation['path']} at {violation['when']}, which was not declared"
            self._say_broken(how)
        if not self.guard.violations:
            self._say_broken(str(fault)[:500])

    def _say_broken(self, how: str) -> None:
        chain.append(self.directory, "SEALED", phases.BROKEN, {"how": how})


def signing_key(file: str | Path) -> Key:
    """The Ed25519 key that signs records. Raises ConfigError for a key of another sort."""
    key = private_key(user_path(file, "sign"))
    if key.sort != ED25519:
        raise ConfigError(f"{file}: records are signed by an Ed25519 key: openssl genpkey -algorithm ed25519 -out KEY")
    return key


def sign_end(directory: Path, key: Key, record: Record) -> Record:
    """Signs the hash of a record, and by that everything before it. Raises SealError, ConfigError."""
    signature = base64.b64encode(sign(key, MESSAGE + record.hash.encode())).decode()
    facts = {"signature": signature, "of": record.hash, "key": key.fingerprint}
    return chain.append(directory, "SEALED", phases.SIGNED, facts)


def _summary(directory: Path) -> dict[str, Any]:
    """What the ledger says, in numbers."""
    ledger = read_ledger(directory)
    if not ledger:
        return {}
    counted = {name: len(ledger.get(name) or ()) for name in ("files", "unwatched")}
    return {"files": counted["files"], "violations": undeclared(ledger), "unwatched": counted["unwatched"]}
