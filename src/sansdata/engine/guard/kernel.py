"""What Linux knows of this process: its descriptors, the files in its memory, the bytes it has read. Nothing elsewhere.

These are evidence beside the audit hook, which sees only what goes through Python.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

PROC = "/proc/self"


@dataclass(frozen=True)
class Descriptor:
    """An open descriptor that can be read from. target: a real path, or 'pipe:[12]'.

    read_position: bytes from the start; None where it can be written to as well, which moves it too.
    """

    number: int
    target: str
    read_position: int | None

    @property
    def is_file(self) -> bool:
        return os.path.isfile(self.target)


def descriptor(number: int) -> Descriptor | None:
    """None where it is closed, cannot be read from, or nothing is known of it."""
    try:
        target = os.readlink(f"{PROC}/fd/{number}")
        with open(f"{PROC}/fdinfo/{number}") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
    except (OSError, ValueError):
        return None
    access = int(fields["flags"], 8) & os.O_ACCMODE
    if access == os.O_WRONLY:
        return None
    return Descriptor(number, target, int(fields["pos"]) if access == os.O_RDONLY else None)


def descriptors() -> dict[int, Descriptor]:
    """All that are open to be read, by number."""
    try:
        numbers = [int(name) for name in os.listdir(f"{PROC}/fd")]
    except OSError:
        return {}
    return {one.number: one for one in map(descriptor, numbers) if one is not None}


def mapped_files() -> set[str]:
    """Regular files that lie in memory and of which no part is run as code."""
    mapped, run = set(), set()
    with contextlib.suppress(OSError), open(f"{PROC}/maps", errors="surrogateescape") as file:
        for line in file:
            fields = line.rstrip("\n").split(maxsplit=5)
            if len(fields) == 6 and fields[5].startswith("/"):
                (run if "x" in fields[1] else mapped).add(fields[5])
    return {path for path in mapped - run if os.path.isfile(path)}


def bytes_read() -> int | None:
    """What this process has read by system calls since it began, files, pipes and sockets together; memory that files
    are mapped into is not counted."""
    with contextlib.suppress(OSError, ValueError), open(f"{PROC}/io") as file:
        return next(int(line.split(":")[1]) for line in file if line.startswith("rchar:"))
    return None


@contextlib.contextmanager
def closed_input() -> Iterator[int | None]:
    """Standard input gives nothing while this holds, where it is a pipe or a file; gives the number that keeps it.

    A read of it raises no event: neither `sys.stdin.read()` nor `os.read(0, n)`. A terminal is left alone.
    """
    before = descriptor(0)
    if before is None or before.target.startswith("/dev/"):
        yield None
        return
    kept = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    try:
        yield kept
    finally:
        os.dup2(kept, 0)
        os.close(kept)
