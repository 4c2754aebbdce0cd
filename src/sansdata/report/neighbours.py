"""The runs that lie beside a run: what its score is to be held against. Nobody vouches for them either."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..files import read_json
from .read import Run
from .tree import Tree
from .words import clip, percent

MOST = 200
"""Folders that are looked into."""
MAX_BYTES = 10_000_000


def standing(run: Run) -> str:
    """How the score stands among the runs of the same teacher, on as many probes, in the same folder: a sentence."""
    own, others = run.summary.at("score", "last").number(), sorted(_scores(run), reverse=True)
    if own is None:
        return ""
    if not others:
        return "No other run of this teacher lies in the same folder to hold it against."
    better = sum(score > own for score, _ in others)
    named = [others[0]] if len(others) == 1 else [others[0], others[-1]]
    ends = " and ".join(f"{percent(score)} ({name})" for score, name in named)
    among = f"Of the {len(others) + 1} runs of this teacher in the same folder it is number {better + 1} by it"
    return f"{among}; the other has {ends}." if len(others) == 1 else f"{among}; the others have between {ends}."


def _scores(run: Run) -> Iterator[tuple[float, str]]:
    """(score, name) of each other run."""
    teacher, probes = run.manifest.at("teacher", "fingerprint").text(), run.summary.at("score", "probes").number()
    own = run.directory.resolve()
    try:
        beside = sorted(path for path in own.parent.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return
    for path in [path for path in beside if path != own][:MOST]:
        if teacher and _json(path / "run.json").at("teacher", "fingerprint").text() == teacher:
            score = _json(path / "summary.json").at("score")
            last = score.at("last").number()
            if last is not None and score.at("probes").number() == probes:
                yield last, clip(path.name, 60)


def _json(path: Path) -> Tree:
    """What the file holds; nothing where it is missing, damaged, too large or no regular file."""
    try:
        return Tree(read_json(path, MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return Tree()
