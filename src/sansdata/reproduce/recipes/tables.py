"""Students of forests and boosted trees that are only asked: what rows that cover a teacher's bins in pairs are worth
against rows drawn at random, and how much of its ranking is left."""

from __future__ import annotations

from typing import Any

from .model import Arm, Expectation, Recipe, Role

_KINDS = ("forest", "boosted")
_WAYS = ("tabkd", "disagreement")
_INDEPENDENT: dict[str, Any] = {"search": 0, "pairs": 0.0, "edges": 0.0, "boundary": 0.0, "hard": 0.0}
_DISAGREEMENT = _INDEPENDENT | {"hard": 0.5}
_LARGE: dict[str, Any] = {
    "draws": 6000, "search": 4000, "rows": 4444, "steps_per_round": 800, "transfer": {"batch": 256},
}  # fmt: skip
"""Ten rounds and about 50,000 queries."""
_PAPER = "best agreement in 14 of 16 settings (abstract)"


def _arm(kind: str, name: str, role: Role, steps: int, options: dict[str, Any], paper: str = "") -> Arm:
    return Arm(
        name=f"{kind}-{name}", role=role, method="tabkd", steps=steps, options=options, experiment={"teacher": kind},
        paper=paper,
    )  # fmt: skip


def _small(kind: str) -> tuple[Arm, ...]:
    """At most 5,000 queries."""
    draws = _INDEPENDENT | {"rows": 444}
    return (
        _arm(kind, "tabkd", "method", 2500, {}, _PAPER),
        _arm(kind, "disagreement", "method", 2500, _DISAGREEMENT | {"rows": 444}),
        _arm(kind, "even-draws", "floor", 2500, draws | {"source": "uniform"}),
        _arm(kind, "skewed-draws", "floor", 2500, draws),
    )


def _large(kind: str) -> tuple[Arm, ...]:
    """At most 50,000 queries."""
    return (
        _arm(kind, "tabkd-50k", "method", 8000, _LARGE),
        _arm(kind, "disagreement-50k", "method", 8000, _LARGE | _DISAGREEMENT),
        _arm(kind, "skewed-draws-50k", "floor", 8000, _LARGE | _INDEPENDENT),
    )


def _ceiling(kind: str, steps: int, columns: str = "") -> Arm:
    """Taught on the real training rows by the same teacher; of shuffled columns it is no ceiling, but what the
    independence of draws costs by itself."""
    transfer = {"optimizer": "adam", "lr": 2e-3, "weight_decay": 0.0, "temperature": 1.0, "batch": 128}
    return Arm(
        name=f"{kind}-{columns or 'real'}-rows", role="ablation" if columns else "ceiling", method="real-data",
        steps=steps, options={"view": "none", "transfer": transfer},
        experiment={"teacher": kind} | ({"columns": columns} if columns else {}), seeds=3,
    )  # fmt: skip


def _without(kind: str) -> tuple[Arm, ...]:
    """Each part left out; its share of a round is drawn instead."""
    return (
        _arm(kind, "tabkd-no-bins", "ablation", 2500, {"search": 0, "edges": 0.0, "pairs": 0.0}),
        _arm(kind, "tabkd-no-boundary", "ablation", 2500, {"boundary": 0.0}),
    )


def _recipe(name: str, claim: str, arms: tuple[Arm, ...], expected: tuple[Expectation, ...], **more: Any) -> Recipe:
    return Recipe(
        name=f"tables-{name}", claim=claim, data=name, task=name, teacher=None, student="mlp-pieces",
        experiment="table", held_out=0, arms={"small": arms}, expected=expected, **more,
    )  # fmt: skip


def _near(suffix: str, *sources: str) -> tuple[Expectation, ...]:
    """Within 2 points of the teacher's AUROC, and above draws of `sources` on agreement with real rows."""
    within = (
        Expectation(better=f"{kind}-{way}{suffix}", measure="AUROC behind", margin=2, lower=True)
        for kind in _KINDS
        for way in _WAYS
    )
    above = (
        Expectation(better=f"{kind}-{way}{suffix}", worse=f"{kind}-{source}{suffix}", measure="agreement")
        for kind in _KINDS
        for way in _WAYS
        for source in sources
    )
    return (*within, *above)


_DRAWS = ("even-draws", "skewed-draws")
BREAST_CANCER = _recipe(
    "breast-cancer",
    "After TabKD: at equal queries, rows that cover the teacher's bins in pairs give a student that agrees more with "
    "it on real rows than rows of independent draws; the student ranks within 2 points of its teacher's AUROC.",
    tuple(arm for kind in _KINDS for arm in (*_small(kind), _ceiling(kind, 2500))) + _without("forest"),
    _near("", *_DRAWS),
    seeds=10,
    tried=(
        "Some of these arms met the test rows twice: a first series in bf16 was stopped and run again when tables went "
        "to float32. No setting was chosen on them.",
    ),
)
ADULT = _recipe(
    "adult",
    "The same where rows are of 6 numbers, 8 categories and missing values, and most columns matter little.",
    (
        *(arm for kind in _KINDS for arm in (*_small(kind), *_large(kind), _ceiling(kind, 8000))),
        _ceiling("boosted", 8000, "shuffled"),
    ),
    (*_near("", *_DRAWS), *_near("-50k", "skewed-draws")),
    tried=(
        "All choices were made on a quarter of the training rows, held out of the teachers. The test rows were "
        "met once by each arm here, and by short runs that tried the command.",
        "A perceptron on plain scaled numbers (`mlp`), 5,000 queries of skewed draws: 4.4 points of AUROC behind "
        "the forest, 7.5 behind the boosted trees; in 16 pieces of a scale of logarithms (`mlp-pieces`) 1.4 and "
        "2.3. Adult's gains and losses of capital crowd at the low end of wide ranges, which even draws hardly "
        "touch.",
        "The boosted trees stay out of reach: on held-out rows 50,000 queries of skewed draws were 2.1 points "
        "behind after 4,000 steps and 1.8 after 8,000, on the test rows more. On the real training rows the same "
        "student is 1.2 behind, so most of the gap is the rows'. Not because draws leave out what columns have to do "
        "with one another: on the training rows with every column shuffled by itself (`boosted-shuffled-rows`) the "
        "student is 1.5 behind. What draws lack is how common each value is, which a task does not say.",
        "Pairs of bins: half of each round for pairs alone was 0.2 points of AUROC below draws at 50,000 queries "
        "(held-out rows, boosted, 4,000 steps), half beside rows that the student gets wrong was level with them "
        "in AUROC and 1.8 points above in agreement; hence the preset `disagreement`.",
    ),
)
MAMMOGRAPHY = _recipe(
    "mammography",
    "The same where 2 of 100 rows are of the class that matters, a stand-in for fraud: AUPRC beside AUROC.",
    tuple(arm for kind in _KINDS for arm in (*_small(kind), _ceiling(kind, 2500))),
    (
        *_near("", *_DRAWS),
        *(
            Expectation(better=f"{kind}-{way}", worse=f"{kind}-{source}", measure="AUPRC")
            for kind in _KINDS
            for way in _WAYS
            for source in _DRAWS
        ),
    ),
    seeds=10,
)
WINE = _recipe(
    "wine",
    "The same with three classes and 13 numbers, of which 133 rows trained the teacher.",
    tuple(arm for kind in _KINDS for arm in (*_small(kind), _ceiling(kind, 2500))),
    _near("", *_DRAWS),
    seeds=6,
)
GERMAN_CREDIT = _recipe(
    "german-credit",
    "The same where most columns are categories and the teacher itself is unsure (750 training rows).",
    tuple(arm for kind in _KINDS for arm in (*_small(kind), _ceiling(kind, 2500))),
    _near("", *_DRAWS),
    seeds=6,
)
