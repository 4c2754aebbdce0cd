"""A writer of questions, and the same one as a reader; phrases by hand."""

from __future__ import annotations

from pathlib import Path

import torch

from sansdata.figures import values
from sansdata.kinds.index import input_kind, output_kind
from sansdata.kinds.inputs.tokenizer import Tokenizer
from sansdata.kinds.outputs.span import Spans
from sansdata.teachers.writers.asking import KIND, SORTS, AskingNGrams
from sansdata.teachers.writers.base import Decoding
from sansdata.teachers.writers.files import load_writer_file, save_writer
from sansdata.teachers.writers.phrases import phrases
from sansdata.teachers.writers.prompted_spans import NEVER, spans_of
from sansdata.testing.worlds import WORLDS, made_up_questions


def test_phrases_are_runs_between_function_words_and_signs() -> None:
    text = "In 1990 the Panthers' defense, led by Kawann Short, had 1,308 points (22.5% of all) in b c d e f g."
    assert [text[start:end] for start, end in phrases(text)] == [
        "1990", "Panthers", "defense", "led", "Kawann Short", "1,308 points", "22.5%",
    ]  # fmt: skip


def test_phrases_stand_at_their_tokens(tmp_path: Path) -> None:
    text = "the big cat saw four dogs"
    places = [(0, 3), (3, 7), (7, 11), (11, 15), (15, 20), (20, 25)]
    assert spans_of(text, places, 9) == [(1, 5)]
    assert spans_of(text, places, 4) == []
    assert spans_of(text, places[:4], 9) == []


def test_a_question_is_of_the_answers_sentence_and_sort() -> None:
    rows = [
        ("it was. kindc ran for 4 of otherb", "who is of otherb", "kindc"),
        ("kindd had 3 of othere", "how many", "3"),
    ]
    writer = AskingNGrams.of_questions(rows * 10)
    stream = torch.Generator().manual_seed(0)
    continuations = writer.generate(["7\nthere are 7 of othera"] * 30, stream, Decoding(new_tokens=6, top_p=1))
    assert sum("how" in text or "many" in text for text in continuations) > 20
    assert not any("who" in text for text in continuations)
    totals, counts = writer.score(["kindc\n" + rows[0][0], "4\n" + rows[0][0]], ["Who is of otherb"] * 2)
    assert counts.tolist() == [5, 5]
    assert totals[0] > totals[1]


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    writer = AskingNGrams.of_questions(made_up_questions())
    save_writer(tmp_path / "w.safetensors", KIND, SORTS, writer.vocabulary, writer.tensors())
    again = load_writer_file(tmp_path / "w.safetensors")
    assert again.fingerprint() == writer.fingerprint()


def test_as_a_reader_it_finds_what_a_question_asks_for() -> None:
    world, rows = WORLDS["asker"], made_up_questions()[:40]
    kind, outputs = input_kind(world.task), output_kind(world.task)
    assert isinstance(outputs, Spans)
    letters = [(context.index(f" {answer}") + 1,) * 2 for context, _, answer in rows]
    spans = [(at, at + len(answer)) for (at, _), (_, _, answer) in zip(letters, rows)]
    tokenizer = Tokenizer.of(world.task.inputs.tokenizer)
    truth = outputs.truth(tokenizer, [context for context, _, _ in rows], spans)
    answers = world.teacher()(kind.read([row[0] for row in rows], [row[1] for row in rows])).value  # type: ignore[attr-defined]
    assert values(outputs.evaluate(answers.numpy(), truth))["exact"] > 0.9
    assert float(answers.min()) == NEVER
