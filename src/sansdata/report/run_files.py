"""The files of a run as a page reads them: a missing one is nothing, a damaged one is a line in `faults` and otherwise
nothing. Nobody vouches for what lies in the directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import RunDirectoryError
from ..files import MAX_JSON_BYTES, open_regular, parse_json, read_regular, reason
from .tree import Tree

MAX_LOG_BYTES = 256_000_000
MAX_LINE_BYTES = 4_000_000
MAX_LINES = 1_000_000


class RunFiles:
    """Reads by name from one directory, and keeps what could not be read in `faults`."""

    def __init__(self, directory: Path, marks: tuple[str, ...] = ()) -> None:
        """marks: files of which one must be there, if any is named. Raises RunDirectoryError where none is."""
        self.directory = directory
        self.faults: list[str] = []
        if not directory.is_dir():
            raise RunDirectoryError(f"{directory}: expected a run directory, found no directory there")
        if marks and not any((directory / name).is_file() for name in marks):
            raise RunDirectoryError(
                f"{directory}: expected a run directory, found none of {', '.join(marks)}; "
                "give the directory that `sansdata distill --out` wrote"
            )

    def text(self, name: str) -> str:
        """'' where there is nothing to read."""
        return self._data(name).decode("utf-8", "replace")

    def tree(self, name: str) -> Tree:
        """The object in a file of JSON; empty where there is none."""
        data = self._data(name)
        if not data.strip():
            return Tree()
        try:
            value = parse_json(data)
        except ValueError:
            self.faults.append(f"{name}: is not valid JSON, left out")
            return Tree()
        if not isinstance(value, dict):
            self.faults.append(f"{name}: expected an object, got {type(value).__name__}, left out")
            return Tree()
        return Tree(value)

    def lines(self, name: str) -> Iterator[dict[str, Any] | None]:
        """The object of each line that holds something; None for a line that is none."""
        try:
            with open_regular(self.directory / name, 1 << 62) as file:
                room = MAX_LOG_BYTES
                for _ in range(MAX_LINES):
                    if not (data := file.readline(min(MAX_LINE_BYTES, room))):
                        break
                    room -= len(data)
                    if data.strip():
                        yield _object(data)
                if file.read(1):
                    bound = f"{MAX_LOG_BYTES:,} bytes" if room <= 0 else f"{MAX_LINES:,} lines"
                    self.faults.append(f"{name}: more than {bound}, the rest is left out")
        except FileNotFoundError:
            return
        except OSError as fault:
            self.faults.append(f"{name}: cannot be read ({reason(fault)})")

    def _data(self, name: str) -> bytes:
        try:
            return read_regular(self.directory / name, MAX_JSON_BYTES)
        except FileNotFoundError:
            return b""
        except OSError as fault:
            self.faults.append(f"{name}: cannot be read ({reason(fault)})")
            return b""


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        value = parse_json(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
