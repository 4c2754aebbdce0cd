"""One run, one directory, one process group at a time.

What lies in the directory may be somebody else's doing: it is read by the openers of `files`, and a run is only
continued in a directory that holds nothing but plain files and folders.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from pathlib import Path
from typing import Any

from ..config import MAX_YAML_BYTES, parse_yaml
from ..errors import RunDirectoryError
from ..files import (
    absolute,
    exists,
    is_folder,
    is_own,
    open_in_place,
    own_folder,
    parse_json,
    read_json,
    read_regular,
    reason,
    remove,
    require_utf8,
    utc_now,
    write_atomic,
    write_json,
)

FINISHED = ("done", "truncated")
FILES = (
    "lock", "config.yaml", "run.json", "plan.json", "partition.json", "metrics.jsonl", "events.log", "ledger.json",
    "student.safetensors", "student.best.safetensors", "summary.json", "images.npz", "kept.npz", "tokenizer.json",
    "report.html", "chain.jsonl",
)  # fmt: skip
FOLDERS = ("checkpoints", "snapshots", "samples", "clients", "tensorboard", "ledger")
BEGUN = {"lock", "config.yaml", "partition.json", "ledger", "ledger.json", "chain.jsonl"}
"""What stands there before run.json does."""
MAX_LOG_BYTES = 256_000_000
"""Of metrics.jsonl."""


class RunDirectory:
    """The files of a run, and the lock on them. `docs/architecture.md` section 7 lists them.

    path: kept whole, so that a change of folder leads to no other run. kind: as run.json has it; '' is a run of
    `distill`.
    """

    def __init__(self, path: Path, kind: str = "") -> None:
        self.path, self.kind = absolute(path), kind
        self.touched = False
        """Whether this process has written something that is to stay."""
        self._lock: int | None = None
        self._before: set[str] | None = None
        """What stood in the directory when it was opened; None where there was none."""

    # -- opening

    def open(self, resume: bool) -> bool:
        """Creates or claims the directory. True where there is a run to continue.

        Raises RunDirectoryError: it exists and `resume` is off, holds something else, is finished, or is in use. What
        stands there is then as it was. ConfigError for a path that the student could not be read from.
        """
        require_utf8(self.path, "--out")
        if exists(self.path) and not self.path.is_dir():
            raise RunDirectoryError(f"--out {self.path} is a file; give a directory that does not exist yet")
        try:
            entries = sorted(p.name for p in self.path.iterdir()) if self.path.is_dir() else []
            if entries and not resume:
                raise RunDirectoryError(
                    f"--out {self.path} already exists. Continue it with --resume, or give another one."
                )
            continued = self._require_run(entries) if entries else False
            self._before = set(entries) if self.path.is_dir() else None
            self.path.mkdir(parents=True, exist_ok=True)
            self._claim()
        except OSError as fault:
            raise RunDirectoryError(f"--out {self.path} cannot be written: {reason(fault)}") from None
        return continued

    def _require_run(self, entries: list[str]) -> bool:
        """Whether a run of our kind can be continued here; False where one had only just begun."""
        if "run.json" not in entries:
            foreign = [name for name in entries if name not in BEGUN and not name.startswith(".tmp-")]
            if foreign or not self._is_lock():
                name = (foreign or entries)[0]
                raise RunDirectoryError(f"--out {self.path} holds no run of sansdata ({name} ...); give another one")
        self._require_plain()
        if "run.json" not in entries:
            return False
        manifest = self.manifest()
        kind, status = manifest.get("kind", ""), manifest.get("status")
        if kind != self.kind:
            ours = "sansdata federate" if kind == "federated" else "sansdata distill"
            raise RunDirectoryError(
                f"{self.path} is another kind of run; continue it with {ours}, or give another --out"
            )
        if status in FINISHED:
            raise RunDirectoryError(
                f"{self.path} is finished ({status}). For more, start a new run with --student {self.path}."
            )
        return True

    def _is_lock(self) -> bool:
        """Whether `lock` is one of ours: it holds the number of a process, or nothing."""
        try:
            return not read_regular(self.path / "lock", 32).strip(b"0123456789")
        except OSError:
            return False

    def _require_plain(self) -> None:
        """Raises RunDirectoryError where what a run writes or reads by name is something else than a run makes: a link
        through which it would reach elsewhere, a pipe at which it would wait for ever."""
        folders = [self.path]
        while folders:
            folder = folders.pop()
            for path in folder.iterdir():
                if folder == self.path and path.name not in (*FILES, *FOLDERS):
                    continue
                if is_folder(path) and path.name not in FILES:
                    folders.append(path)
                elif not is_own(path) or (folder == self.path and path.name in FOLDERS):
                    raise RunDirectoryError(
                        f"{path}: {_sort(path)}; a run is continued only where its files and folders are plain ones. "
                        "Nothing was changed"
                    )

    def _claim(self) -> None:
        with open_in_place(self.path / "lock") as file:
            handle = os.dup(file.fileno())
        try:
            fcntl.flock(
                handle, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # the kernel lets go when the process ends, however it ends
        except OSError:
            owner = os.pread(handle, 32, 0).decode(errors="replace").strip()
            os.close(handle)
            raise RunDirectoryError(
                f"{self.path} is in use by process {owner or '?'}. Wait for it, or give another --out."
            ) from None
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        self._lock = handle

    def release(self) -> None:
        """The lock names its owner only while it is held: a command that was refused leaves no byte changed."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def discard(self) -> None:
        """Removes what this process has just made: the input was wrong, and the next try should find the place free.
        What stood there before, or was put there by somebody else, stays."""
        before = self._before or set()
        with contextlib.suppress(OSError):
            for path in list(self.path.iterdir()):
                ours = path.name in (*FILES, *FOLDERS) or path.name.startswith(".tmp-")
                if ours and path.name not in before:
                    remove(path)
            if self._before is None:
                self.path.rmdir()

    # -- files

    def sweep(self) -> None:
        """Removes the half-written files that a crash left."""
        for folder in (self.path, *(self.path / name for name in ("snapshots", "samples", "ledger"))):
            if folder == self.path or is_folder(folder):
                for path in folder.glob(".tmp-*"):
                    if not is_folder(path):
                        path.unlink()

    def write_json(self, name: str, value: Any) -> None:
        self.touched = True
        write_json(self.path / name, value)

    def read_json(self, name: str) -> dict[str, Any]:
        """Raises RunDirectoryError where the file is missing, torn, no plain file, or holds no object."""
        try:
            value = read_json(self.path / name)
        except (OSError, ValueError) as fault:
            raise self._unreadable(name, fault) from None
        if not isinstance(value, dict):
            raise RunDirectoryError(f"{self.path / name}: expected a JSON object, got {type(value).__name__}")
        return value

    def write_text(self, name: str, text: str) -> None:
        self.touched = True
        write_atomic(self.path / name, text)

    def manifest(self) -> dict[str, Any]:
        return self.read_json("run.json")

    def settings(self) -> Any:
        """config.yaml as plain data. Raises RunDirectoryError."""
        try:
            text = read_regular(self.path / "config.yaml", MAX_YAML_BYTES).decode()
        except (OSError, ValueError) as fault:
            raise self._unreadable("config.yaml", fault) from None
        return parse_yaml(text, str(self.path / "config.yaml"), RunDirectoryError)

    def lines(self, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
        """The objects of a file with one a line, none where it is missing; a line that a crash cut is left out. Raises
        RunDirectoryError."""
        try:
            raw = read_regular(self.path / name, MAX_LOG_BYTES).splitlines()
        except FileNotFoundError:
            return []
        except OSError as fault:
            raise self._unreadable(name, fault) from None
        lines = []
        for text in raw:
            with contextlib.suppress(ValueError):
                lines.append(parse_json(text))
        return [line for line in lines if isinstance(line, dict)]

    def event(self, text: str) -> None:
        """A line in events.log."""
        self.touched = True
        with open_in_place(self.path / "events.log") as file:
            file.write(f"{utc_now()} {text}\n".encode(errors="replace"))

    def folder(self, name: str) -> Path:
        return own_folder(self.path / name)

    def _unreadable(self, name: str, fault: Exception) -> RunDirectoryError:
        if not self.path.is_dir():
            return RunDirectoryError(f"{self.path}: expected a run directory, found no directory there")
        return RunDirectoryError(f"{self.path / name} cannot be read ({reason(fault)}); is {self.path} a run?")


def at(tree: Any, *path: str) -> Any:
    """What stands at a path of nested mappings, None where nothing does: run.json may have any shape."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _sort(path: Path) -> str:
    mode = os.lstat(path).st_mode
    sorts = (
        (stat.S_ISLNK, "a link"), (stat.S_ISDIR, "a folder"), (stat.S_ISREG, "a file with a second name, or in the "
        "place of a folder"),
    )  # fmt: skip
    return next((name for test, name in sorts if test(mode)), "a pipe or a device")
