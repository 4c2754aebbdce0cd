"""Readers and starters that raise no event: they are replaced by watched ones while a run is armed.

A module that is first imported meanwhile may keep a replacement for good. It asks who is watching at each call, so that
it is the plain reader again when the run is over.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .events import armed, relative_to


@contextlib.contextmanager
def watched_readers() -> Iterator[None]:
    """Inside, they tell the watcher before they read."""
    import _posixsubprocess

    import safetensors
    import torch

    undo: list[Callable[[], None]] = []
    try:
        readers = (safetensors.safe_open, torch.from_file)
        undo.append(_replace_everywhere([(reader, _watched(reader, 0, "filename")) for reader in readers]))
        # safetensors ends in the storage too, under whatever name it was imported
        undo.append(_replace(torch.UntypedStorage, "from_file", lambda plain: _watched(plain, 0, "filename")))
        undo.append(_replace(torch._C, "import_ir_module", lambda plain: _watched(plain, 1, "filename")))
        undo.append(_replace(torch._C, "PyTorchFileReader", _watched_class))
        for name in ("_new_shared_filename_cpu", "_new_shared_fd_cpu"):
            undo.append(_replace(torch.UntypedStorage, name, _refused("<shared memory>", name)))
        undo.append(_replace(_posixsubprocess, "fork_exec", _refused("<process: a new one>", "fork_exec")))
        with contextlib.suppress(ImportError):
            import _posixshmem

            undo.append(_replace(_posixshmem, "shm_open", _watched_shared_memory))
        undo.append(_replace(os, "open", _watched_os_open))
        yield
    finally:
        for restore in reversed(undo):
            restore()


# -- replacements


def _watched(reader: Callable[..., Any], position: int, keyword: str) -> Callable[..., Any]:
    def read(*args: Any, **kwargs: Any) -> Any:
        path = args[position] if len(args) > position else kwargs.get(keyword)
        _tell(path)
        return reader(*args, **kwargs)

    return read


def _watched_class(reader: type) -> type:
    """A subclass, for a class of which others ask whether something is one."""

    def begin(self: Any, source: Any, *args: Any) -> None:
        _tell(source)
        reader.__init__(self, source, *args)

    return type(reader.__name__, (reader,), {"__init__": begin})


def _tell(path: Any) -> None:
    """Of a file by name; what comes out of a buffer was read before."""
    watcher = armed()
    if watcher is not None and isinstance(path, (str, bytes, os.PathLike)):
        watcher.saw(os.fsdecode(path), "open", counted=False)


def _refused(what: str, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def replacement(plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            watcher = armed()
            if watcher is not None:
                watcher.refuse(what, name)
            return plain(*args, **kwargs)

        return call

    return replacement


def _watched_shared_memory(plain: Callable[..., int]) -> Callable[..., int]:
    def shm_open(path: str, flags: int, *args: Any, **kwargs: Any) -> int:
        watcher, file = armed(), os.path.join("/dev/shm", path.lstrip("/"))
        if watcher is not None and flags & os.O_CREAT and not os.path.lexists(file):
            watcher.made(file)
        elif watcher is not None:
            watcher.saw(file, "shm_open", counted=False)
        return plain(path, flags, *args, **kwargs)

    return shm_open


def _watched_os_open(plain: Callable[..., int]) -> Callable[..., int]:
    def os_open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if dir_fd is None:
            return plain(path, flags, mode)
        with relative_to(os.path.realpath(f"/proc/self/fd/{dir_fd}")):
            return plain(path, flags, mode, dir_fd=dir_fd)

    return os_open


# -- putting them in their place, and back


def _replace(owner: Any, name: str, replacement: Callable[[Any], Any]) -> Callable[[], None]:
    before, inherited = getattr(owner, name), name not in vars(owner)
    setattr(owner, name, replacement(before))
    return lambda: delattr(owner, name) if inherited else setattr(owner, name, before)


def _replace_everywhere(pairs: Sequence[tuple[Any, Any]]) -> Callable[[], None]:
    """The first of each pair by the second, in every module that holds it under whatever name; and back in these, and
    in what was imported since. Thousands of modules are looked through once, not once a pair and way."""
    modules = list(sys.modules.values())
    places = _rebind(modules, pairs)
    known = {id(module) for module in modules}

    def restore() -> None:
        back = [(after, before) for before, after in pairs]
        for fields, name in places:
            _put(fields, name, back)
        _rebind([module for module in list(sys.modules.values()) if id(module) not in known], back)

    return restore


def _rebind(modules: Sequence[Any], pairs: Sequence[tuple[Any, Any]]) -> list[tuple[dict[str, Any], str]]:
    """Where something was replaced: the fields of a module, and a name among them."""
    befores = {id(before) for before, _ in pairs}
    places = [
        (fields, name)
        for fields in (getattr(module, "__dict__", {}) for module in modules)
        if not befores.isdisjoint(map(id, list(fields.values())))  # nearly every module ends here, in C
        for name, value in list(fields.items())
        if id(value) in befores
    ]
    for fields, name in places:
        _put(fields, name, pairs)
    return places


def _put(fields: dict[str, Any], name: str, pairs: Sequence[tuple[Any, Any]]) -> None:
    for before, after in pairs:
        if fields.get(name) is before:
            fields[name] = after
