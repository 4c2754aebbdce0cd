"""A student of texts that a small language model wrote, and its accuracy on real ones.

The language model is fitted on the real training set, which the student never sees. Of an arm's `experiment`: words,
the most words of the student's vocabulary; domain, what texts of a domain look like (a regular expression), on which
accuracy is measured apart; steered, whether phrases of it, training sentences without their labels, steer what is
written. The method 'prompting' is the language model itself, asked which class makes
a text likeliest; 'real-data' is the same student on the real training set with its labels.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...api.distill import distill
from ...api.evaluate import evaluate
from ...api.result import Result
from ...datasets.labelled import KindSet
from ...engine.session import Session
from ...evaluate.labelled import Evaluation
from ...files import write_atomic
from ...tasks import PairTask, Task, load_task
from ...teachers.base import Teacher
from ...teachers.specs import load_teacher
from ...teachers.writers.base import Decoding, Writer
from ...teachers.writers.files import save_writer
from ...teachers.writers.ngram import KIND, NGrams
from ...teachers.writers.sources import load_writer
from ...teachers.writers.vocabulary import tokenizer_of
from ..real_data import RealLabels
from ..recipes.model import Arm, Recipe
from ..students import ceiling, drawn
from ..teachers import cache
from ..texts import SETS
from . import distil

PILOT = 4000
"""Texts of each class that are written to see which words there are, before any run."""
PHRASES = 60
"""Of a domain."""


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; the test set is opened once, after the last step."""
    task = load_task(recipe.task)
    spec = fitted(recipe, task)
    writer = load_writer(str(spec))
    words = folder / "words.json"
    write_atomic(words, vocabulary(writer, task, arm.experiment.get("words", 100_000)))
    task = reading(task, words)
    of_writer = load_teacher(str(spec), task)
    if arm.method == "prompting":
        score = evaluate(str(spec), test_of(recipe, task), task)
        return {"accuracy": score.accuracy, "steps": 0, "cost": {"samples": 0}, "measures": measures(score)}
    if arm.method == "real-data":
        session = on_real_data(recipe, arm, seed, task, of_writer)
        score = evaluate(session.student.eval(), test_of(recipe, session.task), session.task)
        cost = dict(session.context.counters.values)
        return {"accuracy": score.accuracy, "steps": arm.steps, "cost": cost, "measures": measures(score)}
    options, domain = dict(arm.options), arm.experiment.get("domain", "")
    if arm.experiment.get("steered"):
        options["domain"] = str(phrases(recipe, domain, folder / "phrases.txt"))
    result = distill(
        str(spec), recipe.student, arm.method, f"{arm.steps}steps", folder / "run", seed, task=task, strict=True,
        preset=arm.preset, options=options, settings={"threads": recipe.threads, "engine": {"snapshots": 1}},
    )  # fmt: skip
    samples = result.summary["samples"]
    of_texts = {name: 100 * samples[name] for name in ("yield", "distinct_3", "self_bleu")}
    score = evaluate(result, test_of(recipe, task))
    apart = by_domain(result, recipe, task, domain) if domain else {}
    return {
        "accuracy": score.accuracy, **distil.of_run(result), "measures": measures(score) | of_texts | apart,
    }  # fmt: skip


def test_of(recipe: Recipe, task: Task) -> KindSet:
    """The real texts that nothing learned from."""
    return SETS[recipe.data]()[1].read(task, recipe.data)


def fitted(recipe: Recipe, task: Task) -> Path:
    """The file of the language model, one n-gram model per class, fitted where it is not there yet."""
    path = cache() / f"{recipe.data}-{KIND}.safetensors"
    if not path.is_file():
        train, _ = SETS[recipe.data]()
        writer = NGrams.fitted(list(zip(train.texts, train.labels.tolist())), task.class_names)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_writer(path, KIND, writer.classes, writer.vocabulary, writer.tensors())
    return path


def vocabulary(writer: Writer, task: Task, size: int) -> bytes:
    """A tokenizer of the words that the writer itself uses, the same for every seed."""
    stream = torch.Generator().manual_seed(0)
    texts = [text for name in task.class_names for text in writer.generate([name] * PILOT, stream, Decoding())]
    return tokenizer_of(texts, size, words=writer.words)


def reading(task: Task, words: Path) -> PairTask:
    """The task, its texts read by the tokenizer at `words`."""
    fields = task.inputs.model_dump(exclude={"vocabulary", "tokenizer"}) | {"tokenizer": str(words)}
    return PairTask(inputs=fields, outputs=task.outputs)


def phrases(recipe: Recipe, domain: str, file: Path) -> Path:
    """A file with the first training sentences of the domain, without their labels."""
    texts = [text for text in SETS[recipe.data]()[0].texts if re.search(domain, text)]
    write_atomic(file, "\n".join(texts[:PHRASES]))
    return file


def by_domain(result: Result, recipe: Recipe, task: Task, domain: str) -> dict[str, float]:
    """Accuracy, in percent, on the test texts of the domain and on the others."""
    real = test_of(recipe, task)
    inside = np.array([bool(re.search(domain, text)) for text in SETS[recipe.data]()[1].texts])
    parts = {"in the domain": inside, "elsewhere": ~inside}
    return {name: 100 * evaluate(result, real.subset(np.flatnonzero(part))).accuracy for name, part in parts.items()}


def on_real_data(recipe: Recipe, arm: Arm, seed: int, task: Task, teacher: Teacher) -> Session:
    """The student at the end of its steps on the real training set."""
    student = drawn(recipe.student, seed, teacher, task)
    real = SETS[recipe.data]()[0].read(task)
    method = RealLabels.on(real.packed, torch.from_numpy(real.labels))
    return ceiling(method, arm, seed, teacher, student.module, student.task)


def measures(score: Evaluation) -> dict[str, float]:
    """In percent: how far the classes that are named on the real texts are from those that they are."""
    table = torch.tensor(score.confusion, dtype=torch.float64)
    gaps = (table.sum(0) - table.sum(1)).abs().sum() / 2
    return {"misplaced": 100 * float(gaps / table.sum())}
