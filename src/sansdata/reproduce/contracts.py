"""ReChecker's fragments of smart contracts, cleaned, and folds of them that share no body."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..methods.af_stip.cleaner import clean
from ..methods.af_stip.vocabulary import write_tokenizer
from ..tasks import ClassesSpec, PairTask, TokensSpec
from .teachers import cache as kept
from .texts import Texts, data_root, lines

FILES = {
    "reentrancy": "solidity/rechecker/reentrancy_graph_data_fragment_2000.txt",
    "infinite-loop": "solidity/rechecker/infinite_loop_graph_data_fragment.txt",
}
"""Weakness -> file below SANSDATA_DATA: fragments that a line of dashes ends, and before it a line of 0 or 1."""
LENGTH = 100
"""Tokens of a fragment, as in ReChecker's networks."""
FOLDS = 5


@cache
def raw(weakness: str) -> Texts:
    """Every fragment of the file, cleaned; class 1 is weak. Raises DataError."""
    path, texts, labels = data_root() / FILES[weakness], [], []
    part: list[str] = []
    for line in lines(path):
        if not line.strip() or line.strip().strip("-"):
            part.append(line)
            continue
        body = [one for one in part if one.strip()]
        if len(body) < 3 or body[-1] not in ("0", "1"):
            raise DataError(f"{path}: a fragment without a name, code and a label of 0 or 1")
        texts.append("\n".join(body[2 if body[1].endswith((".sol", ".c")) else 1 : -1]))
        labels.append(int(body[-1]))
        part = []
    cleaned = {text: " ".join(clean(text)) for text in set(texts)}
    return Texts(tuple(cleaned[text] for text in texts), np.array(labels), 2)


def distinct(texts: Texts) -> Texts:
    """The first of each body."""
    first = {text: place for place, text in reversed(list(enumerate(texts.texts)))}
    return texts.at(sorted(first.values()))


def fold(texts: Texts, number: int) -> tuple[Texts, Texts]:
    """(the others, fold `number` of FOLDS), by class and always the same."""
    random, place = np.random.RandomState(0), np.zeros(len(texts), int)
    for label in np.unique(texts.labels):
        rows = random.permutation(np.flatnonzero(texts.labels == label))
        place[rows] = np.arange(len(rows)) % FOLDS
    return texts.at(np.flatnonzero(place != number)), texts.at(np.flatnonzero(place == number))


def task() -> PairTask:
    """Cleaned code into sound and weak, by the written list of words."""
    path = kept() / "solidity" / "tokenizer.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tokenizer(Path(path))
    inputs = TokensSpec(tokenizer=str(path), length=LENGTH)  # type: ignore[call-arg]
    return PairTask(inputs=inputs, outputs=ClassesSpec(classes=2, class_names=("sound", "weak")))
