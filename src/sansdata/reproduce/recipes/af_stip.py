"""Fragments of smart contracts that nobody wrote, against noise: what a detector of weak ones passes on."""

from __future__ import annotations

from typing import Any

from .model import Arm, Expectation, Recipe, Role

STEPS = 300
_TRANSFER = {"optimizer": "adam", "lr": 3e-3, "weight_decay": 0.0, "temperature": 4.0, "batch": 32}


def grammar_options() -> dict[str, Any]:
    """Of the student that the written fragments teach."""
    return {"mode": "grammar", "batch": 64, "steps_per_batch": 10, "transfer": _TRANSFER}


def _arm(name: str, role: Role, mode: str, experiment: dict[str, Any] | None = None, **options: Any) -> Arm:
    return Arm(
        name=name, role=role, method="af-stip", steps=STEPS, experiment=experiment or {},
        options={**grammar_options(), "mode": mode, **options},
    )  # fmt: skip


AF_STIP = Recipe(
    name="af-stip",
    claim="A reconstruction of AF-STip: a student of a detector of reentrancy, taught without a contract, keeps at "
    "least 80 % of its F1 and 85 % of its answers on fragments whose bodies neither has seen; normal noise in the "
    "place of words (the paper's) does not.",
    data="ReChecker's fragments",
    task={},
    teacher=None,
    student="gru",
    experiment="contracts",
    seeds=5,
    held_out=0,
    arms={
        "small": (
            _arm("majority", "floor", "grammar", {"teacher": "majority"}),
            _arm("grammar", "method", "grammar"),
            _arm("pure-noise", "floor", "pure", one_class="allow", balance=False),
            _arm("shuffled-answers", "floor", "grammar", {"shuffled": True}),
            _arm("without-balance", "ablation", "grammar", balance=False, candidates=1, one_class="allow"),
            _arm("class-alone", "ablation", "grammar", alpha=0.0),
            _arm("resample", "method", "resample", iterations=8),
            _arm("teacher-raw-split", "ceiling", "grammar", {"teacher": "raw-split"}),
            Arm(
                name="real-fragments", role="ceiling", method="real-data", steps=STEPS,
                options={"view": "none", "transfer": _TRANSFER},
            ),
        )
    },
    matched="student, its first weights, steps and their length; the five seeds are the five folds.",
    expected=(
        Expectation(better="grammar", measure="F1 beyond 80 % of the teacher's"),
        Expectation(better="grammar", measure="agreement", margin=85),
        *(
            Expectation(better="grammar", worse=floor, measure="F1")
            for floor in ("pure-noise", "shuffled-answers", "majority", "without-balance", "class-alone")
        ),
    ),
    tried=(
        "There are no fragments to choose settings on but those of the folds, so some were met before: fold 0 by the "
        "grammar at 300 steps and at 200, folds 1 and 2 by the grammar with and without a choice among candidates. "
        "Without it the teacher of fold 1 called more than 95 % of the first 64 fragments sound: the run was refused.",
    ),
)  # fmt: skip
