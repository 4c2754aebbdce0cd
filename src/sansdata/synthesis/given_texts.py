"""Texts that the user gives a method, one on each line of a file."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError
from ..files import read_regular, text_lines
from ..objectives.edits import normalised

MAX_BYTES = 64_000_000
MAX_TEXTS = 1_000_000


def given_lines(path: Path, longest: int, distinct: bool = False) -> list[str]:
    """The lines of a file that hold a word, in their order, cut to `longest` letters. distinct: each once. Raises
    DataError for a file that is no text, and for one with none or too many."""
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as fault:
        raise DataError(f"{path}: cannot be read as text ({str(fault)[:200]})") from None
    lines = [line.strip()[:longest] for line in text_lines(text) if normalised(line)]
    if not 1 <= len(lines) <= MAX_TEXTS:
        raise DataError(f"{path}: has {len(lines):,} lines of text; expected 1 to {MAX_TEXTS:,}, a text on each")
    return list(dict.fromkeys(lines)) if distinct else lines
