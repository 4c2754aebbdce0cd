"""Writing files so that a crash leaves either the old one or the new one, never a torn one; hashes of files, and the
time as our files say it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from .errors import RunDirectoryError

CHUNK = 1 << 20


def write_synced(path: Path, data: bytes | memoryview) -> None:
    """Writes and waits until the disk has it. Raises OSError."""
    view = memoryview(data)
    with open(path, "wb") as file:
        for start in range(0, len(view), CHUNK):
            file.write(view[start : start + CHUNK])
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Waits until the directory's own entries are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def temporary_name(path: Path) -> Path:
    """A name beside `path` that start-up can recognise and sweep."""
    return path.with_name(f".tmp-{os.getpid()}-{os.urandom(4).hex()}-{path.name}")


def write_atomic(path: Path, data: bytes | str) -> None:
    """Replaces `path` as a whole. Raises OSError, and then the old file stands."""
    temporary = temporary_name(path)
    try:
        write_synced(temporary, data.encode() if isinstance(data, str) else data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def exists(path: Path) -> bool:
    """Raises RunDirectoryError for a path that the system cannot even look up, such as one too long."""
    try:
        return path.exists()
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or str(fault)
        raise RunDirectoryError(f"{str(path)[:80]}: not a usable path ({reason})") from None


def write_json(path: Path, value: Any) -> None:
    write_atomic(path, json.dumps(value, indent=1) + "\n")


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def utc_now() -> str:
    """The time now as in '2026-01-02T03:04:05Z', by the clock of the machine."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
