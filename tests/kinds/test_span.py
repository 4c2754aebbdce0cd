"""Spans: what is true of an answer, how answers are compared, and tasks that are none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sansdata.contracts import Outputs
from sansdata.errors import TaskError
from sansdata.figures import values
from sansdata.kinds.inputs.tokenizer import Tokenizer
from sansdata.kinds.outputs.span import OUTSIDE, Spans, place_of
from sansdata.models.span_nets import OUT
from sansdata.tasks import SpanSpec, load_task
from sansdata.teachers.writers.vocabulary import tokenizer_of

TEXT = "The red cat saw the dog. A red bird sang."


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    (tmp_path / "words.json").write_bytes(tokenizer_of([TEXT], 40))
    return Tokenizer.of(tmp_path / "words.json")


def kind(positions: int = 12) -> Spans:
    return Spans(SpanSpec(positions=positions, longest=4))


def pointing(*spans: tuple[int, int], positions: int = 12) -> np.ndarray:
    answers = np.zeros((len(spans), positions, 2), dtype=np.float32)
    for row, (first, last) in enumerate(spans):
        answers[row, first, 0] = answers[row, last, 1] = 5
    return answers


def test_exact_and_f1_are_those_of_the_words(tokenizer: Tokenizer) -> None:
    letters = [(4, 11), (20, 23), (25, 35), (36, 40)]  # red cat; dog; A red bird; sang
    truth = kind().truth(tokenizer, [TEXT] * 4, letters)
    assert truth[:, :2].tolist() == [[1, 2], [5, 5], [7, 9], [10, 10]]
    figures = values(kind().evaluate(pointing((0, 2), (5, 6), (1, 1), (3, 3)), truth))
    # "The red cat" is right but for an article, "dog." but for a sign; "red" of another place is one of two words.
    assert figures["exact"] == 0.5
    assert figures["f1"] == pytest.approx((1 + 1 + 2 / 3 + 0) / 4)
    beside = values(kind().evaluate(pointing((0, 2), (5, 6), (1, 1), (3, 3)), truth, pointing(*[(1, 2)] * 4)))
    assert beside["teacher_exact"] == 0.25
    assert beside["agreement"] == 0


def test_an_answer_that_was_cut_off_is_wrong(tokenizer: Tokenizer) -> None:
    truth = kind(5).truth(tokenizer, [TEXT, TEXT], [(20, 23), (8, 15)])
    assert truth[:, 0].tolist() == [OUTSIDE, 2]
    figures = values(kind(5).evaluate(pointing((4, 4), (2, 3), positions=5), truth))
    assert (figures["exact"], figures["outside"]) == (0.5, 0.5)


def test_padding_is_not_matched_whatever_a_teacher_says_there() -> None:
    """A reader that puts nothing of its own at padding gave a divergence of 10,000."""
    stream = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(3, 12, 2, generator=stream, dtype=torch.float64) for _ in range(2))
    student[:, 8:] = OUT
    how = SimpleNamespace(match="kl", temperature=1.0)
    whole = kind().match(Outputs(student), Outputs(teacher), how)
    words = kind(8).match(Outputs(student[:, :8]), Outputs(teacher[:, :8]), how)
    assert torch.allclose(whole, words)
    assert torch.allclose(kind().match(Outputs(teacher), Outputs(student), how), kind(8).match(
        Outputs(teacher[:, :8]), Outputs(student[:, :8]), how
    ))  # fmt: skip
    agreed, of_words = kind().agreement(student, teacher), kind(8).agreement(student[:, :8], teacher[:, :8])
    assert agreed == pytest.approx(of_words)


def test_places_are_tokens_that_hold_all_letters() -> None:
    places = [(0, 0), (0, 3), (3, 7), (8, 9)]
    assert place_of(places, 1, 5) == (1, 2)
    assert place_of(places, 8, 12) is None
    assert place_of(places, 20, 22) is None


def test_a_teachers_answers_are_a_labelled_set() -> None:
    answers = torch.from_numpy(pointing((1, 3), (4, 4)))
    figures = values(kind().evaluate(answers.numpy(), kind().targets(answers)))
    assert (figures["exact"], figures["f1"]) == (1, 1)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"inputs": {"kind": "tokens", "vocabulary": 9, "length": 4}}, "two-texts"),
        ({"outputs": {"kind": "span", "positions": 7}}, "positions=7"),
        ({"outputs": {"kind": "span", "longest": 0}}, "longest"),
    ],
)
def test_a_task_that_is_none_is_refused(changed: dict[str, Any], words: str) -> None:
    inputs = {"kind": "two-texts", "vocabulary": 9, "length": 4, "first_length": 6}
    with pytest.raises(TaskError, match=words):
        load_task({"inputs": inputs, "outputs": {"kind": "span"}} | changed)
    assert load_task({"inputs": inputs, "outputs": {"kind": "span"}}).outputs.positions == 6
