"""How far one text is from another, in words and letters, and how texts are brought to one form before."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

NORMALISER = "lower case, letters and digits of any script, apostrophes within words, single spaces"
"""What `normalised` does, for whoever prints an error rate: it changes with the normaliser."""
_OTHERS = re.compile(r"[^\w\s']|_")


def normalised(text: str) -> str:
    plain = _OTHERS.sub(" ", unicodedata.normalize("NFKC", text).lower().replace("’", "'"))
    return " ".join(word for word in (one.strip("'") for one in plain.split()) if word)


def edits(reference: Sequence[str], other: Sequence[str]) -> int:
    """The fewest insertions, deletions and substitutions from one to the other (Levenshtein)."""
    row = list(range(len(other) + 1))
    for place, one in enumerate(reference, 1):
        before, row[0] = row[0], place
        for column, two in enumerate(other, 1):
            before, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, before + (one != two))
    return row[-1]


def word_error_rate(reference: str, other: str) -> float:
    """Edits per word of the reference, both normalised; an empty reference counts as one whole error, so that whoever
    filters rejects it."""
    words = normalised(reference).split()
    return edits(words, normalised(other).split()) / len(words) if words else 1.0
