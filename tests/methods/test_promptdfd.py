"""PromptDFD: what REINFORCE makes of the beginnings, which texts are kept, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from sansdata.engine.session import Session
from sansdata.errors import ConfigError, MethodError
from sansdata.figures import values
from sansdata.kinds.index import input_kind
from sansdata.methods.index import method_config
from sansdata.methods.promptdfd import PromptDFD, openings
from sansdata.runtime import Runtime
from sansdata.tasks import ClassesSpec, PairTask, TokensSpec
from sansdata.teachers.base import Teacher
from sansdata.teachers.writers.base import Decoding
from sansdata.teachers.writers.continuing import ContinuingNGrams
from sansdata.teachers.writers.vocabulary import tokenizer_of
from sansdata.testing.worlds import save_continuing_writer

LETTERS = "abcdefghijklmnopqrst"


class Counts(nn.Module):
    """Class 0 where 'a' stands in a text, class 1 where 'b' does; it doubts all others. No single word settles it
    alone that is not one of these."""

    def __init__(self, places: tuple[int, int]) -> None:
        super().__init__()
        self.places, self.nothing = places, nn.Parameter(torch.zeros(1))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return torch.stack([3.0 * ((tokens == place) & mask).any(1) for place in self.places], 1) + self.nothing


@pytest.fixture
def task(tmp_path: Path) -> PairTask:
    (tmp_path / "words.json").write_bytes(tokenizer_of([" ".join(LETTERS)], 40, words="spaces"))
    inputs = TokensSpec(tokenizer=str(tmp_path / "words.json"), length=6)  # type: ignore[call-arg]
    return PairTask(inputs=inputs, outputs=ClassesSpec(classes=2))


@pytest.fixture
def writer(tmp_path: Path) -> Path:
    return save_continuing_writer(tmp_path / "writer.safetensors")


def session_of(task: PairTask, writer: Path | str, **options: Any) -> Session:
    from sansdata.models.build import architecture_of, build

    tokenizer = input_kind(task).tokenizer  # type: ignore[attr-defined]
    places = tuple(tokenizer.encoded(letter)[0] for letter in "ab")
    teacher = Teacher.from_module(Counts(places), task)
    made = {"writer": str(writer), "batch": 64, "words": 1, "fresh": 0.0, "start": 0.0, "fluency": 0.0, **options}
    config = method_config("promptdfd", "default", made)
    return Session(PromptDFD, config, teacher, build(architecture_of("bag", task)), task, Runtime(), 0, 40)


def method_of(session: Session) -> PromptDFD:
    assert isinstance(session.method, PromptDFD)
    return session.method


def test_beginnings_move_to_what_the_teacher_wants_to_see(task: PairTask, writer: Path) -> None:
    session = session_of(task, writer, difficulty=0.0, spread=0.0, prompt_lr=0.3, steps_per_batch=1)
    method = method_of(session)
    before = method.table.detach().softmax(2)[:, 0]
    session.advance(60)
    after = method.table.detach().softmax(2)[:, 0]
    for label, letter in enumerate("ab"):
        place = method.openings.index(letter)
        assert before[label, place] == pytest.approx(1 / len(LETTERS))
        assert after[label, place] > 0.5
        assert after[1 - label, place] < before[1 - label, place]
    assert values(method.findings())["class_hit"] > 0.6


def test_the_table_begins_at_what_the_teacher_says_of_words(task: PairTask, writer: Path) -> None:
    method = method_of(session_of(task, writer, start=2.0))
    assert [method.openings[place] for place in method.table[:, 0].argmax(1).tolist()] == ["a", "b"]


def test_what_is_kept_is_new_and_sure_and_its_answers_are_the_teachers(task: PairTask, writer: Path) -> None:
    session = session_of(task, writer, confident=0.9, start=2.0)
    method = method_of(session)
    session.advance(20)
    packed, targets, logits = method.pool.packed(), method.pool.targets, method.pool.logits
    assert packed is not None
    assert targets is not None
    assert logits is not None
    count = len(method.pool)
    assert float(logits[:count].softmax(1).gather(1, targets[:count, None]).min()) >= 0.9
    with torch.no_grad():
        assert torch.equal(session.context.teacher(packed).logits, logits[:count])
    figures = values(method.findings())
    assert figures["yield"] == pytest.approx(method.record["kept"] / method.record["drawn"])
    assert len(set(method.record["known"])) == method.record["kept"] == session.context.counters["samples"]


def test_what_is_not_steered_the_model_writes_by_itself(task: PairTask, writer: Path) -> None:
    session = session_of(task, writer, fresh=1.0)
    method = method_of(session)
    session.advance(6)
    assert float(method.table.detach().abs().max()) == 0
    assert method.record["kept"] + method.record["repeated"] == method.record["drawn"]


def test_openings_are_whole_words(task: PairTask) -> None:
    kind: Any = input_kind(task)
    assert openings(kind, 5) == list("abcde")
    assert openings(kind, 100) == list(LETTERS)


def test_a_model_that_cannot_be_steered_is_refused(task: PairTask, tmp_path: Path) -> None:
    with pytest.raises(MethodError, match="no language model"):
        session_of(task, "")
    with pytest.raises(MethodError, match="no language model"):
        session_of(task, tmp_path / "nothing.gguf")
    with pytest.raises(ConfigError, match="candidates"):
        method_config("promptdfd", "default", {"candidates": 1})


def test_an_ngram_model_goes_on_with_what_it_is_given() -> None:
    writer = ContinuingNGrams.of_texts(["a b c d", "a b c e", "x y z"] * 5)
    continuations = writer.generate(
        ["a b", "x", "never met"] * 40, Generator().manual_seed(0), Decoding(top_p=0.6, new_tokens=4)
    )
    assert sum(text.startswith("c") for text in continuations[::3]) > 20
    totals, counts = writer.score(["a", "x"], ["b c", "b c"])
    assert counts.tolist() == [3, 3]
    assert totals[0] > totals[1]
    whole, _ = writer.score([""], ["a b c d"])
    assert float(whole) == pytest.approx(float(torch.tensor(writer.shares_of("text", "a b c d")).log().sum()), abs=1e-5)
