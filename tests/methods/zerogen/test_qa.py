"""ZeroGen for answers in a context: what the student learns of written questions, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sansdata.datasets.questions import Asked, questions_as_set
from sansdata.engine.session import Session
from sansdata.errors import MethodError
from sansdata.evaluate.labelled import evaluate_model
from sansdata.figures import values
from sansdata.methods.auto import choose_method
from sansdata.methods.index import method_config
from sansdata.methods.zerogen.answers import reason_against
from sansdata.methods.zerogen.qa import ZeroGenQA
from sansdata.network import Network
from sansdata.runtime import Runtime
from sansdata.teachers.writers.asking import AskingNGrams
from sansdata.teachers.writers.base import Steering
from sansdata.testing.worlds import WORLDS, AskerWorld, made_up_questions

WORLD = WORLDS["asker"]


@pytest.fixture
def contexts(tmp_path: Path) -> Path:
    file = tmp_path / "contexts.txt"
    file.write_text("\n".join(dict.fromkeys(context for context, _, _ in made_up_questions(200))))
    return file


def session_of(contexts: Path | str, steps: int = 10, **options: Any) -> Session:
    made = {"contexts": str(contexts), "texts": 40, "chunk": 20, "min_words": 3, "near": 1, **options}
    config = method_config("zerogen-qa", "default", made)
    return Session(ZeroGenQA, config, WORLD.teacher(), WORLD.module(), WORLD.task, Runtime(), 0, steps)


def written(session: Session) -> ZeroGenQA:
    while session.method.next_move() == "acquire":
        session.move()
    assert isinstance(session.method, ZeroGenQA)
    return session.method


def f1_of(session: Session) -> float:
    """On real questions about the same sort of context."""
    rows = [
        Asked(context, question, at, at + len(answer))
        for context, question, answer in made_up_questions(120)
        for at in [context.index(f" {answer}") + 1]
    ]
    module = session.trained.eval()
    return evaluate_model(Network.of(module, WORLD.task), questions_as_set(rows, WORLD.task, "made up"), WORLD.task).f1


def test_a_student_of_written_questions_finds_real_answers(contexts: Path) -> None:
    """Who and how many stand at different places, so only the question tells; shuffled questions are the floor."""
    scores = []
    for shuffled in (False, True):
        options = {"texts": 300, "chunk": 100, "shuffled": shuffled, "transfer": {"batch": 32, "lr": 0.005}}
        session = session_of(contexts, 150, **options)
        session.advance(153)
        scores.append(f1_of(session))
    assert scores[0] > 0.75
    assert scores[0] > scores[1] + 0.2


def test_questions_stand_beside_their_context_and_its_answer(contexts: Path) -> None:
    method = written(session_of(contexts, per_answer=3))
    packed, places = method.pool.packed(), method.pool.targets
    assert packed is not None
    assert places is not None
    assert not isinstance(packed, torch.Tensor)
    tokenizer = method.kind.tokenizer
    assert tokenizer is not None
    shown = tokenizer.texts(packed["first"], packed["first_mask"])
    for row, (text, place) in enumerate(zip(method.written.texts, method.written.labels)):
        chosen = method.answers[place]
        first, last = places[row, :2].tolist()
        assert tokenizer.decoded(packed["first"][row, first : last + 1].tolist()) == chosen.answer
        assert chosen.answer not in text
        assert shown[row] == chosen.context
    figures = values(method.findings())
    assert figures["first_texts_given"] == 1
    assert figures["written"] == len(method.written) == 40


def test_a_question_is_written_to_its_mark_whatever_it_quotes(contexts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def generate(self: AskingNGrams, prompts: list[str], stream: Any, how: Any, steering: Steering) -> list[str]:
        asked.append(steering.ends)
        return plain(self, prompts, stream, how, steering)

    plain = AskingNGrams.generate
    monkeypatch.setattr(AskingNGrams, "generate", generate)
    written(session_of(contexts))
    assert set(asked) == {"?"}


def test_every_answer_is_asked_for_before_any_is_again(contexts: Path) -> None:
    method = session_of(contexts, per_answer=2).method
    assert isinstance(method, ZeroGenQA)
    total = len(method.answers)
    places = method._next(total) + method._next(3 * total)
    for round_ in range(2):
        of_round = places[2 * total * round_ : 2 * total * (round_ + 1)]
        assert sorted(of_round) == sorted([*range(total), *range(total)])
    assert places[: 2 * total] != places[2 * total :]


@pytest.mark.parametrize(
    ("question", "reason"),
    [("", "empty"), ("who was it", "short"), ("who is Anna and what did she do", "answer"), ("who came at nine", "")],
)
def test_questions_that_give_the_answer_away_or_are_none_are_not_kept(question: str, reason: str) -> None:
    assert reason_against(question, "anna", 4) == reason


def test_settings_that_cannot_work_are_refused(tmp_path: Path, contexts: Path) -> None:
    with pytest.raises(MethodError, match="contexts=FILE"):
        session_of("")
    (tmp_path / "none.txt").write_text("of the and to")
    with pytest.raises(MethodError, match="no phrase"):
        session_of(tmp_path / "none.txt")
    with pytest.raises(MethodError, match="none of"):
        written(session_of(contexts, min_words=50))


def test_it_is_chosen_for_a_teacher_that_asks() -> None:
    assert isinstance(WORLD, AskerWorld)
    choice = choose_method(WORLD.teacher(), on_cpu=True)
    assert (choice.method, choice.preset) == ("zerogen-qa", "small")


def test_no_more_than_the_wanted_questions_are_written_before_the_first_step(contexts: Path) -> None:
    method = written(session_of(contexts, texts=30, chunk=20))
    assert len(method.written) == 30
