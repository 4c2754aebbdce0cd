"""A tokenizer.json of the words of a writer."""

from __future__ import annotations

from pathlib import Path

import pytest

from sansdata.kinds.inputs.tokenizer import Tokenizer
from sansdata.teachers.writers.vocabulary import pieces, tokenizer_of


@pytest.mark.parametrize(
    ("words", "parted"), [("spaces", ["it's", "good."]), ("letters", ["it", "'", "s", "good", "."])]
)
def test_words_are_those_that_the_tokenizer_parts(words: str, parted: list[str], tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    text = "It's good."
    assert pieces(text, words) == parted
    (tmp_path / "t.json").write_bytes(tokenizer_of([text, "good good"], 50, words=words))
    tokenizer = Tokenizer.of(tmp_path / "t.json")
    assert tokenizer.unknown == 1
    tokens, mask = tokenizer.ids([text, "never it's"], 8, 0)
    assert 1 not in tokens[0, : len(parted)].tolist()
    assert tokens[1, 0] == 1
    assert tokenizer.texts(tokens, mask)[0].split() == parted


def test_the_most_frequent_words_stay_and_rare_ones_go() -> None:
    import json

    texts = ["a b c", "a b", "a d d d"]
    assert list(json.loads(tokenizer_of(texts, 4))["model"]["vocab"]) == ["[PAD]", "[UNK]", "a", "b"]
    assert list(json.loads(tokenizer_of(texts, 50, fewest=2))["model"]["vocab"]) == ["[PAD]", "[UNK]", "a", "b"]
