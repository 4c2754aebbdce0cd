"""The watch on what a run reads: evidence that no data was opened, not a sandbox.

One audit hook, installed once and armed per run, sees every file that Python opens. Readers written in C or Rust that
it cannot see (safetensors, torch.from_file) are wrapped while it is armed; open descriptors are compared at the end.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from ..errors import NoDataViolation
from ..files import sha256, utc_now

Mode = Literal["strict", "record"]

CODE_SUFFIXES = (".py", ".pyc", ".pyi", ".so", ".pyd", ".dll", ".dylib", ".typed", ".h", ".cpp")
SYSTEM = (
    "/proc/", "/sys/", "/dev/", "/etc/", "/run/", "/usr/share/zoneinfo", "/usr/share/locale", "/usr/lib/locale",
    "/usr/share/i18n", "/usr/share/terminfo", "/lib/terminfo", "/usr/share/fonts", "/usr/lib/ssl",
    "/var/cache/fontconfig",
    "/usr/lib/x86_64-linux-gnu/gconv", "/usr/lib/aarch64-linux-gnu/gconv",
)  # fmt: skip
STAGED = ("/dev/shm/", "/run/media/", "/run/user/", "/run/mount/")
"""Below the system's folders, but people put data there."""
DEVICE_CACHES = (".nv", ".triton", ".cache/torch/kernels", ".cache/torch_extensions")
PROCESS_EVENTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.startfile")

_armed: NoDataGuard | None = None
_installed = False
_own = threading.local()
"""`_own.busy`: the guard itself is reading, to hash."""


class NoDataGuard:
    """Armed inside `with`. strict: a read that was not declared raises NoDataViolation; record: it is noted.

    declared: path -> role ('teacher', 'student', 'config', ...); a directory stands for all below it.
    """

    def __init__(self, mode: Mode, declared: Mapping[Path, str], run_directory: Path) -> None:
        self.mode: Mode = mode
        self.declared: dict[str, str] = {}
        self.declare(declared)
        self.run_directory = os.path.realpath(run_directory)
        self.read: dict[str, str] = {}
        self.below: dict[str, int] = {}
        """Pool folder -> reads below it: many thousands, told as one entry."""
        self.pools: dict[str, Mapping[str, Any]] = {}
        self.made: set[str] = set()
        """Files that this process created while armed."""
        self.violations: list[dict[str, Any]] = []
        self.sealed_at: str | None = None
        self._undo: list[Callable[[], None]] = []

    def __enter__(self) -> NoDataGuard:
        global _armed, _installed
        if _armed is not None:
            raise RuntimeError("a no-data run is already under way in this process")
        self._wrap_unseen_readers()
        self._open_before = _open_files()
        if not _installed:
            sys.addaudithook(_hook)
            _installed = True
        _armed = self
        return self

    def __exit__(self, *_: object) -> None:
        global _armed
        _armed = None
        for undo in self._undo:
            undo()
        self._undo.clear()
        for path in _open_files() - self._open_before:
            if self.role_of(path) is None:
                self._note(path, "left open")
        self.sealed_at = utc_now()

    def declare(self, inputs: Mapping[Path, str]) -> None:
        """Adds to what may be read: path -> role."""
        self.declared |= {os.path.realpath(path): role for path, role in inputs.items()}

    def vouch(self, pool: Mapping[str, Any]) -> None:
        """What the reader of a pool saw ('path', 'sha256', 'bytes', 'skipped'), for its one entry in the ledger."""
        self.pools[os.path.realpath(pool["path"])] = pool

    def check(self) -> None:
        """Raises NoDataViolation in a strict run where a violation was noted, even if other code swallowed it."""
        if self.mode == "strict" and self.violations:
            raise NoDataViolation(_message(self.violations[0]))

    def saw(self, path: str, event: str = "open") -> None:
        """Judges one read."""
        full = os.path.realpath(path)
        role = self.role_of(full)
        if role is None:
            self.refuse(full, event)
        elif role == "pool":
            root = next(root for root in self.declared if full == root or full.startswith(root + os.sep))
            self.read[root] = role
            self.below[root] = self.below.get(root, 0) + (full != root)
        elif role not in ("code", "run"):
            self.read[full] = role

    def refuse(self, what: str, event: str) -> None:
        """Notes what was not declared; stops a strict run."""
        self._note(what, event)
        if self.mode == "strict":
            raise NoDataViolation(_message({"path": what, "event": event}))

    def role_of(self, path: str) -> str | None:
        """What a file is to this run; None where it is nothing that was declared."""
        if path == self.run_directory or path.startswith(self.run_directory + os.sep):
            return "run"
        if path in self.made:
            return "run"
        for root, role in self.declared.items():
            if path == root or path.startswith(root + os.sep):
                return role
        name = os.path.basename(path)
        if name.endswith(CODE_SUFFIXES) or ".so." in name or ".dist-info" in path or ".egg-info" in path:
            return "code"
        if path.startswith(_OWN_PACKAGE) or _is_start_up_file(path):
            return "code"
        if path.startswith(STAGED):
            return None
        if path.startswith(SYSTEM) or any(path.startswith(os.path.join(_HOME, c)) for c in DEVICE_CACHES):
            return "system"
        return "directory" if os.path.isdir(path) else None

    def _note(self, path: str, event: str) -> None:
        if any(known["path"] == path and known["event"] == event for known in self.violations):
            return
        when = utc_now()
        self.violations.append({"path": path, "event": event, "when": when})

    def ledger(self) -> dict[str, Any]:
        """What was read that is not code, with hashes; to be asked for after the seal.

        A pool folder is one entry: how many `files` were opened, and the hash over those that could be used.
        """
        files = []
        for path, role in sorted(self.read.items()):
            entry: dict[str, Any] = {"path": path, "role": role, "sha256": None, "bytes": None}
            if role not in ("system", "directory") and os.path.isfile(path):
                entry["sha256"], entry["bytes"] = sha256(Path(path)), os.path.getsize(path)
            elif role == "pool":
                seen = self.pools.get(path, {})
                entry |= {name: seen.get(name) for name in ("sha256", "bytes", "skipped")}
                entry["files"] = self.below[path]
            files.append(entry)
        return {"mode": self.mode, "sealed": self.sealed_at, "files": files, "violations": self.violations}

    def _wrap_unseen_readers(self) -> None:
        import safetensors
        import safetensors.torch
        import torch

        def watched(reader: Callable[..., Any]) -> Callable[..., Any]:
            def read(*args: Any, **kwargs: Any) -> Any:
                path = args[0] if args else kwargs.get("filename", kwargs.get("f"))
                if isinstance(path, (str, bytes, os.PathLike)):  # not a buffer, whose bytes were read before
                    self.saw(os.fsdecode(path))
                return reader(*args, **kwargs)

            return read

        def undo(owner: Any, name: str, before: Any) -> Callable[[], None]:
            return lambda: delattr(owner, name) if before is None else setattr(owner, name, before)

        places = [
            (safetensors, "safe_open"),
            (safetensors.torch, "safe_open"),
            (safetensors.torch, "load_file"),
            (torch, "from_file"),
            (torch.jit, "load"),
            (torch.UntypedStorage, "from_file"),  # safetensors ends here too, even where it was imported before
        ]
        for owner, name in places:
            self._undo.append(undo(owner, name, vars(owner).get(name)))  # None: inherited
            setattr(owner, name, watched(getattr(owner, name)))


_OWN_PACKAGE = os.path.realpath(Path(__file__).parent.parent) + os.sep
_PREFIXES = {os.path.realpath(p) for p in (sys.prefix, sys.base_prefix)}
_SITES = {os.path.realpath(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
_HOME = os.path.realpath(Path.home()) if os.environ.get("HOME") else "/nonexistent"


def _hook(event: str, args: tuple[Any, ...]) -> None:
    guard = _armed
    if guard is None or getattr(_own, "busy", False):
        return
    if event == "open":
        path, mode, flags = args
        if isinstance(path, int) or path is None:
            return
        if _begins_empty(mode, flags):
            if not os.path.lexists(path):  # an open of what is there may fail and leave it as it was
                guard.made.add(os.path.realpath(os.fsdecode(path)))
        elif _reads(mode, flags):
            _judge(guard, os.fsdecode(path), "open")
    elif event in PROCESS_EVENTS:
        what = str(args[0])[:80] if args else "a copy of this one"  # os.fork says nothing
        guard.refuse(f"<process: {what}>", event)
    elif event in ("socket.connect", "socket.sendto") and not _is_local(args[1]):
        guard.refuse(f"<network: {args[1]}>", event)


def _is_start_up_file(path: str) -> bool:
    """What the interpreter itself reads to find code; data in packages may have the same suffixes."""
    folder, name = os.path.split(path)
    if name == "pyvenv.cfg":
        return folder in _PREFIXES
    if name.endswith(".pth"):
        return folder in _SITES
    return name.endswith(".zip") and any(path == os.path.realpath(entry) for entry in sys.path)


def _judge(guard: NoDataGuard, path: str, event: str) -> None:
    _own.busy = True
    try:
        guard.saw(path, event)
    finally:
        _own.busy = False


def _begins_empty(mode: Any, flags: Any) -> bool:
    """A file that is created or emptied by this very open can only give back what this process wrote."""
    if isinstance(mode, str):
        return "w" in mode or "x" in mode
    return bool(int(flags or 0) & (os.O_TRUNC | os.O_EXCL))


def _reads(mode: Any, flags: Any) -> bool:
    if isinstance(mode, str):
        return "r" in mode or "+" in mode
    return (int(flags or 0) & os.O_ACCMODE) != os.O_WRONLY


def _is_local(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a path: a Unix socket
    return str(address[0]) in ("localhost", "::1") or str(address[0]).startswith("127.")


def _open_files() -> set[str]:
    """Regular files this process holds open or mapped, as Linux tells them; empty elsewhere."""
    found: set[str] = set()
    try:
        for name in os.listdir("/proc/self/fd"):
            target = os.path.realpath(f"/proc/self/fd/{name}")
            if os.path.isfile(target):
                found.add(target)
    except OSError:
        return set()
    return found


def _message(violation: Mapping[str, Any]) -> str:
    return (
        f"a strict run may not read {violation['path']} ({violation['event']}): it is no declared input, no code and "
        "not the run directory. If it belongs to the teacher or student, name it in the spec; data stays closed."
    )
