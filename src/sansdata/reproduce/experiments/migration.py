"""What a detector's student is worth for another weakness: its last layer begun anew, taught further on few labelled
fragments, beside the same architecture from random weights on the same fragments.

Of an arm's `experiment`: labels (how many fragments), words (whether random weights get the detector's words), tuning
(settings of `sansdata finetune`). The method 'random-weights' begins from no student; any other says how the student
was distilled, once for each fold, and kept. F1 is of the weak class, in percent, the mean over DRAWS draws of the
fragments. A constant that calls all weak has an F1 of 67 and an MCC of 0: read them together.
"""

from __future__ import annotations

import fcntl
import hashlib
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from torch import nn

from ...datasets.labelled import KindSet
from ...finetuning.loop import fine_tune
from ...finetuning.settings import FineTuneSettings
from ...models.build import architecture_of, build
from ...models.copying import duplicate
from ...network import Network
from ...streams import Streams
from ...tasks import PairTask
from ...teachers.base import Teacher
from ...teachers.specs import load_teacher
from .. import contracts
from ..recipes.model import Arm, Recipe
from ..teachers import cache, keep_weights
from ..texts import Texts, classes_of
from .contracts import detector_of, f1, mcc, split, taught

RANDOM = "random-weights"
DRAWS = 3
"""Of the labelled fragments, for each number of them and each seed."""
TEST = 200
"""Fragments of the other weakness that nothing learns from; the others are drawn from."""


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm from one student; no fragment of the other weakness was met before."""
    task, settings = contracts.task(), FineTuneSettings.model_validate(arm.experiment["tuning"])
    begun = start(recipe, arm, seed, task)
    other = contracts.distinct(contracts.raw("infinite-loop"))
    measures: dict[str, list[float]] = {}
    for draw in range(DRAWS):
        test, rest = parted(other, seed * DRAWS + draw)
        truth = test.read(task)
        for count in arm.experiment["labels"]:
            fragments = rest.at(range(count)).read(task)
            answers = classes_of(tuned(begun, fragments, settings, seed * DRAWS + draw), truth)
            measures.setdefault(f"F1 {count}", []).append(f1(truth.labels, answers))
            measures.setdefault(f"MCC {count}", []).append(mcc(truth.labels, answers))
    means = {name: mean(values) for name, values in measures.items()}
    return {"accuracy": None, "steps": arm.steps, "cost": {}, "measures": means}


def parted(other: Texts, draw: int) -> tuple[Texts, Texts]:
    """(test fragments, the others in the order in which they are labelled); every body is there once."""
    order = np.random.RandomState(draw).permutation(len(other))
    return other.at(order[:TEST]), other.at(order[TEST:])


def start(recipe: Recipe, arm: Arm, seed: int, task: PairTask) -> nn.Module:
    """What the arm begins from: the distilled student of the seed, or random weights."""
    if arm.method != RANDOM:
        return student_of(arm, seed, task)
    with Streams(seed).as_global("migration"):
        fresh = build(architecture_of(recipe.student, task))
    if arm.experiment.get("words"):
        known = detector_of("distinct", seed % contracts.FOLDS)
        fresh.embedding.load_state_dict(known.embedding.state_dict())  # type: ignore[union-attr]
    return fresh


def student_of(arm: Arm, seed: int, task: PairTask) -> nn.Module:
    """The student of a detector of reentrancy, distilled without a contract as the arm says; made once and kept."""

    about = hashlib.sha256(repr((arm.method, arm.steps, sorted(arm.options.items()))).encode()).hexdigest()[:8]
    path = cache() / "solidity" / f"student-{about}-{seed}.safetensors"
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            number = seed % contracts.FOLDS
            train, _ = split("distinct", number)
            known = Teacher.from_module(detector_of("distinct", number), task)
            student = taught(arm, seed, task, known, train).student
            keep_weights(path, student)
    return load_teacher(f"gru@{path}", task).module


def tuned(begun: nn.Module, fragments: KindSet, settings: FineTuneSettings, seed: int) -> nn.Module:
    """A copy of `begun` that learned the fragments, of which every fourth only says when to stop."""
    network = Network.of(duplicate(begun), fragments.task)
    stop = np.arange(len(fragments)) % 4 == 0
    tuning, stopping = (fragments.subset(np.flatnonzero(which)) for which in (~stop, stop))
    fine_tune(network, fragments.task, tuning, stopping, None, settings, seed)
    return network.module
