"""A tokenizer.json of the words that a writer uses: what the student of a writer reads by."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

PADDING, UNKNOWN = "[PAD]", "[UNK]"
SPLITTERS = {"spaces": {"type": "WhitespaceSplit"}, "letters": {"type": "BertPreTokenizer"}}
"""How a text falls into words -> as the library `tokenizers` calls it; 'letters' also parts punctuation."""


def tokenizer_of(texts: Iterable[str], size: int, fewest: int = 1, words: str = "letters") -> bytes:
    """A tokenizer.json of whole words in small letters: at most `size` ids, the most frequent words that stand in at
    least `fewest` texts. Ids are in the order of frequency, behind the filling and the unknown word."""
    counts = Counter(word for text in texts for word in set(pieces(text, words)))
    kept = sorted((word for word, count in counts.items() if count >= fewest), key=lambda word: (-counts[word], word))
    listed = [PADDING, UNKNOWN, *kept[: max(0, size - 2)]]
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tree = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": place, "content": listed[place], **special} for place in (0, 1)],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": SPLITTERS[words], "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": dict(zip(listed, range(len(listed)))), "unk_token": UNKNOWN},
    }  # fmt: skip
    return json.dumps(tree, ensure_ascii=False).encode()


def pieces(text: str, words: str) -> list[str]:
    """The words of a text in small letters, as the tokenizer will part them."""
    text = text.lower()
    if words == "spaces":
        return text.split()
    parted = "".join(f" {sign} " if not (sign.isalnum() or sign.isspace()) else sign for sign in text)
    return parted.split()
