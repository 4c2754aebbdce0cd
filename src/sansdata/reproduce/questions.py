"""Questions about articles of an encyclopaedia (XQuAD's English part) in parts that share no article."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from ..datasets.questions import Asked, read_questions
from ..files import write_atomic
from .texts import data_root

FILE = "text/xquad/xquad.en.json"
"""Below SANSDATA_DATA: 1,190 questions about 240 paragraphs of 48 articles."""
PARTS = {"train": 20, "given": 14, "dev": 4, "test": 10}
"""Articles of each part, drawn with seed 0. Of those that are given nobody sees a question."""


@cache
def asked(part: str) -> tuple[Asked, ...]:
    """The questions of a part. Raises DataError where the data are not there."""
    rows = read_questions(data_root() / FILE)
    order, at = np.random.RandomState(0).permutation(1 + max(row.article for row in rows)).tolist(), 0
    for name, count in PARTS.items():
        if name == part:
            chosen = set(order[at : at + count])
            return tuple(row for row in rows if row.article in chosen)
        at += count
    raise KeyError(part)


def contexts(part: str) -> list[str]:
    """The paragraphs of a part, each once and on one line."""
    return list(dict.fromkeys(" ".join(row.context.split()) for row in asked(part)))


def write_contexts(path: Path, part: str) -> Path:
    """A file with one paragraph a line."""
    write_atomic(path, "\n".join(contexts(part)).encode())
    return path
