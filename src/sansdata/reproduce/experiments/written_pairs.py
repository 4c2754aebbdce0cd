"""A student of second texts that a small language model wrote to first ones, and its accuracy on real pairs.

The language model is fitted on real pairs, which the student never sees. Of an arm's `experiment`: firsts, 'given'
(real reports, of which no headline is seen by anybody) or 'written' by the language model. The method 'prompting' is
the language model itself, asked under which class a headline is likelier beside its report; 'real-data' is the same
student on the pairs that the language model was fitted on, with their labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ...api.distill import distill
from ...api.evaluate import evaluate
from ...engine.session import Session
from ...files import write_atomic
from ...tasks import ClassesSpec, PairTask, TwoTextsSpec
from ...teachers.specs import load_teacher
from ...teachers.writers.base import FIRST_TEXT, Decoding
from ...teachers.writers.cached_ngram import KIND, CachedNGrams
from ...teachers.writers.files import save_writer
from ...teachers.writers.sources import load_writer
from ...teachers.writers.vocabulary import tokenizer_of
from .. import headlines
from ..real_data import RealLabels
from ..recipes.model import Arm, Recipe
from ..students import ceiling, drawn
from ..teachers import cache
from . import distil
from .written import measures

PART = "test"
WORDS = 20_000
PILOT = 2000
"""First texts that are written to see which words there are, before any run."""
LENGTH, FIRST_LENGTH = 16, 48


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm; the test pairs are opened once, after the last step."""
    spec, with_firsts = fitted(), arm.experiment.get("firsts", "given") == "given"
    task = task_of(spec, folder / "words.json", with_firsts)
    if arm.method == "prompting":
        score = evaluate(str(spec), headlines.pairs(PART).read(task), task)
        return {"accuracy": score.accuracy, "steps": 0, "cost": {"samples": 0}, "measures": measures(score)}
    if arm.method == "real-data":
        session = on_real_data(recipe, arm, seed, spec, task)
        score = evaluate(session.student.eval(), headlines.pairs(PART).read(task), task)
        cost = dict(session.context.counters.values)
        return {"accuracy": score.accuracy, "steps": arm.steps, "cost": cost, "measures": measures(score)}
    options = dict(arm.options)
    if with_firsts:
        options["contexts"] = str(headlines.write_given(folder / "reports.txt"))
    result = distill(
        str(spec), recipe.student, arm.method, f"{arm.steps}steps", folder / "run", seed, task=task, strict=True,
        preset=arm.preset, options=options, settings={"threads": recipe.threads, "engine": {"snapshots": 1}},
    )  # fmt: skip
    samples = result.summary["samples"]
    of_texts = {name: 100 * samples[name] for name in ("yield", "distinct_3", "first_texts_given")}
    score = evaluate(result, headlines.pairs(PART).read(task))
    return {"accuracy": score.accuracy, **distil.of_run(result), "measures": measures(score) | of_texts}


def fitted() -> Path:
    """The file of the language model, fitted where it is not there yet."""
    path = cache() / f"ag-headlines-{KIND}.safetensors"
    if not path.is_file():
        writer = CachedNGrams.fitted(headlines.pairs("train").rows, headlines.CLASSES)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_writer(path, KIND, writer.classes, writer.vocabulary, writer.tensors())
    return path


def task_of(spec: Path, words: Path, given: bool) -> PairTask:
    """Read by the words of the language model and of the first texts that the student meets."""
    writer = load_writer(str(spec))
    firsts = [item.report for item in headlines.items("given")] if given else []
    how, stream = Decoding(new_tokens=FIRST_LENGTH), torch.Generator().manual_seed(0)
    firsts = firsts or writer.generate([FIRST_TEXT] * PILOT, stream, how)
    seconds = [
        text for name in headlines.CLASSES
        for text in writer.generate([f"{name}\n{first}" for first in firsts], stream, Decoding(new_tokens=LENGTH))
    ]  # fmt: skip
    write_atomic(words, tokenizer_of([*firsts, *seconds], WORDS, words=writer.words))
    inputs = TwoTextsSpec(tokenizer=str(words), length=LENGTH, first_length=FIRST_LENGTH)  # type: ignore[call-arg]
    return PairTask(inputs=inputs, outputs=ClassesSpec(classes=2, class_names=headlines.CLASSES))


def on_real_data(recipe: Recipe, arm: Arm, seed: int, spec: Path, task: PairTask) -> Session:
    """The student at the end of its steps on the real training pairs."""
    teacher = load_teacher(str(spec), task)
    student = drawn(recipe.student, seed, teacher, task)
    real = headlines.pairs("train").read(task)
    method = RealLabels.on(real.packed, torch.from_numpy(real.labels))
    return ceiling(method, arm, seed, teacher, student.module, student.task)
