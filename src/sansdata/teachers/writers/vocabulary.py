"""A tokenizer.json of the words that a writer uses: what the student of a writer reads by."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...files import read_json

PADDING, UNKNOWN = "[PAD]", "[UNK]"
SPLITTERS = {"spaces": {"type": "WhitespaceSplit"}, "letters": {"type": "BertPreTokenizer"}}
"""How a text falls into words -> as the library `tokenizers` calls it; 'letters' also parts punctuation."""


def tokenizer_of(texts: Iterable[str], size: int, fewest: int = 1, words: str = "letters") -> bytes:
    """A tokenizer.json of whole words in small letters: at most `size` ids, the most frequent words that stand in at
    least `fewest` texts. Ids are in the order of frequency, behind the filling and the unknown word."""
    counts = Counter(word for text in texts for word in set(pieces(text, words)))
    kept = sorted((word for word, count in counts.items() if count >= fewest), key=lambda word: (-counts[word], word))
    listed = [PADDING, UNKNOWN, *kept[: max(0, size - 2)]]
    return json.dumps(_tree(listed, words), ensure_ascii=False).encode()


def is_of_words(file: Path) -> bool:
    """Whether `file` is a tokenizer as `tokenizer_of` makes them, whatever its words are."""
    try:
        tree = read_json(file)
        words = list(tree["model"]["vocab"])
        return any(tree == _tree(words, one) for one in SPLITTERS)
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return False


def _tree(listed: list[str], words: str) -> dict[str, Any]:
    """A tokenizer of the words `listed`, the filling and the unknown word first."""
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": place, "content": listed[place], **special} for place in (0, 1)],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": SPLITTERS[words], "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": dict(zip(listed, range(len(listed)))), "unk_token": UNKNOWN},
    }  # fmt: skip


def pieces(text: str, words: str) -> list[str]:
    """The words of a text in small letters, as the tokenizer will part them."""
    text = text.lower()
    if words == "spaces":
        return text.split()
    parted = "".join(f" {sign} " if not (sign.isalnum() or sign.isspace()) else sign for sign in text)
    return parted.split()
