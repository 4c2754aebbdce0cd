"""The judge of a run: what may be read, what was read, what was not declared, and what could not be followed."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ...errors import NoDataViolation
from ...files import sha256, utc_now
from . import events, kernel
from .code import Code
from .paths import below
from .readers import watched_readers
from .system import is_run_file, is_system, keeps_no_bytes

Mode = Literal["strict", "record"]
MAX_HASHED = 1 << 34
"""Bytes: the limit of model files. What is larger is listed with its size alone: a file may be one large hole."""
NATIVE_READERS = (
    "pyarrow", "h5py", "polars", "duckdb", "lmdb", "netCDF4", "tables", "cv2", "av", "decord", "torchcodec",
    "torchaudio", "soundfile", "rasterio", "osgeo", "tensorflow", "nvidia.dali", "kvikio", "xgboost", "lightgbm",
    "catboost", "_gdbm", "_dbm",
)  # fmt: skip
"""Libraries that open data files by code of their own, which neither Python nor this guard sees."""
LISTED = 5_000
"""Entries of one kind that a record lists. What goes beyond is counted: a record that outgrew its readers would be as
good as none."""
SLACK = 2_000_000
"""Bytes that a process reads beyond the files it opens: links of shared libraries, tables of the kernel."""


class NoDataGuard:
    """Armed inside `with`. strict: a read that was not declared raises NoDataViolation; record: it is noted.

    declared: path -> role ('teacher', 'student', 'config', ...); a directory stands for all below it. offline: no
    socket is made or connected, not even to this machine, where another process could hand data over.
    """

    def __init__(
        self, mode: Mode, declared: Mapping[Path, str], run_directory: Path, offline: bool = False
    ) -> None:  # fmt: skip
        self.mode: Mode = mode
        self.offline = offline
        self.declared: dict[str, str] = {}
        self.declare(declared)
        self.run_directory = os.path.realpath(run_directory)
        self.code = Code()
        self.files: dict[tuple[Any, ...], dict[str, Any]] = {}
        """(path, role, size, time of change) -> its entry in the ledger, made at the first read."""
        self.below: dict[str, int] = {}
        """Pool folder -> reads below it: many thousands, told as one entry."""
        self.pools: dict[str, Mapping[str, Any]] = {}
        self.own: set[str] = set()
        """Files that this process created while armed."""
        self.hosts: dict[tuple[str, int], str] = {}
        """Services that may be asked: (host, port) -> what the ledger calls it."""
        self.programs: dict[str, str] = {}
        """Programs that may be started: real path -> name."""
        self.violations: list[dict[str, Any]] = []
        """The first of those that were not declared."""
        self.undeclared = 0
        """How many there were in all."""
        self.unwatched: list[dict[str, Any]] = []
        """What happened and could not be followed."""
        self.began_at: str | None = None
        self.sealed_at: str | None = None
        self._inherited: dict[int, kernel.Descriptor] = {}
        self._kept: int | None = None
        """The descriptor behind which standard input waits for the end of a strict run."""
        self._mapped_before: set[str] = set()
        self._bytes_before: int | None = None
        self._bytes_seen = 0
        self._noted: set[tuple[str, str]] = set()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> NoDataGuard:
        with contextlib.ExitStack() as stack:
            events.arm(self)
            stack.callback(events.disarm)
            with events.own_reads():
                self._kept = stack.enter_context(kernel.closed_input()) if self.mode == "strict" else None
                stack.enter_context(watched_readers())
                self._remember_what_is_open()
            self.began_at = utc_now()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with events.own_reads():
            self.look_around()
        self._stack.close()
        self.sealed_at = utc_now()

    def declare(self, inputs: Mapping[Path, str]) -> None:
        """Adds to what may be read: path -> role."""
        self.declared |= {os.path.realpath(path): role for path, role in inputs.items()}

    def declare_services(self, services: Mapping[tuple[str, int], str]) -> None:
        """Adds to what may be connected to: (host, port) -> its name in the ledger."""
        self.hosts |= dict(services)

    def declare_programs(self, programs: Mapping[Path, str]) -> None:
        """Adds to what may be started: path -> its name in the ledger."""
        self.programs |= {os.path.realpath(path): name for path, name in programs.items()}

    def starts(self, program: str, event: str) -> None:
        """Judges the start of another program: of a declared one the ledger has the hash, and that nobody followed what
        it read."""
        with events.own_reads():
            path = os.path.realpath(program)
            if os.path.isabs(program) and path in self.programs:
                self._enter(path, "program")
                self.not_followed("a program that was declared", f"{self.programs[path]}: {path}")
                return
        self.refuse(f"<process: {program[:80]}>", event)

    def connects(self, address: Any, event: str) -> None:
        """Judges a connection to another machine: to a declared service, whatever its host's addresses are now."""
        with events.own_reads():
            for (host, port), name in self.hosts.items():
                if port == address[1] and address[0] in _addresses(host, port):
                    self.not_followed("a service that was declared", name)
                    return
        self.refuse(f"<network: {address}>", event)

    def vouch(self, pool: Mapping[str, Any]) -> None:
        """What the reader of a pool saw ('path', 'sha256', 'bytes', 'skipped'), for its one entry in the ledger."""
        self.pools[os.path.realpath(pool["path"])] = pool

    def check(self) -> None:
        """Raises NoDataViolation in a strict run where a violation was noted, even if other code swallowed it."""
        if self.mode == "strict" and self.violations:
            raise NoDataViolation(_message(self.violations[0]))

    # -- what the events tell

    def saw(self, path: str, event: str = "open", counted: bool = True) -> None:
        """Judges one read. counted: by system calls, so that the kernel counts its bytes."""
        with events.own_reads():
            full = os.path.realpath(path)
            role = self.role_of(full)
            if role is None and self.code.loads(full, _caller()):
                role = "code"
            if counted:
                self._count(full)
            if role is None:
                self.refuse(full, event)
            elif role == "pool":
                self._count_in_pool(full)
            elif role not in ("code", "own", "directory"):
                self._enter(full, role)

    def saw_descriptor(self, number: int, event: str) -> None:
        """Judges what is read through a descriptor: a file by its path, a pipe by who made it."""
        with events.own_reads():
            known = kernel.descriptor(number)
            if known is None:
                return
            if known.is_file:
                self.saw(known.target, event, counted=False)
            elif self._inherited.get(number) == known and not known.target.startswith("/"):
                self.refuse(f"<descriptor {number}: {known.target}>", event)

    def made(self, path: str) -> None:
        """A file that begins here."""
        self.own.add(os.path.realpath(path))

    def moved(self, source: str, target: str, event: str) -> None:
        """A file, or a folder with all below it, has got another name. What is not ours was read by that."""
        with events.own_reads():
            source, target = os.path.realpath(source), os.path.realpath(target)
            ours = {path for path in self.own if below(path, source)}
            self.own -= {path for path in self.own if below(path, target)} | (ours if event == "os.rename" else set())
            self.own |= {target + path.removeprefix(source) for path in ours}
            if not ours and os.path.isfile(source) and self.role_of(source) is None:
                self.refuse(source, event)

    def loads_library(self, name: str) -> None:
        """A shared library that code opens for itself."""
        if os.sep not in name:
            self.not_followed("a native library", name)
        elif self.role_of(os.path.realpath(name)) is None:
            self.refuse(os.path.realpath(name), "ctypes.dlopen")

    def refuse(self, what: str, event: str) -> None:
        """Notes what was not declared; stops a strict run."""
        self._note(what, event)
        if self.mode == "strict":
            raise NoDataViolation(_message({"path": what, "event": event}))

    def not_followed(self, what: str, name: str) -> None:
        """Notes what may have read something out of sight, once."""
        if (what, name) not in self._noted and len(self.unwatched) <= LISTED:
            self._noted.add((what, name))
            if len(self.unwatched) == LISTED:
                what, name = "more than can be listed", f"beyond the first {LISTED:,}"
            self.unwatched.append({"what": what, "name": name, "when": utc_now()})

    # -- what a file is

    def role_of(self, path: str) -> str | None:
        """What a real path is to this run; None where it is nothing that was declared.

        'own': this process made it. 'run': an earlier process of the run, or another of its group, has written it.
        """
        if path in self.own:
            return "own"
        if below(path, self.run_directory) and is_run_file(os.path.relpath(path, self.run_directory)):
            return "run"
        for root, role in self.declared.items():
            if below(path, root):
                return role
        if self.code.owns(path):
            return "code"
        if is_system(path):
            return "system"
        if below(path, self.run_directory) and not os.path.lexists(path):  # moved away: the opening itself will say so
            return "directory"
        return "directory" if os.path.isdir(path) else None

    # -- what the kernel tells

    def look_around(self) -> None:
        """Compares what is open and mapped with what was; a read that no event told of is noted."""
        with events.own_reads():
            now, mapped = kernel.descriptors(), kernel.mapped_files() - self._mapped_before
            for number, before in self._inherited.items():
                known = now.get(number)
                if known is None or known.target != before.target or known == before:
                    continue
                if number == self._kept:  # a shell that reads a list and starts a run for each line moves on in it
                    self.not_followed("standard input, in which another process read on", known.target)
                else:
                    self._note_file(known.target, "read through an inherited descriptor")
            inherited = {one.target for one in self._inherited.values()}
            for path in {one.target for one in now.values() if one.is_file} - inherited:
                self._note_file(path, "left open")
            for path in mapped:
                if below(path, "/dev/shm"):  # libraries of devices and of several processes talk there
                    self.not_followed("shared memory", path)
                else:
                    self._note_file(path, "mapped into memory")
            for name in NATIVE_READERS:
                if name in sys.modules:
                    self.not_followed("a library that opens files by itself", name)

    def bytes_read(self) -> dict[str, int] | None:
        """What the kernel counted for this process since the watch began, beside the sizes of the files it was seen to
        open; None where the system does not count."""
        with events.own_reads():
            now = kernel.bytes_read()
        if now is None or self._bytes_before is None:
            return None
        return {"counted": now - self._bytes_before, "seen": self._bytes_seen}

    def _remember_what_is_open(self) -> None:
        self._inherited, self._mapped_before = kernel.descriptors(), kernel.mapped_files()
        for number, one in self._inherited.items():
            if number == self._kept:
                continue
            if one.is_file and self.role_of(one.target) is None:
                self.not_followed("a file that was open before the watch", f"descriptor {number}: {one.target}")
            elif number == 0 and not one.target.startswith("/"):
                self.not_followed("standard input", one.target)
        for path in self._mapped_before:
            if self.role_of(path) is None:
                self.not_followed("a file that was in memory before the watch", path)
        self._bytes_before = kernel.bytes_read()

    # -- entries

    def record(self) -> dict[str, Any]:
        """What this process has to say: its part of the ledger. undeclared: how many violations there were, of which
        the first are listed."""
        files = sorted([*self.files.values(), *map(self._pool_entry, self.below)], key=lambda entry: entry["path"])
        counted = self.bytes_read()
        unwatched = list(self.unwatched)
        if counted is not None and (excess := counted["counted"] - counted["seen"]) > SLACK:
            unwatched.append({
                "what": "bytes read beyond those of the files that were seen to be opened",
                "name": f"{excess:,}", "when": utc_now(),
            })  # fmt: skip
        return {
            "mode": self.mode, "began": self.began_at, "sealed": self.sealed_at, "process": os.getpid(),
            "files": files[:LISTED], "violations": self.violations, "undeclared": self.undeclared,
            "unwatched": unwatched + beyond(files), "bytes_read": counted,
        }  # fmt: skip

    def _enter(self, path: str, role: str) -> None:
        """The hash of a file is that of its first read; one that others have changed since gets another entry."""
        if keeps_no_bytes(path):
            self.files.setdefault((path,), {"path": path, "role": role, "sha256": None, "bytes": None})
            return
        try:
            status = os.stat(path)
            state = (path,) if role == "run" else (path, status.st_ino, status.st_size, status.st_mtime_ns)
            if state not in self.files and os.path.isfile(path):
                self._bytes_seen += status.st_size  # what is hashed is read once more
                content = sha256(Path(path)) if status.st_size <= MAX_HASHED else None
                entry = {"path": path, "role": role, "sha256": content, "bytes": status.st_size}
                if entry not in self.files.values():
                    self.files[state] = entry
        except OSError:
            self.files.setdefault((path,), {"path": path, "role": role, "sha256": None, "bytes": None})

    def _count(self, path: str) -> None:
        with contextlib.suppress(OSError):
            self._bytes_seen += os.stat(path).st_size

    def _count_in_pool(self, path: str) -> None:
        root = next(root for root, role in self.declared.items() if role == "pool" and below(path, root))
        self.below[root] = self.below.get(root, 0) + (path != root)

    def _pool_entry(self, root: str) -> dict[str, Any]:
        """How many `files` of a pool were opened, and the hash over those that could be used."""
        pool = self.pools.get(root, {})
        entry = {name: pool.get(name) for name in ("sha256", "bytes", "skipped")}
        return {"path": root, "role": "pool", **entry, "files": self.below[root]}

    def _note_file(self, path: str, event: str) -> None:
        if self.role_of(path) is None:
            self._note(path, event)

    def _note(self, path: str, event: str) -> None:
        if (path, event) not in self._noted:
            self._noted.add((path, event))
            self.undeclared += 1
            if len(self.violations) < LISTED:
                self.violations.append({"path": path, "event": event, "when": utc_now()})


def beyond(files: list[Any]) -> list[dict[str, Any]]:
    """The entry of `unwatched` that stands for the files that a record does not list, where there are any."""
    if len(files) <= LISTED:
        return []
    return [{"what": "files read beyond those that are listed", "name": f"{len(files) - LISTED:,}", "when": utc_now()}]


def _addresses(host: str, port: int) -> set[str]:
    """Of a host by name, as the system resolves it now."""
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError:
        return set()


def _caller() -> Any:
    """The frame outside this package that opened a file."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__package__") == __package__:
        frame = frame.f_back
    return frame


def _message(violation: Mapping[str, Any]) -> str:
    return (
        f"a strict run may not read {violation['path']} ({violation['event']}): it is no declared input, no code and "
        "not the run directory. If it belongs to the teacher or student, name it in the spec; data stays closed."
    )
