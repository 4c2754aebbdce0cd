"""What a service was asked and what it answered, on disk before anything is made of it: what was answered is not asked
again. What a question costs is there before it is sent, so that a limit holds whatever is killed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import TeacherError
from ...files import FileIO, cache_root, open_in_place, reason

MAX_BYTES = 2**30


class Journal:
    """A line of JSON a request: the answers by the keys of their questions, and what was spent. A last line that a kill
    cut short is cut off. Several processes may share one: each sees what the others added when it adds something.
    Raises TeacherError where the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[str, Any] = {}
        self.spent: Counter[str] = Counter()
        """'requests' and whatever else is counted, of everybody who ever wrote here."""
        self._lock, self._read_to = threading.Lock(), 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                with self._alone() as file:
                    self._catch_up(file)
        except OSError as fault:
            raise TeacherError(f"{path}: the journal of the service cannot be used ({reason(fault)})") from None

    def add(self, answers: Mapping[str, Any], spent: Mapping[str, int]) -> None:
        """Keeps the answers of one request, and what was spent on it: below 0 where a question that was counted did not
        leave. They are on the disk when this returns."""
        line = json.dumps({"answers": dict(answers), "spent": {"requests": 1, **spent}}).encode() + b"\n"
        try:
            with self._lock, self._alone() as file:
                self._catch_up(file)
                if (file.write(line) or 0) < len(line):  # the disk is full
                    file.truncate(self._read_to)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
                self._count(line, 0)
                self._read_to += len(line)
        except OSError as fault:
            raise TeacherError(f"{self.path}: the journal of the service cannot be written ({reason(fault)})") from None

    @contextlib.contextmanager
    def _alone(self) -> Iterator[FileIO]:
        """The file, while no other process writes."""
        with open_in_place(self.path) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file

    def _catch_up(self, file: FileIO) -> None:
        """Reads what was added since the last time."""
        size = file.seek(0, os.SEEK_END)
        if size > MAX_BYTES:
            raise TeacherError(f"{self.path}: is larger than {MAX_BYTES:,} bytes; move it away")
        file.seek(self._read_to)
        data = file.read(size - self._read_to) or b""
        whole = data[: data.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), 1):
            self._count(line, number)
        self._read_to += len(whole)
        if len(whole) < len(data):
            file.truncate(self._read_to)
            file.seek(0, os.SEEK_END)

    def _count(self, line: bytes, number: int) -> None:
        try:
            entry: Any = json.loads(line)
            if "key" in entry:  # as the journals of older versions have it
                entry = {"answers": {entry["key"]: entry["text"]}, "spent": {"requests": 1, "tokens": entry["tokens"]}}
            answers = {str(key): answer for key, answer in entry["answers"].items()}
            spent = {str(name): int(count) for name, count in entry["spent"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise TeacherError(f"{self.path}: line {number} is none of a journal; move the file away") from None
        self.answers |= answers
        self.spent.update(spent)


def journal_path(of: Any) -> Path:
    """Where the answers of a service are kept; `of`: what tells it from others, as plain data."""
    return cache_root() / "journals" / f"{key_of(of)[:24]}.jsonl"


def key_of(question: Any) -> str:
    """SHA-256 of a question as plain data."""
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
