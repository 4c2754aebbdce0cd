"""Headlines of AG News beside the report that they stand over, or beside another of the same section: a real task of
two texts that needs no label that anybody wrote."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ..datasets.labelled import KindSet
from ..kinds.inputs.two_texts import TwoTexts
from ..tasks import Task
from ..teachers.writers.vocabulary import pieces
from .texts import data_root, lines

FILE = "text/agnews/test.csv"
"""Below SANSDATA_DATA: section, headline, report; 7,600 of them."""
PARTS = {"train": 4800, "given": 1400, "dev": 400, "test": 1000}
"""Reports of each part, drawn with seed 0. Of those that are given nobody sees the headline."""
CLASSES = ("another", "own")


@dataclass(frozen=True)
class Item:
    section: str
    headline: str
    report: str


@dataclass(frozen=True)
class Pairs:
    """(report, headline, class): every report once with its own headline, once with another of its section."""

    rows: tuple[tuple[str, str, int], ...]

    def read(self, task: Task, source: str = "headlines of AG News") -> KindSet:
        """As ids of the task's tokenizer."""
        firsts, seconds, labels = zip(*self.rows)
        return KindSet(task, TwoTexts(task.inputs).read(firsts, seconds), np.array(labels), CLASSES, source)


@cache
def items(part: str) -> tuple[Item, ...]:
    """Words and signs parted by spaces, in small letters. Raises DataError."""
    rows = list(csv.reader(lines(data_root() / FILE)))
    order, at = np.random.RandomState(0).permutation(len(rows)), 0
    for name, count in PARTS.items():
        if name == part:
            return tuple(
                Item(rows[place][0], *(" ".join(pieces(text, "letters")) for text in rows[place][1:3]))
                for place in order[at : at + count]
            )
        at += count
    raise KeyError(part)


@cache
def pairs(part: str) -> Pairs:
    """Those of a part; which other headline stands beside a report is drawn with seed 0."""
    random, known = np.random.RandomState(0), items(part)
    of_section: dict[str, list[int]] = {}
    for place, item in enumerate(known):
        of_section.setdefault(item.section, []).append(place)
    rows = []
    for place, item in enumerate(known):
        others = of_section[item.section]
        other = others[(others.index(place) + random.randint(1, len(others))) % len(others)]
        rows += [(item.report, item.headline, 1), (item.report, known[other].headline, 0)]
    return Pairs(tuple(rows))


def write_given(path: Path) -> Path:
    """A file with the reports of the part that is given, one a line."""
    path.write_text("\n".join(item.report for item in items("given")) + "\n", encoding="utf-8")
    return path
