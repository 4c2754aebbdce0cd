"""ReChecker's fragments of smart contracts, cleaned, and folds of them that share no body; SmartBugs' beside them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..methods.af_stip.cleaner import clean
from ..methods.af_stip.fragments import fragments, parted
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
    path, texts, labels = data_root() / FILES[weakness], list[str](), list[int]()
    for code, label in parted(lines(path)):
        if not code or label not in ("0", "1"):
            raise DataError(f"{path}: a fragment without code and a label of 0 or 1")
        texts.append(code)
        labels.append(int(label))
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


@cache
def smartbugs() -> Texts:
    """Functions around an external call, with their callers, of SmartBugs' curated contracts: weak where a line is
    marked as reentrant. Bodies that ReChecker's fragments have too are left out. Raises DataError."""
    root = data_root() / "solidity/smartbugs-curated"
    marked: dict[str, set[int]] = {}
    for contract in json.loads("\n".join(lines(root / "vulnerabilities.json"))):
        places = [one["lines"] for one in contract["vulnerabilities"] if one["category"] == "reentrancy"]
        marked[contract["path"]] = {line for several in places for line in several}
    bodies: dict[str, int] = {}
    for path, weak in sorted(marked.items()):
        if not (root / path).is_file():  # the list names more than are there
            continue
        for fragment in fragments("\n".join(lines(root / path)), "reentrancy"):
            first, last = fragment.lines
            text = " ".join(clean(fragment.code))
            bodies[text] = max(bodies.get(text, 0), int(any(first <= line <= last for line in weak)))
    known = set(raw("reentrancy").texts)
    left = [(text, label) for text, label in bodies.items() if text not in known]
    return Texts(tuple(text for text, _ in left), np.array([label for _, label in left]), 2)
