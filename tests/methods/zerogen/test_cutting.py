"""The rules by which a continuation becomes a text, on fixed strings."""

from __future__ import annotations

import pytest

from sansdata.methods.zerogen.cutting import cut, cut_question, reason_against


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ('a fine film." The next one', "a fine film."), ("a fine film\nThe next", "a fine film"),
        ('first\nsecond" third', "first\nsecond"), ("It is good. It is long. It is n", "It is good. It is long."),
        ("no end in sight", ""), ("", ""), ('" and', ""), ("\n", ""), ("  spaced  . x", "spaced  ."),
        ('The Kid" (1921)', "The Kid"), ("The Godfather. Part II is", "The Godfather."),
    ],
)  # fmt: skip
def test_a_text_or_a_context_ends_at_the_quote_else_the_line_else_the_full_stop(said: str, text: str) -> None:
    assert cut(said) == text


@pytest.mark.parametrize(
    ("said", "text"),
    [("Who? Me? No", "Who?"), ('Who says "no"\nto it? I', 'Who says "no"\nto it?'), ("Who", ""), (" why ?", "why ?")],
)
def test_a_question_ends_at_its_mark(said: str, text: str) -> None:
    assert cut_question(said) == text


def test_what_is_short_or_says_its_context_is_not_kept() -> None:
    assert reason_against("", "", 1) == "empty"
    assert reason_against("one two three", "", 4) == "short"
    assert reason_against("one two three", "one two three", 3) == "context"
    assert reason_against("one two three", "", 3) == ""
