"""Run directories as the engine and the evaluation write them: each world really runs once, a test damages a copy."""

from __future__ import annotations

import csv
import json
import math
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny import Tiny, make_tiny, world_of

import sansdata
from sansdata.config import dump_yaml
from sansdata.datasets.labelled import KindSet
from sansdata.engine.kept_samples import archive
from sansdata.engine.run import run
from sansdata.evaluate.labelled import evaluate_model, summarise
from sansdata.kinds.index import input_kind, output_kind
from sansdata.tasks import ImageTask

IMAGE, TABLE, TOKENS = "dafl", "noise/table", "noise/tokens"
NAMES = ("circle", "square", "cross", "star")
COMMAND = "sansdata distill --teacher teacher.safetensors --task task.yaml --budget 8steps"
STEPS = 8


# -- made once


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


@cache
def tiny() -> Tiny:
    """Its task of images has names for its classes."""
    world = make_tiny(Path(_folder().name))
    named = world_of(IMAGE).task.model_copy(update={"class_names": NAMES})
    Path(world.task).write_text(dump_yaml(named.model_dump(mode="json")))
    return world


@cache
def finished(row: str) -> Path:
    """The directory of a whole run. Nobody writes there."""
    out = Path(_folder().name) / f"run-{row.replace('/', '-')}"
    engine = {"snapshots": 4, "sample_grids": 4, "log_every": 1}
    settings = tiny().settings(row, {"transfer": {"batch": 16}}, engine=engine, seed=7)
    return run(settings, out, command=COMMAND)


@cache
def _measured(row: str) -> str:
    copy = Path(_folder().name) / f"measured-{row.replace('/', '-')}"
    shutil.copytree(finished(row), copy)
    if row == TOKENS:  # no text can be read without a tokenizer
        data, task = texts(), world_of(row).task
        student = world_of(row).student()
        network = sansdata.Teacher.from_module(student, task).network
        teacher = world_of(row).teacher().network
        return json.dumps(evaluate_model(lambda x: network(x).value, data, task, lambda x: teacher(x).value).to_dict())
    data = str(tiny().data if row == IMAGE else table())
    sansdata.report(copy, data=data)
    over_time = read(copy, "evaluation.json")["over_time"]
    return json.dumps(
        sansdata.evaluate(copy, data, teacher=tiny().teacher_of(row)).to_dict() | {"over_time": over_time}
    )


@cache
def table() -> Path:
    """A labelled .csv of the table world."""
    world, path = world_of(TABLE), Path(_folder().name) / "rows.csv"
    kind, names = input_kind(world.task), [column.name for column in world.task.inputs.columns]
    rows = kind.draw(60, torch.Generator().manual_seed(5))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "label"])
        for record, label in zip(kind.preview(kind.pack(rows)), _classes(TABLE, rows)):
            fields = record.fields  # type: ignore[union-attr]
            writer.writerow(["" if fields[name] == "missing" else fields[name] for name in names] + [label])
    return path


def texts() -> KindSet:
    world = world_of(TOKENS)
    rows = input_kind(world.task).draw(60, torch.Generator().manual_seed(5))
    return KindSet(world.task, rows, np.array(_classes(TOKENS, rows)), (), "texts", ())


def _classes(row: str, inputs: Any) -> list[int]:
    return world_of(row).teacher().network(inputs).value.argmax(1).tolist()


# -- for a test


def build(directory: Path, row: str = IMAGE) -> Path:
    """A copy of a whole finished run at `directory`, without what is too large to copy a hundred times."""
    shutil.copytree(
        finished(row), directory, ignore=shutil.ignore_patterns("checkpoints", "snapshots", "*.safetensors")
    )
    return directory


def evaluation(row: str = IMAGE, **changes: Any) -> dict[str, Any]:
    """What evaluation.json of the run holds, with a teacher beside and accuracy over time."""
    return json.loads(_measured(row)) | changes


def constant_answers() -> dict[str, Any]:
    """What evaluation.json holds of a student that names one class, on a set of which three in four are that class."""
    task = world_of(IMAGE).task.model_copy(update={"class_names": NAMES})
    truth = np.repeat(np.arange(4), [60, 8, 7, 5])
    rows = KindSet(task, torch.zeros(80, 0), truth, NAMES, "an uneven set", ())
    return summarise(np.tile([2.0, 0, 0, 0], (80, 1)), rows, task).to_dict()


def read(run: Path, name: str) -> dict[str, Any]:
    return json.loads((run / name).read_text(encoding="utf-8"))


def write_json(run: Path, name: str, value: Any) -> None:
    (run / name).write_text(json.dumps(value), encoding="utf-8")


def change(run: Path, name: str, **changes: Any) -> dict[str, Any]:
    """Other values for some keys of a JSON file of the run."""
    value = read(run, name) | changes
    write_json(run, name, value)
    return value


def figure(tree: dict[str, Any], name: str) -> dict[str, Any]:
    """An entry of the list `figures`, which a test may change."""
    return next(one for one in tree["figures"] if one["name"] == name)


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def write_lines(run: Path, several: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line) + "\n" for line in several)
    (run / "metrics.jsonl").write_text(text, encoding="utf-8")


def many_lines(number: int, losses: tuple[str, ...] = ("transfer/match",)) -> list[dict[str, Any]]:
    """A long log: the lines of the real one with other numbers."""
    first, noise, several = lines(finished(IMAGE))[0], np.random.default_rng(0), []
    for place in range(number):
        fall = math.exp(-5 * place / number)
        values = {name: (i + 1) * (fall + 0.01) * float(noise.lognormal(0, 0.3)) for i, name in enumerate(losses)}
        line = first | {"step": 10 * place, "progress": place / number, "seconds": 0.4 * place, "losses": values}
        several.append(line | ({"agreement": 0.9 - 0.8 * fall} if place % 25 == 0 else {}))
    return several


# -- a world of many classes and large pictures


def large_task(classes: int = 1000, side: int = 224) -> ImageTask:
    names = tuple(f"class {label}" for label in range(classes))
    return ImageTask(shape=(3, side, side), classes=classes, mean=(0.5,) * 3, std=(0.2,) * 3, class_names=names)


def large_figures(task: ImageTask) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(figures of samples, a whole evaluation) of answers that are mostly right."""
    random = np.random.default_rng(1)
    truth = random.integers(0, task.classes, 4 * task.classes)
    answers = random.normal(0, 1, (len(truth), task.classes)).astype(np.float32)
    answers[np.arange(len(truth)), truth] += 4
    described = output_kind(task).describe(torch.from_numpy(answers), torch.from_numpy(answers[:64]))
    empty = torch.zeros(len(truth), 0)
    measured = summarise(answers, KindSet(task, empty, truth, (), "a large set", ()), task, answers)
    return [one.to_dict() for one in described], measured.to_dict()


def write_grid(run: Path, step: int, task: ImageTask, number: int = 16) -> None:
    """Blobs and noise, as large as pictures are."""
    noise, side = np.random.default_rng(step), task.shape[1]
    y, x = np.mgrid[0:side, 0:side] / side
    waves = np.cos(noise.uniform(4, 12, (number, 1, 1, 3)) * np.hypot(x - 0.5, y - 0.3)[None, :, :, None] * 3)
    images = 0.7 * (0.5 + 0.5 * waves) + 0.3 * noise.random((number, side, side, 3))
    packed = torch.from_numpy((255 * images).astype(np.uint8)).permute(0, 3, 1, 2)
    logits = noise.normal(0, 1, (number, task.classes)).astype(np.float32)
    (run / "samples").mkdir(exist_ok=True)
    data = archive({**input_kind(task).to_arrays(packed), "logits": logits})
    (run / "samples" / f"step-{step:09d}.npz").write_bytes(data)
