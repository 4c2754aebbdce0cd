"""A student of questions that a small language model wrote to phrases of contexts that are given, and what it finds in
others.

The language model is fitted on questions about other articles, which the student never sees. The method 'prompting' is
the language model itself, asked which phrase makes a question likeliest; 'chance' is a phrase drawn evenly, 'first' the
first one; 'real-data' is the same student on the questions that the language model was fitted on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...api.distill import distill
from ...datasets.labelled import KindSet
from ...datasets.questions import questions_as_set
from ...engine.session import Session
from ...evaluate.labelled import Evaluation, evaluate_model, summarise
from ...kinds.inputs.two_texts import TwoTexts
from ...kinds.outputs.span import OUTSIDE
from ...network import Network
from ...tasks import PairTask, SpanSpec, TwoTextsSpec
from ...teachers.specs import load_teacher
from ...teachers.writers.asking import KIND, SORTS, AskingNGrams
from ...teachers.writers.base import Decoding
from ...teachers.writers.files import save_writer
from ...teachers.writers.phrases import phrases
from ...teachers.writers.prompted_spans import spans_of
from ...teachers.writers.sources import load_writer
from .. import questions
from ..real_data import RealLabels
from ..recipes.model import Arm, Recipe
from ..students import ceiling, drawn
from ..teachers import cache
from ..texts import train_tokenizer
from . import distil

PART = "test"
PIECES = 3000
FIRST_LENGTH, LENGTH = 256, 24
"""Pieces of a paragraph and of a question that are read."""


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; the test questions are opened after the last step. 'accuracy' is the exact match."""
    spec = fitted()
    task = task_of(spec, folder / "pieces.json")
    if arm.method in ("chance", "first", "prompting"):
        real = test_of(task)
        score = of_rule(arm.method, real, task, seed) if arm.method != "prompting" else evaluate_model(
            load_teacher(str(spec), task), real, task)  # fmt: skip
        return {"accuracy": score.exact, "steps": 0, "cost": {"samples": 0}, "measures": measures(score)}
    if arm.method == "real-data":
        session = on_real_data(recipe, arm, seed, spec, task)
        score = evaluate_model(Network.of(session.student.eval(), task), test_of(task), task)
        cost = dict(session.context.counters.values)
        return {"accuracy": score.exact, "steps": arm.steps, "cost": cost, "measures": measures(score)}
    options = {**arm.options, "contexts": str(questions.write_contexts(folder / "contexts.txt", "given"))}
    result = distill(
        str(spec), recipe.student, arm.method, f"{arm.steps}steps", folder / "run", seed, task=task, strict=True,
        preset=arm.preset, options=options, settings={"threads": recipe.threads, "engine": {"snapshots": 1}},
    )  # fmt: skip
    samples = result.summary["samples"]
    of_texts = {name: 100 * samples[name] for name in ("yield", "distinct_3", "first_texts_given")}
    score = evaluate_model(Network.of(result.student.eval(), task), test_of(task), task)
    return {"accuracy": score.exact, **distil.of_run(result), "measures": measures(score) | of_texts}


def test_of(task: PairTask) -> KindSet:
    """The real questions that nothing learned from."""
    return questions_as_set(list(questions.asked(PART)), task, "XQuAD, English")


def fitted() -> Path:
    """The file of the language model, fitted where it is not there yet."""
    path = cache() / f"xquad-{KIND}.safetensors"
    if not path.is_file():
        writer = AskingNGrams.of_questions(
            [(row.context, row.question, row.answer) for row in questions.asked("train")]
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        save_writer(path, KIND, SORTS, writer.vocabulary, writer.tensors())
    return path


def task_of(spec: Path, pieces: Path) -> PairTask:
    """Read by pieces of the words of the contexts that are given and of the questions that are written to them: a word
    that nobody has met is read by its parts."""
    writer, contexts = load_writer(str(spec)), questions.contexts("given")
    prompts = [f"{text[start:end]}\n{text}" for text in contexts for start, end in phrases(text)]
    written = writer.generate(prompts, torch.Generator().manual_seed(0), Decoding())
    train_tokenizer(pieces, [*contexts, *written], PIECES)
    inputs = TwoTextsSpec(tokenizer=str(pieces), length=LENGTH, first_length=FIRST_LENGTH)  # type: ignore[call-arg]
    return PairTask(inputs=inputs, outputs=SpanSpec())


def of_rule(rule: str, real: KindSet, task: PairTask, seed: int) -> Evaluation:
    """What one finds who does not read the question."""
    tokenizer = TwoTexts(task.inputs).tokenizer
    assert tokenizer is not None
    outputs = task.outputs
    assert isinstance(outputs, SpanSpec)
    answers = np.zeros((len(real), outputs.positions, 2), dtype=np.float32)
    random = np.random.RandomState(seed)
    assert not isinstance(real.packed, torch.Tensor)
    for row, (ids, mask) in enumerate(zip(real.packed["first"], real.packed["first_mask"])):
        spans = spans_of(*tokenizer.letters(ids[mask].tolist()), outputs.longest)
        begin, end = spans[0 if rule == "first" else random.randint(len(spans))]
        answers[row, begin, 0] = answers[row, end, 1] = 1
    return summarise(answers, real, task)


def on_real_data(recipe: Recipe, arm: Arm, seed: int, spec: Path, task: PairTask) -> Session:
    """The student at the end of its steps on the real questions of the language model."""
    teacher = load_teacher(str(spec), task)
    student = drawn(recipe.student, seed, teacher, task)
    real = questions_as_set(list(questions.asked("train")), task, "XQuAD, English")
    real = real.subset(np.flatnonzero(real.labels[:, 0] != OUTSIDE))
    method = RealLabels.on(real.packed, torch.from_numpy(real.labels[:, :2].copy()))
    return ceiling(method, arm, seed, teacher, student.module, student.task)


def measures(score: Evaluation) -> dict[str, float]:
    """In percent."""
    return {"f1": 100 * score.f1, "outside": 100 * score.outside}
