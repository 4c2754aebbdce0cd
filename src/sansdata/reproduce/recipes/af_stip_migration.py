"""A detector of one weakness of smart contracts, taught further on few fragments of another."""

from __future__ import annotations

from typing import Any

from .af_stip import STEPS, grammar_options
from .model import Arm, Expectation, Recipe, Role

LABELS = [20, 50, 100]


def _arm(name: str, role: Role, method: str, words: bool = False, **tuning: Any) -> Arm:
    """A batch is all that there is of 20 labels, so that an epoch is a step: many epochs, and patience."""
    distilled = method == "af-stip"
    settings = {"last_layer": "fresh", "synthetic": 0.0, "anchor": 0.0, "epochs": 200, "patience": 20, **tuning}
    return Arm(
        name=name, role=role, method=method, steps=STEPS if distilled else 0,
        options=grammar_options() if distilled else {},
        experiment={"labels": LABELS, "tuning": settings, **({"words": True} if words else {})},
    )  # fmt: skip


def _above(better: str, worse: str) -> tuple[Expectation, ...]:
    return tuple(
        Expectation(better=better, worse=worse, measure=f"{measure} {labels}")
        for measure in ("F1", "MCC")
        for labels in LABELS
    )


AF_STIP_MIGRATION = Recipe(
    name="af-stip-migration",
    claim="A reconstruction of AF-STip's second claim: a student of a detector of reentrancy, distilled without a "
    "contract, given a fresh last layer and taught further on 20, 50 or 100 labelled fragments of another weakness, is "
    "no worse than the same architecture from random weights on the same fragments.",
    data="ReChecker's fragments",
    task={},
    teacher=None,
    student="gru",
    experiment="migration",
    seeds=5,
    held_out=0,
    arms={
        "small": (
            _arm("migrated", "method", "af-stip", free="all", head_lr=1e-3, block_lr=1e-4),
            _arm("migrated-head-alone", "ablation", "af-stip", free="head", head_lr=1e-3),
            _arm("random-weights", "floor", "random-weights", free="all", head_lr=1e-3, block_lr=1e-3),
            _arm("random-with-words", "floor", "random-weights", words=True, free="all", head_lr=1e-3, block_lr=1e-3),
        )
    },
    matched="architecture, labelled fragments, test fragments and the rule that stops; every body is there once, and "
    "none of the other weakness is a body of the first. Random weights learn all at the rate of the head.",
    expected=(*_above("migrated", "random-weights"), *_above("migrated", "migrated-head-alone")),
    tried=(
        "The other weakness (endless loops, written for another chain, in C) is hard to learn from few labels: its 322 "
        "bodies are near copies of one another, and the nearest other body of each, at a cosine of 0.97 of its words "
        "and pairs of words, has the same label as often as not. A linear model on bags of words is right on 55 % "
        "after 50 labels, 63 % after 100 and 75 % after 250. So an F1 that differs may be a constant that differs: MCC "
        "tells.",
        "The arms were met once with one seed while this was written, and no setting was changed after it. An earlier "
        "trial without a stopping rule, on two folds: nothing gained on 20 labels, -9 to 0 points of F1 on 50, 3 to 15 "
        "on 100.",
    ),
)  # fmt: skip
