"""The words that cleaned code can have, as a tokenizer.json: a list that is written down, so that no contract leaks."""

from __future__ import annotations

import json
from pathlib import Path

from ...files import write_atomic
from .cleaner import EMPTY, KEYWORDS

PADDING, UNKNOWN = "[PAD]", "[UNK]"
FUNCTIONS, VARIABLES = 20, 50
"""Names that have a word of their own; later ones are unknown."""
_SIGNS = "( ) { } [ ] ; , . : ? = == != < > <= >= + - * / % ** ++ -- += -= *= /= %= & | ^ ~ ! && || << >> => &= |= ^= _"
SIGNS = _SIGNS.split()
SIZED = [f"{kind}{8 * size}" for kind in ("uint", "int") for size in (1, 2, 4, 8, 16, 32)]
BYTES = [f"bytes{size}" for size in (1, 4, 8, 20, 32)]
NUMBERS = ["0", "1", "2", "3", "10", "100", "1000", "0x0"]


def words() -> list[str]:
    """In the order of their ids, padding first."""
    names = [f"FUN{number + 1}" for number in range(FUNCTIONS)] + [f"VAR{number + 1}" for number in range(VARIABLES)]
    types = ["uint", "int", *SIZED, *BYTES]
    return [PADDING, UNKNOWN, *SIGNS, *names, *sorted(KEYWORDS), *types, EMPTY, *NUMBERS]


def write_tokenizer(path: Path) -> None:
    """Splits cleaned code at its spaces; what is no word of `words` is unknown."""
    vocabulary = {word: place for place, word in enumerate(words())}
    special = [
        {
            "id": vocabulary[word], "content": word, "special": True, "single_word": False, "lstrip": False,
            "rstrip": False, "normalized": False,
        }
        for word in (PADDING, UNKNOWN)
    ]  # fmt: skip
    tree = {
        "version": "1.0", "added_tokens": special, "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": UNKNOWN},
    }  # fmt: skip
    write_atomic(path, json.dumps(tree).encode())
