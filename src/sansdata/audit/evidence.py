"""What an audit may look at, with the answers of teacher and student to each set of inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import columns
from ..columns import Inputs
from ..datasets import known
from ..datasets.imageset import ImageSet
from ..datasets.labelled import KindSet
from ..datasets.load import load_set
from ..datasets.tables import KNOWN as KNOWN_TABLES
from ..decoding.image_pool import load_pool
from ..errors import ConfigError, DataError, did_you_mean
from ..evaluate.head_inputs import head_inputs
from ..evaluate.labelled import Predict, answers
from ..files import is_regular
from ..kinds.index import input_kind
from ..tasks import Task
from ..teachers.base import Teacher
from ..validation.cases import Cases
from .levels import Level

MOST = 5_000
"""Inputs of one set that are asked about, spread evenly over it: more change a figure in its third place."""


@dataclass(frozen=True, eq=False)
class Answered:
    """packed: inputs as their kind stores them. teacher, student (N, K) float32: logits. source: where they come from,
    in words."""

    packed: Inputs
    teacher: np.ndarray
    student: np.ndarray
    source: str

    def __len__(self) -> int:
        return len(self.teacher)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything that is there; None or empty where it is not.

    ask: the student, of inputs as they travel. synthetic: what it learned from. held_out: made by another seed.
    natural: without labels. cases: with labels, perhaps with groups. training: of the teacher's own data. chosen_by:
    the rule by which a snapshot was preferred, as the run records it. forward: inputs as they travel -> the student's
    answers, in float32 with gradients where it has any.
    """

    task: Task
    teacher: Teacher
    ask: Predict
    synthetic: Answered
    held_out: Answered | None = None
    natural: Answered | None = None
    cases: Cases | None = None
    of_cases: Answered | None = None
    training: KindSet | None = None
    of_training: Answered | None = None
    chosen_by: str = ""
    forward: Any = None
    asked_groups: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def level(self) -> Level:
        """The highest that is reached."""
        if self.of_training is not None and self.cases is not None:
            return Level.L4
        if self.cases is not None:
            return Level.L3 if self.cases.groups else Level.L2
        return Level.L0 if self.natural is None else Level.L1

    def sets(self) -> Mapping[str, tuple[Answered, Level]]:
        """Name -> the inputs that are there and have no need of labels, with the level of what is said of them."""
        several = {"training synthetic": (self.synthetic, Level.L0)}
        if self.held_out is not None:
            several["held-out synthetic"] = (self.held_out, Level.L0)
        if self.natural is not None:
            several["natural"] = (self.natural, Level.L1)
        return several

    def features(self, packed: Inputs) -> np.ndarray | None:
        """(N, D) float64: what enters the teacher's last layer; None where nobody may look inside, or it has none."""
        return head_inputs(self.teacher, packed)

    def unpacked(self, packed: Inputs) -> Inputs:
        """As they travel."""
        return input_kind(self.task).unpack(packed)


def answered(data: KindSet, teacher: Predict, student: Predict, task: Task) -> Answered:
    """Asks both. Raises TeacherError or StudentError where an answer is none."""
    return Answered(data.packed, answers(teacher, data, task), answers(student, data, task), data.source)


def synthetic_inputs(run: Path, task: Task) -> KindSet:
    """What a run kept of what it made. Raises DataError where it kept nothing."""
    kind = input_kind(task)
    file = run / kind.samples_file
    if not is_regular(file):
        raise DataError(
            f"{run} has no {kind.samples_file}: the run kept nothing of what it made (engine.images=0), and an audit "
            "begins with that"
        )
    return some(as_kind_set(load_set(str(file), task), task))


def natural_inputs(spec: str | Path, task: Task) -> KindSet:
    """Inputs whose labels, if there are any, are not looked at: a set as `evaluate` reads it, or of images a folder or
    an .npz file without labels. Raises DataError."""
    name, path = str(spec), Path(spec).expanduser()
    if task.pair[0] == "image" and name not in known.NAMES and (path.is_dir() or path.suffix.lower() == ".npz"):
        try:
            pool = load_pool(path, task.shape)
        except DataError as fault:
            raise DataError(str(fault).replace("--pool", "--inputs")) from None
        blank = np.zeros(len(pool), np.int64)
        return some(KindSet(task, pool.images, blank, task.class_names, str(path), pool.notes))
    if name not in (*known.NAMES, *KNOWN_TABLES) and not path.is_file():
        raise DataError(f"'{name[:200]}' is neither a known set nor a file or folder")
    return some(as_kind_set(load_set(spec, task), task))


def groups_of_table(data: KindSet, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Column -> the level of each row (N,), of categories of a table. Raises ConfigError for any other name."""
    categories = [] if data.task.pair[0] != "table" else [column.name for column in data.task.inputs.categories]
    groups = {}
    for name in names:
        if name not in categories:
            what = f"of this table's categories. {did_you_mean(name, categories)}" if categories else "that is known"
            raise ConfigError(f"--groups {name}: no column {what}; or name the groups in a --manifest")
        column = data.task.inputs.categories[categories.index(name)]
        codes = data.packed["categories"][:, categories.index(name)].numpy()  # type: ignore[index,call-overload]
        groups[name] = np.array(column.levels)[codes]
    return groups


def as_kind_set(data: ImageSet | KindSet, task: Task) -> KindSet:
    """The same as its kind stores it."""
    if isinstance(data, KindSet):
        return data
    packed = torch.from_numpy(np.ascontiguousarray(data.images.transpose(0, 3, 1, 2)))
    return KindSet(task, packed, data.labels, data.class_names, data.source, data.notes)


def some(data: KindSet) -> KindSet:
    """At most MOST of them, spread evenly."""
    if len(data) <= MOST:
        return data
    index = np.linspace(0, len(data) - 1, MOST).round().astype(np.int64)
    return data.subset(index, f"{MOST:,} of {len(data):,}, spread evenly")


def flat(packed: Inputs) -> np.ndarray:
    """(N, D) float64: every number of stored inputs in a row each, pixels in 0..1."""
    several = [part.reshape(columns.count(packed), -1) for part in columns.parts(packed)]
    scaled = [part.double() / (255 if part.dtype == torch.uint8 else 1) for part in several]
    return torch.cat(scaled, 1).numpy()
