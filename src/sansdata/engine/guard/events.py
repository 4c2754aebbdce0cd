"""What Python tells while it happens: one audit hook, installed once and armed for one run at a time."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from .system import is_this_machine


class Watcher(Protocol):
    """Who is told."""

    offline: bool

    def saw(self, path: str, event: str = "open", counted: bool = True) -> None: ...
    def saw_descriptor(self, number: int, event: str) -> None: ...
    def made(self, path: str) -> None: ...
    def moved(self, source: str, target: str, event: str) -> None: ...
    def refuse(self, what: str, event: str) -> None: ...
    def starts(self, program: str, event: str) -> None: ...
    def connects(self, address: Any, event: str) -> None: ...
    def not_followed(self, what: str, name: str) -> None: ...
    def loads_library(self, name: str) -> None: ...


_armed: Watcher | None = None
_installed = False
_here = threading.local()
"""`busy`: the guard itself is reading. `folder`: what a relative path of `os.open` is relative to."""


def arm(watcher: Watcher) -> None:
    """Raises RuntimeError where another run is under way."""
    global _armed, _installed
    if _armed is not None:
        raise RuntimeError("a no-data run is already under way in this process")
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    _armed = watcher


def disarm() -> None:
    global _armed
    _armed = None


def armed() -> Watcher | None:
    """Who is watching in this thread now; None while the guard itself reads."""
    return None if getattr(_here, "busy", False) else _armed


@contextlib.contextmanager
def own_reads() -> Iterator[None]:
    """What happens inside is the guard's own doing."""
    before = getattr(_here, "busy", False)
    _here.busy = True
    try:
        yield
    finally:
        _here.busy = before


@contextlib.contextmanager
def relative_to(folder: str) -> Iterator[None]:
    """Inside, opened relative paths begin at `folder`: the event does not say so."""
    _here.folder = folder
    try:
        yield
    finally:
        _here.folder = None


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _armed is None:
        return
    handler = HANDLERS.get(event)  # a training loop raises up to 500 events a step, and none of these
    if handler is not None and (watcher := armed()) is not None:
        handler(watcher, event, args)


def _open(watcher: Watcher, event: str, args: tuple[Any, ...]) -> None:
    path, mode, flags = args
    if path is None:
        return
    if isinstance(path, int):
        if _reads(mode, flags) and not _begins_empty(mode, flags):
            watcher.saw_descriptor(path, event)
        return
    name = os.path.join(getattr(_here, "folder", None) or "", os.fsdecode(path))
    if not os.path.lexists(name):  # an open of what is there may fail and leave it as it was
        if _creates(mode, flags):
            watcher.made(name)
    elif _reads(mode, flags) and not _begins_empty(mode, flags):
        watcher.saw(name, event)


def _map(watcher: Watcher, event: str, args: tuple[Any, ...]) -> None:
    if args[0] != -1:  # anonymous memory
        watcher.saw_descriptor(args[0], event)


def _move(watcher: Watcher, event: str, args: tuple[Any, ...]) -> None:
    names = [os.fsdecode(name) for name in args[:2]]
    for position, folder in enumerate(args[2:4]):
        if folder != -1:
            names[position] = os.path.join(os.path.realpath(f"/proc/self/fd/{folder}"), names[position])
    watcher.moved(names[0], names[1], event)


def _process(watcher: Watcher, event: str, args: tuple[Any, ...]) -> None:
    what = str(args[0])[:80] if args else "a copy of this one"  # os.fork says nothing
    if event == "subprocess.Popen" and isinstance(args[0], str):
        watcher.starts(args[0], event)
        return
    watcher.refuse(f"<process: {what}>", event)


def _database(watcher: Watcher, event: str, args: tuple[Any, ...]) -> None:
    watcher.refuse(f"<database: {str(args[0])[:200]}>", event)


def _socket(watcher: Watcher, event: str, args: tuple[Any, ...]) -> None:
    if watcher.offline:
        watcher.refuse("<a socket>", event)


def _name_of_a_host(watcher: Watcher, event: str, args: tuple[Any, ...]) -> None:
    if watcher.offline:
        watcher.refuse(f"<network: {str(args[0])[:200]}>", event)


def _connection(watcher: Watcher, event: str, args: tuple[Any, ...]) -> None:
    if watcher.offline:
        watcher.refuse(f"<network: {str(args[1])[:200]}>", event)
    elif is_this_machine(args[1]):
        watcher.not_followed("a connection within this machine", str(args[1])[:200])
    else:
        watcher.connects(args[1], event)


def _port(watcher: Watcher, event: str, args: tuple[Any, ...]) -> None:
    if watcher.offline:
        watcher.refuse(f"<network: {str(args[1])[:200]}>", event)
        return
    watcher.not_followed("a socket that others may connect to", str(args[1])[:200])


def _library(watcher: Watcher, event: str, args: tuple[Any, ...]) -> None:
    if args[0] is not None:
        watcher.loads_library(os.fsdecode(args[0]))


HANDLERS: dict[str, Callable[[Watcher, str, tuple[Any, ...]], None]] = {
    "open": _open, "mmap.__new__": _map, "os.rename": _move, "os.link": _move,
    "sqlite3.connect": _database,
    "socket.connect": _connection, "socket.sendto": _connection, "socket.sendmsg": _connection, "socket.bind": _port,
    "socket.__new__": _socket,
    **dict.fromkeys(("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"), _name_of_a_host),
    "ctypes.dlopen": _library,
    **dict.fromkeys(
        ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty",
         "pty.spawn", "os.startfile", "cpython.PyInterpreterState_New"), _process),
}  # fmt: skip


def _creates(mode: Any, flags: Any) -> bool:
    if isinstance(mode, str):
        return "r" not in mode
    return bool(int(flags or 0) & os.O_CREAT)


def _begins_empty(mode: Any, flags: Any) -> bool:
    """A file that is emptied by this very open can only give back what this process wrote."""
    if isinstance(mode, str):
        return "w" in mode or "x" in mode
    return bool(int(flags or 0) & (os.O_TRUNC | os.O_EXCL))


def _reads(mode: Any, flags: Any) -> bool:
    if isinstance(mode, str):
        return "r" in mode or "+" in mode
    return (int(flags or 0) & os.O_ACCMODE) != os.O_WRONLY
