"""How far one text is from another, in words and letters, and how texts are brought to one form before."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence

NORMALISER = "lower case, letters with their marks and digits of any script, apostrophes within words, single spaces"
"""What `normalised` does, for whoever prints an error rate: it changes with the normaliser."""
_UNSEEN = re.compile("[\u200c\u200d\ufe00-\ufe0f]")
"""Joiners, and selectors of a glyph: they part no words (Unicode, UAX 29)."""


def normalised(text: str) -> str:
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    letters = "".join(_letters(_UNSEEN.sub("", plain.replace("’", "'"))))
    return " ".join(word for word in (one.strip("'") for one in letters.split()) if word)


def _letters(text: str) -> Iterator[str]:
    """Each sign, or a space for what is none of a word. A mark, such as a vowel of Hindi, belongs to the letter before
    it; behind anything else it is the rest of a sign, such as of an accent that stands alone."""
    inside = False
    for one in text:
        category = unicodedata.category(one)
        inside = category[0] in "LN" or (inside and category in ("Mn", "Mc"))
        yield one if inside or one == "'" else " "


def edits(reference: Sequence[str], other: Sequence[str]) -> int:
    """The fewest insertions, deletions and substitutions from one to the other (Levenshtein)."""
    row = list(range(len(other) + 1))
    for place, one in enumerate(reference, 1):
        before, row[0] = row[0], place
        for column, two in enumerate(other, 1):
            before, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, before + (one != two))
    return row[-1]


def word_error_rate(reference: str, other: str) -> float:
    """Edits per word of the reference, both normalised; infinite where that is empty, so that whoever filters rejects
    it at any threshold."""
    words = normalised(reference).split()
    return edits(words, normalised(other).split()) / len(words) if words else math.inf
