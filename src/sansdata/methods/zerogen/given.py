"""A file of the user's with one context, or one phrase, a line."""

from __future__ import annotations

from pathlib import Path

from ...errors import DataError

MAX_BYTES = 64_000_000
LONGEST = 2000
"""Letters of a line that are read."""


def given_lines(path: Path) -> list[str]:
    """The lines that are not empty, each once, in their order. Raises DataError where there are none."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise DataError(f"{path}: larger than {MAX_BYTES:,} bytes")
        lines = data.decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as fault:
        raise DataError(f"{path}: cannot be read as text ({str(fault)[:200]})") from None
    kept = list(dict.fromkeys(line.strip()[:LONGEST] for line in lines if line.strip()))
    if not kept:
        raise DataError(f"{path}: has no line of text")
    return kept
