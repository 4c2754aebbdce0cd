"""A run that begins with what an earlier run of the same teacher made: its generator and its samples know nothing of
the earlier student, and cost most of a short run.

The earlier directory is as untrusted as any: it is read by the openers of a checkpoint, and only the parts that the
method lends are taken from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ConfigError, ResumeError
from ..files import by_step, is_folder, is_regular
from .checkpoint import MANIFEST, Checkpoints
from .run_directory import RunDirectory, at
from .session import Session

CHECKPOINTS = "checkpoints"


def files_of(earlier: Path) -> dict[Path, str]:
    """What is read of it, with the role of each file in the ledger; nothing where it is gone."""
    files = [earlier / "run.json"]
    folders = [folder for _, folder in by_step(earlier / CHECKPOINTS) if is_folder(folder)]
    files += [file for folder in folders for file in (folder / MANIFEST, *sorted(folder.glob("rank-*")))]
    return {file: "earlier run" for file in files if is_regular(file)}


def begin_with(session: Session, earlier: Path, manifest: dict[str, Any]) -> str:
    """Puts the parts that the method lends into a session that has made no move; gives a line about them.

    manifest: of the run that begins. Raises ConfigError where the earlier run had another method, teacher, task or
    number of processes, holds no whole checkpoint, or had other settings.
    """
    where = f"--images-of {earlier}"
    _require_same(where, RunDirectory(earlier).manifest(), manifest)
    checkpoints = Checkpoints(earlier / CHECKPOINTS, session.runtime)
    newest, faults = checkpoints.newest()
    if newest is None:
        raise ConfigError(f"{where}: holds no whole checkpoint. " + ("; ".join(faults) or "It was taken away."))
    lent = session.method.lends
    state = session.state()
    parts = {name: state[name] for name in (f"method.{part}" for part in lent)}  # the session has an 'optimizer' too
    try:
        checkpoints.load(newest, parts, whole=False)
    except ResumeError as fault:
        raise ConfigError(f"{where}: {fault}. Give the method the settings that it had there") from None
    return f"begins with the {', '.join(lent)} of {earlier} ({newest.name})"


def _require_same(where: str, earlier: dict[str, Any], later: dict[str, Any]) -> None:
    facts = {
        "method": ("method",), "teacher": ("teacher", "fingerprint"), "task": ("task",),
        "number of processes": ("world",),
    }  # fmt: skip
    for name, path in facts.items():
        if at(earlier, *path) != at(later, *path):
            shown = f": {at(earlier, *path)!s:.60}" if name in ("method", "number of processes") else ""
            raise ConfigError(f"{where}: that run had another {name}{shown}. Its images are of use for the same alone")
