"""Whether written texts are real ones again: what a run kept beside labelled texts that the user names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import columns
from ..columns import Inputs
from ..decoding.arrays import read_arrays
from ..errors import DataError
from ..figures import Figure
from ..files import open_regular
from ..kinds.inputs.tokens import Tokens

ORDER = 5
"""Tokens in a row that are compared."""
MOST = 0.5
"""Share of a text's runs of five that make it one which stands, in the main, in a real text."""
MAX_BYTES = 512_000_000


def overlap_with(run: Path, real: Inputs, kind: Tokens) -> list[Figure]:
    """How near the texts that a run kept are to the nearest of `real`, as they are stored; nothing where it kept
    none."""
    try:
        with open_regular(run / kind.samples_file, MAX_BYTES) as file:
            written = kind.from_arrays(read_arrays(file, kind.samples_file, MAX_BYTES))
    except (OSError, ValueError, DataError):
        return []
    unknown = -1 if kind.tokenizer is None or kind.tokenizer.unknown is None else kind.tokenizer.unknown
    shares = np.array(nearest(_rows(written), _rows(real), unknown))
    shared, copied = "runs of five words shared with the nearest real text", "texts that mainly stand in a real one"
    return [
        Figure("nearest_real", float(shares.mean()), "share", shared, "lower"),
        Figure("copied", float((shares >= MOST).mean()), "share", copied, "lower"),
    ]


def nearest(written: Sequence[Sequence[int]], real: Sequence[Sequence[int]], unknown: int = -1) -> list[float]:
    """Of each written text, the share of its runs of five tokens that one real text has too: the largest over all.
    Runs with an unknown word are nobody's."""
    places: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for number, text in enumerate(real):
        for run in _runs(text, unknown):
            places[run].add(number)
    shares = []
    for text in written:
        runs = _runs(text, unknown)
        shared = Counter(number for run in runs for number in places.get(run, ()))
        shares.append(max(shared.values(), default=0) / len(runs) if runs else 0.0)
    return shares


def _runs(text: Sequence[int], unknown: int) -> set[tuple[int, ...]]:
    grams = (tuple(text[at : at + ORDER]) for at in range(len(text) - ORDER + 1))
    return {run for run in grams if unknown not in run}


def _rows(packed: Inputs) -> list[list[int]]:
    tokens, mask = columns.parts(packed)
    return [row[keep].tolist() for row, keep in zip(tokens, mask)]
