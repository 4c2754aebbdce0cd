"""Texts that the user gives a method, one on each line of a file."""

from __future__ import annotations

from pathlib import Path

from ..errors import MethodError
from ..files import read_regular
from ..objectives.edits import normalised

MAX_BYTES = 64_000_000
MAX_TEXTS = 1_000_000


def read_texts(path: Path, method: str, longest: int) -> list[str]:
    """The lines of a file that hold a word, cut to `longest` letters. method: who asks. Raises MethodError."""
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as fault:
        raise MethodError(f"{method}: texts={path}: cannot be read as text ({str(fault)[:200]})") from None
    lines = [line.strip()[:longest] for line in text.splitlines() if normalised(line)]
    if not 1 <= len(lines) <= MAX_TEXTS:
        raise MethodError(
            f"{method}: texts={path}: {len(lines):,} texts; expected 1 to {MAX_TEXTS:,}, one on each line"
        )
    return lines
