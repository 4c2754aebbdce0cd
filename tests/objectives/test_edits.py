"""One form for texts of any script: what is forgiven, and what is not."""

from __future__ import annotations

import re
import unicodedata

import pytest

from sansdata.kinds.outputs.transcript import error_rates
from sansdata.objectives.edits import normalised, word_error_rate

WHOLE = {
    "Hindi": ("हिन्दी में बात", "हिन्दू मैं बूत"),
    "Tamil": ("தமிழ் நான்", "தமழ நன"),
    "Thai": ("ที่นี่", "ทานา"),
    "vocalised Arabic": ("مُحَمَّد", "مِحِمِّد"),
    "Yoruba": ("ẹ́kọ́", "ẹ̀kọ̀"),
}


@pytest.mark.parametrize("reference", [pair[0] for pair in WHOLE.values()], ids=WHOLE)
def test_a_word_of_any_script_is_one_word_with_its_marks(reference: str) -> None:
    plain = unicodedata.normalize("NFKC", reference)
    assert normalised(f"«{reference}!»") == plain


@pytest.mark.parametrize(("reference", "other"), WHOLE.values(), ids=WHOLE)
def test_a_wrong_vowel_is_an_error(reference: str, other: str) -> None:
    rates = {one.name: getattr(one, "value", None) for one in error_rates([reference], [other])}
    assert rates["wer"] == 1
    assert rates["exact"] == 0
    assert word_error_rate(reference, other) == 1
    assert word_error_rate(reference, unicodedata.normalize("NFD", reference)) == 0


def test_capitals_and_joiners_part_no_word() -> None:
    assert len(normalised("İstanbul GÜZEL").split()) == 2
    assert normalised("GÜZEL") == normalised("gu\u0308zel") == "güzel"
    assert len(normalised("क्\u200dष").split()) == 1


def test_a_mark_behind_no_letter_is_none() -> None:
    assert normalised("it´s a ❤\ufe0f, 1\ufe0f\u20e3 of `em") == "it s a 1 of em"


def test_whatever_has_no_marks_is_what_it_was() -> None:
    """Every sign but marks and joiners, alone and within a word, beside the expression that had no word for marks."""
    for number in range(0x3000):
        sign = chr(number)
        plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", sign).lower())
        if any(unicodedata.category(one)[0] == "M" or one in "\u200c\u200d" for one in plain):
            continue
        before = re.sub(r"[^\w\s']|_", " ", f"a{plain}b {plain}".replace("’", "'"))
        assert normalised(f"a{sign}b {sign}") == " ".join(one.strip("'") for one in before.split() if one.strip("'"))
