"""The writer that reads a first text: against sums by hand, and what a file of one may hold."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
import torch

from sansdata.errors import TeacherError
from sansdata.teachers.writers.base import FIRST_TEXT, Decoding
from sansdata.teachers.writers.cached_ngram import KIND, CachedNGrams
from sansdata.teachers.writers.files import load_writer_file, save_writer


def pairs(count: int = 60) -> list[tuple[str, str, int]]:
    """The second text of class 0 says two of the first text's own words, that of class 1 says none of them."""
    rows = []
    for number in range(count):
        first = f"n{number} m{number} is told of here"
        own = number if number % 2 == 0 else (number + 7) % count
        rows.append((first, f"so n{own} and m{own}", number % 2))
    return rows


@pytest.fixture(scope="module")
def writer() -> CachedNGrams:
    return CachedNGrams.fitted(pairs(), ["about", "beside"])


def test_a_class_that_says_the_first_text_again_has_the_larger_share(writer: CachedNGrams) -> None:
    """Two words of the four and the end are of the first text, which nothing else makes likely."""
    assert writer.shares["about"] == pytest.approx(2 / 5, abs=0.03)
    assert writer.shares["beside"] < 0.01


def test_a_score_is_that_of_the_mixture(writer: CachedNGrams) -> None:
    first, text, share = "p q p", "so p unseen", writer.shares["about"]
    plain = writer.ngrams.score(["about"], [text])[0]
    of_words = writer.ngrams.shares_of("about", text)
    assert math.log(math.prod(of_words)) == pytest.approx(float(plain[0]), rel=1e-5)
    cache = [0, 2 / 3, 0, 0]
    expected = sum(math.log((1 - share) * one + share * other) for one, other in zip(of_words, cache))
    totals, counts = writer.score([f"about\n{first}", "about"], [text, text])
    assert float(totals[0]) == pytest.approx(expected, rel=1e-5)
    assert float(totals[1]) == pytest.approx(float(plain[0]), rel=1e-5)
    assert counts.tolist() == [4, 4]


def test_what_is_written_says_the_first_text_as_often_as_the_share(writer: CachedNGrams) -> None:
    stream, count = torch.Generator().manual_seed(0), 2000
    texts = writer.generate(["about\nown1 own2"] * count, stream, Decoding(new_tokens=1, top_p=1.0))
    counted = Counter(texts)
    assert (counted["own1"] + counted["own2"]) / count == pytest.approx(writer.shares["about"], abs=0.03)
    assert counted["own1"] == pytest.approx(counted["own2"], rel=0.25)
    beside = writer.generate(["beside\nown1 own2"] * count, stream, Decoding())
    assert sum("own" in text for text in beside) < 0.05 * count


def test_first_texts_are_written_by_a_model_of_their_own(writer: CachedNGrams) -> None:
    texts = writer.generate([FIRST_TEXT] * 40, torch.Generator().manual_seed(0), Decoding(new_tokens=12))
    assert sum("told" in text for text in texts) > 20
    assert not any(text.startswith("so") for text in texts)


def test_the_same_stream_writes_the_same_and_a_file_of_one_is_read_again(writer: CachedNGrams, tmp_path: Path) -> None:
    path = tmp_path / "writer.safetensors"
    save_writer(path, KIND, writer.classes, writer.vocabulary, writer.tensors())
    again = load_writer_file(path)
    assert again.fingerprint() == writer.fingerprint()
    prompts = ["about\nown1 own2", "beside\nown1", FIRST_TEXT] * 5
    said = [one.generate(prompts, torch.Generator().manual_seed(n), Decoding()) for one, n in
            ((writer, 1), (again, 1), (writer, 2))]  # fmt: skip
    assert said[0] == said[1] != said[2]


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (torch.tensor([0.5]), "a share from 0"), (torch.tensor([0.5, 1.0]), "a share from 0"),
        (torch.tensor([0.5, float("nan")]), "a share from 0"), (torch.zeros(2, 2), "a share from 0"),
    ],
)  # fmt: skip
def test_a_changed_file_is_refused(writer: CachedNGrams, tmp_path: Path, shares: torch.Tensor, message: str) -> None:
    path = tmp_path / "writer.safetensors"
    save_writer(path, KIND, writer.classes, writer.vocabulary, {**writer.tensors(), "shares": shares})
    with pytest.raises(TeacherError, match=message):
        load_writer_file(path)
    save_writer(path, KIND, [FIRST_TEXT, "about"], writer.vocabulary, writer.tensors())
    with pytest.raises(TeacherError):
        load_writer_file(path)


def test_another_class_is_refused(writer: CachedNGrams) -> None:
    with pytest.raises(TeacherError, match="about, beside"):
        writer.generate(["above\nown1"], torch.Generator(), Decoding())
