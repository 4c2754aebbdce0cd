"""Copies are found, and nothing else."""

from __future__ import annotations

import random

from sansdata.methods.zerogen.written import Duplicates, Written


def sentences(count: int, words: int = 20) -> list[str]:
    draw = random.Random(3)
    return [" ".join(f"w{draw.randrange(500)}" for _ in range(words)) for _ in range(count)]


def test_the_same_words_are_one_text_whatever_their_letters() -> None:
    known = Duplicates(1.0)
    assert known.take("A fine  film") == ""
    assert known.take("a fine film") == "same"
    assert known.take("a fine film !") == ""


def test_near_copies_are_found_and_different_texts_are_not() -> None:
    known = Duplicates(0.7)
    texts = sentences(300)
    assert [known.take(text) for text in texts] == [""] * 300
    for text in texts:
        words = text.split()
        assert known.take(" ".join([*words[:-1], "other"])) == "near"  # 17 of 19 triples
        assert known.take(" ".join(reversed(words))) == ""


def test_what_was_written_is_whole_in_its_state() -> None:
    first, second = Written(2, 0.7), Written(2, 0.7)
    for number, text in enumerate(sentences(20)):
        first.keep(text, number % 2, "about")
    first.refuse("short")
    first.drawn = 40
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == first.state_dict()
    assert (second.of_class(0), second.of_class(1)) == (10, 10)
    assert not second.keep(first.texts[3], 1, "")
    assert second.refused == {"short": 1, "same": 1}
