"""What was asked of a service and what it answered, on disk before anything is made of it: nothing is asked twice."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from ...errors import TeacherError
from ...files import open_in_place

MAX_BYTES = 2**30


class Journal:
    """One line of JSON an answer: the key of the question, the text, the tokens it took. A last line that a kill cut
    short is cut off. Raises TeacherError where the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[str, str] = {}
        self.requests = self.tokens = 0
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._read()
        except OSError as fault:
            raise TeacherError(f"{path}: the journal of the service cannot be used ({fault.strerror})") from None

    def _read(self) -> None:
        if not self.path.exists():
            return
        if not self.path.is_file() or self.path.stat().st_size > MAX_BYTES:
            raise TeacherError(f"{self.path}: is no journal, or larger than {MAX_BYTES:,} bytes; move it away")
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                entry: Any = json.loads(line)
                key, text, tokens = str(entry["key"]), str(entry["text"]), int(entry["tokens"])
            except (ValueError, KeyError, TypeError, RecursionError):
                raise TeacherError(f"{self.path}: line {number} is none of a journal; move the file away") from None
            self._count(key, text, tokens)
        if len(whole) < len(data):
            os.truncate(self.path, len(whole))

    def _count(self, key: str, text: str, tokens: int) -> None:
        self.answers[key] = text
        self.requests += 1
        self.tokens += max(0, tokens)

    def add(self, key: str, text: str, tokens: int) -> None:
        """Keeps an answer; it is on the disk when this returns."""
        line = json.dumps({"key": key, "text": text, "tokens": tokens}).encode() + b"\n"
        with self._lock:
            with open_in_place(self.path) as file:
                file.seek(0, os.SEEK_END)
                file.write(line)
                os.fsync(file.fileno())
            self._count(key, text, tokens)


def key_of(question: Any) -> str:
    """SHA-256 of a question as plain data."""
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
