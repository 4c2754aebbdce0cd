"""One run, one directory, one process group at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from typing import Any

from ..errors import RunDirectoryError
from ..files import exists, utc_now, write_atomic, write_json

FINISHED = ("done", "truncated")


class RunDirectory:
    """The files of a run, and the lock on them. `docs/architecture.md` section 7 lists them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    # -- opening

    def open(self, resume: bool) -> bool:
        """Creates or claims the directory. True where there is a run to continue.

        Raises RunDirectoryError: it exists and `resume` is off, holds something else, is finished, or is in use.
        """
        if exists(self.path) and not self.path.is_dir():
            raise RunDirectoryError(f"--out {self.path} is a file; give a directory that does not exist yet")
        entries = [p.name for p in self.path.iterdir()] if self.path.is_dir() else []
        if entries and not resume:
            raise RunDirectoryError(
                f"--out {self.path} already exists. Continue it with --resume, or give another one."
            )
        if entries and not (self.path / "run.json").is_file() and not (self.path / "lock").is_file():
            raise RunDirectoryError(f"--out {self.path} holds no run of sansdata ({entries[0]} ...); give another one")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._claim()
        except OSError as fault:
            raise RunDirectoryError(f"--out {self.path} cannot be written: {fault.strerror}") from None
        if not (self.path / "run.json").is_file():
            return False
        status = self.manifest()["status"]
        if status in FINISHED:
            self.release()
            raise RunDirectoryError(
                f"{self.path} is finished ({status}). For more, start a new run with --student {self.path}."
            )
        return True

    def _claim(self) -> None:
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(
                handle, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # the kernel lets go when the process ends, however it ends
        except OSError:
            owner = os.read(handle, 32).decode(errors="replace").strip()
            os.close(handle)
            raise RunDirectoryError(
                f"{self.path} is in use by process {owner or '?'}. Wait for it, or give another --out."
            ) from None
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        self._lock = handle

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def discard(self) -> None:
        """Removes what `open` has just created: the input was wrong, and the next try should find the place free."""
        with contextlib.suppress(OSError):
            # Not shutil.rmtree: it opens folders by names relative to others, which the no-data guard cannot place.
            for path in sorted(self.path.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            self.path.rmdir()

    # -- files

    def sweep(self) -> None:
        """Removes the half-written files that a crash left."""
        for folder in (self.path, *(self.path / name for name in ("snapshots", "samples", "ledger"))):
            for path in folder.glob(".tmp-*"):
                path.unlink()

    def write_json(self, name: str, value: Any) -> None:
        write_json(self.path / name, value)

    def read_json(self, name: str) -> Any:
        """Raises RunDirectoryError where the file is missing or torn."""
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as fault:
            raise RunDirectoryError(f"{self.path / name} cannot be read ({fault}); is {self.path} a run?") from None

    def write_text(self, name: str, text: str) -> None:
        write_atomic(self.path / name, text)

    def manifest(self) -> dict[str, Any]:
        return self.read_json("run.json")

    def event(self, text: str) -> None:
        """A line in events.log."""
        stamp = utc_now()
        with open(self.path / "events.log", "a", encoding="utf-8") as file:
            file.write(f"{stamp} {text}\n")

    def folder(self, name: str) -> Path:
        path = self.path / name
        path.mkdir(exist_ok=True)
        return path
