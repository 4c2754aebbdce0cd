"""The n-gram writer against counts by hand, and what a file of one may hold."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from sansdata.errors import TeacherError
from sansdata.teachers.writers.base import Decoding
from sansdata.teachers.writers.files import KEY, is_writer_file, load_writer_file, save_writer
from sansdata.teachers.writers.ngram import KIND, SMOOTHING, WEIGHTS, NGrams

TEXTS = [("a b c", 0), ("a b d", 0), ("b a", 0), ("x y", 1), ("x x y a", 1)]


@pytest.fixture
def writer() -> NGrams:
    return NGrams.fitted(TEXTS, ["left", "right"])


def test_a_score_is_the_interpolated_log_probability(writer: NGrams) -> None:
    chains = [["<", "<", *text.split(), ">"] for text, label in TEXTS if label == 0]
    one = Counter(word for chain in chains for word in chain[2:])
    two = Counter(pair for chain in chains for pair in pairwise(chain[1:]))
    three = Counter(triple for chain in chains for triple in zip(chain, chain[1:], chain[2:]))

    def share(first: str, second: str, word: str) -> float:
        total = WEIGHTS[0] * (one[word] + SMOOTHING) / (one.total() + SMOOTHING * 8)  # 6 words, the end, one unseen
        pairs = sum(count for (history, _), count in two.items() if history == second)
        total += WEIGHTS[1] * two[second, word] / pairs if pairs else 0
        triples = sum(count for (a, b, _), count in three.items() if (a, b) == (first, second))
        return total + (WEIGHTS[2] * three[first, second, word] / triples if triples else 0)

    for text in ("a b c", "b b unseen", ""):
        chain = ["<", "<", *text.split(), ">"]
        expected = sum(math.log(share(*chain[at : at + 3])) for at in range(len(chain) - 2))
        totals, counts = writer.score(["left"], [text])
        assert float(totals[0]) == pytest.approx(expected, rel=1e-5)
        assert int(counts[0]) == len(chain) - 2


def test_texts_are_of_their_class_and_follow_the_counts(writer: NGrams) -> None:
    texts = writer.generate(["left"] * 4000, torch.Generator().manual_seed(0), Decoding(top_p=1.0))
    assert {word for text in texts for word in text.split()} <= set("abcd")
    first = Counter(text.split()[0] if text else ">" for text in texts)
    unigrams = Counter({"a": 3, "b": 3, "c": 1, "d": 1, ">": 3})
    for word, follows in (("a", 2 / 3), ("b", 1 / 3), ("c", 0), (">", 0)):
        expected = WEIGHTS[0] * unigrams[word] / 11 + (WEIGHTS[1] + WEIGHTS[2]) * follows
        assert first[word] / 4000 == pytest.approx(expected, abs=0.03)


def test_narrow_decoding_takes_the_likeliest_and_fewest_keeps_the_end_away(writer: NGrams) -> None:
    for how in (Decoding(top_k=1), Decoding(top_p=1e-6), Decoding(temperature=0.05, top_p=1.0)):
        texts = writer.generate(["right"] * 50, torch.Generator().manual_seed(0), how)
        assert all(text.split()[0] == "x" for text in texts)
    longer = writer.generate(["left"] * 50, torch.Generator().manual_seed(0), Decoding(new_tokens=9, fewest=3))
    assert sum(len(text.split()) >= 3 for text in longer) > 40


def test_the_same_stream_writes_the_same(writer: NGrams) -> None:
    said = [writer.generate(["left"] * 20, torch.Generator().manual_seed(n), Decoding()) for n in (1, 1, 2)]
    assert said[0] == said[1] != said[2]


def test_a_file_of_one_is_read_again(writer: NGrams, tmp_path: Path) -> None:
    path = tmp_path / "writer.safetensors"
    save_writer(path, KIND, writer.classes, writer.vocabulary, writer.tensors())
    again = load_writer_file(path)
    assert is_writer_file(path)
    assert again.fingerprint() == writer.fingerprint()
    how = Decoding()
    assert again.generate(["right"] * 9, torch.Generator(), how) == writer.generate(
        ["right"] * 9, torch.Generator(), how
    )
    assert not is_writer_file(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trigrams.0": torch.tensor([[0, 0, 99, 1]])}, "not listed"),
        ({"trigrams.0": torch.zeros(0, 4)}, "rows of three"), ({"trigrams.1": torch.ones(3)}, "rows of three"),
        ({"trigrams.1": torch.tensor([[0, 0, 2, 0]])}, "rows of three"),
    ],
)  # fmt: skip
def test_a_changed_file_is_refused(
    writer: NGrams, tmp_path: Path, change: dict[str, torch.Tensor], message: str
) -> None:
    path = tmp_path / "writer.safetensors"
    save_writer(path, KIND, writer.classes, writer.vocabulary, {**writer.tensors(), **change})
    with pytest.raises(TeacherError, match=message):
        load_writer_file(path)
    save_writer(path, "oracle", writer.classes, writer.vocabulary, writer.tensors())
    with pytest.raises(TeacherError, match="oracle"):
        load_writer_file(path)
    save_writer(path, KIND, ["same", "same"], writer.vocabulary, writer.tensors())
    with pytest.raises(TeacherError, match="distinct"):
        load_writer_file(path)
    assert KEY == "sansdata.writer"


def test_another_class_is_refused(writer: NGrams) -> None:
    with pytest.raises(TeacherError, match="left, right"):
        writer.generate(["up"], torch.Generator(), Decoding())
