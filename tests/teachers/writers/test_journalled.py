"""A writer whose answers are kept: asked once for each question, and never again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from sansdata.errors import TeacherError
from sansdata.teachers.writers.base import UNSTEERED, Debias, Decoding, Steering
from sansdata.teachers.writers.journalled import Journalled


class Dice:
    """Says a number behind each prompt; its score is the number of letters."""

    needs_prompts, reads_contexts, scores, debiases, words, source = True, False, True, True, "letters", "dice"

    def __init__(self, mark: str = "a") -> None:
        self.mark, self.asked, self.fails_after = mark, 0, 10_000

    def generate(
        self, prompts: Sequence[str], stream: Generator, how: Decoding, steering: Steering = UNSTEERED
    ) -> list[str]:
        self.asked += len(prompts)
        if self.asked > self.fails_after:
            raise KeyboardInterrupt
        return [f"{one} {int(torch.randint(10**6, (), generator=stream))}{steering.ends}" for one in prompts]

    def score(self, prompts: Sequence[str], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        self.asked += len(texts)
        return torch.tensor([-len(text) / 3 for text in texts]), torch.tensor([len(text) for text in texts])

    def fingerprint(self) -> str:
        return self.mark


PROMPTS = [f"prompt {number}" for number in range(40)]


def texts_of(writer: Journalled, seed: int = 0, how: Decoding | None = None) -> list[str]:
    return writer.generate(PROMPTS, Generator().manual_seed(seed), how or Decoding())


def test_the_same_question_is_asked_once_and_another_anew(tmp_path: Path) -> None:
    dice = Dice()
    first = texts_of(Journalled(dice, tmp_path / "j"))
    assert dice.asked == len(set(first)) == 40
    assert texts_of(Journalled(dice, tmp_path / "j")) == first
    assert dice.asked == 40
    assert texts_of(Journalled(dice, tmp_path / "j"), seed=1) != first
    texts_of(Journalled(dice, tmp_path / "j"), how=Decoding(temperature=0.5))
    texts_of(Journalled(Dice("b"), tmp_path / "j"))
    assert dice.asked == 120


def test_the_stream_goes_on_alike_whether_answers_were_kept_or_not(tmp_path: Path) -> None:
    after = []
    for _ in range(2):
        stream = Generator().manual_seed(3)
        Journalled(Dice(), tmp_path / "j").generate(PROMPTS, stream, Decoding())
        after.append(torch.rand(4, generator=stream))
    assert torch.equal(*after)


def test_prompts_that_are_held_against_others_are_part_of_the_question(tmp_path: Path) -> None:
    dice = Dice()
    writer = Journalled(dice, tmp_path / "j")
    for against, decay in ((["x"], 5.0), (["y"], 5.0), (["y"], 7.0), (["y"], 5.0)):
        writer.generate(["one"], Generator().manual_seed(0), Decoding(), Steering([against], Debias(decay=decay)))
    assert dice.asked == 3


def test_where_a_text_may_end_is_part_of_the_question(tmp_path: Path) -> None:
    dice = Dice()
    writer = Journalled(dice, tmp_path / "j")
    asked = (Steering(ends=end) for end in ("", "?", "?"))
    said = [writer.generate(["one"], Generator().manual_seed(0), Decoding(), steering)[0] for steering in asked]
    assert dice.asked == 2
    assert [text[-1].isdecimal() for text in said] == [True, False, False]


def test_scores_come_back_bit_by_bit(tmp_path: Path) -> None:
    dice, texts = Dice(), [prompt * 3 for prompt in PROMPTS * 2]
    totals, counts = Journalled(dice, tmp_path / "j").score(PROMPTS * 2, texts)
    again = Journalled(dice, tmp_path / "j").score(PROMPTS * 2, texts)
    assert torch.equal(again[0], totals)
    assert torch.equal(again[1], counts)
    assert counts.dtype == torch.int64
    assert dice.asked == 80


def test_a_kill_loses_the_part_that_it_cut_short(tmp_path: Path) -> None:
    dice = Dice()
    dice.fails_after = 20
    with pytest.raises(KeyboardInterrupt):
        texts_of(Journalled(dice, tmp_path / "j"))
    other = Dice()
    assert texts_of(Journalled(other, tmp_path / "j")) == texts_of(Journalled(Dice(), tmp_path / "other"))
    assert other.asked == 24


def test_an_answer_of_another_form_is_refused(tmp_path: Path) -> None:
    writer = Journalled(Dice(), tmp_path / "j")
    texts_of(writer)
    for key in writer.journal.answers:
        writer.journal.answers[key] = "one text"
    with pytest.raises(TeacherError, match="another form"):
        texts_of(writer)
