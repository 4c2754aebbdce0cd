"""ZeroGen on two texts at the size of a desk: an n-gram model that reads a report writes headlines to it, and a siamese
bag of embeddings meets real ones afterwards."""

from __future__ import annotations

from typing import Any

from .model import Arm, Expectation, Recipe, Role

_TRANSFER: dict[str, Any] = {"batch": 128, "lr": 2e-3}
STEPS = 1000


def _arm(name: str, role: Role, texts: int = 8000, firsts: str = "given", **options: Any) -> Arm:
    """texts: of both classes together. A headline has about eight words."""
    settings = {"texts": texts, "min_words": 4, "decoding": {"new_tokens": 16}, "per_context": 3, **options}
    return Arm(
        name=name, role=role, method="zerogen", steps=STEPS, options={**settings, "transfer": _TRANSFER},
        experiment={"firsts": firsts},
    )  # fmt: skip


ZEROGEN_PAIRS = Recipe(
    name="zerogen-pairs",
    claim="After ZeroGen on pairs: a siamese student that only ever saw headlines that a language model wrote tells a "
    "report's own headline from another of its section, better than chance and than shuffled labels, from real reports "
    "or from written ones; it comes near the same student on real pairs.",
    data="ag news",
    task={},
    teacher=None,
    student="siamese-bag",
    experiment="written-pairs",
    held_out=0,
    arms={
        "small": (
            Arm(name="prompting", role="floor", method="prompting", steps=0),
            _arm("given-firsts", "method"),
            _arm("given-firsts-500", "method", 500),
            _arm("written-firsts", "method", firsts="written", context_decoding={"new_tokens": 48}),
            _arm("soft-scores", "combination", scores="soft"),
            _arm("shuffled-labels", "floor", shuffled=True),
            Arm(
                name="real-pairs", role="ceiling", method="real-data", steps=STEPS,
                options={"view": "none", "transfer": {**_TRANSFER, "optimizer": "adam", "weight_decay": 0.0}},
            ),
        )
    },
    matched="All students take 1,000 steps of the same length on batches of 128, and read by the words of the reports "
    "that are given (of those that are written, where they are) and of headlines that were written before. The "
    "language model is fitted once on 4,800 other reports with their headlines. The first texts that are given are "
    "real: the ledger says so.",
    expected=(
        Expectation(better="given-firsts", margin=60),
        Expectation(better="given-firsts", worse="shuffled-labels", margin=10),
        Expectation(better="given-firsts", worse="given-firsts-500"),
        Expectation(better="written-firsts", worse="shuffled-labels", margin=5),
        Expectation(better="given-firsts", worse="real-pairs", margin=-5),
        Expectation(better="shuffled-labels", margin=53, lower=True),
    ),
    tried=(
        "The settings are those of the recipe zerogen; on 400 reports of a development part, one seed each, they gave "
        "76.5 % by prompting, 66.8 with given reports, 65.8 with written ones, 66.9 with soft scores, 51.9 with "
        "shuffled labels and 73.1 on real pairs, and were left as they were. The test reports had not been met.",
        "No set of entailment lies in the data folder, and a premise with its hypothesis cannot be made up: a headline "
        "with its report is a pair that people made. A rule that looks for one shared word of four letters is right on "
        "89 %: what is tested is what a student learns, not what the task can teach.",
    ),
)  # fmt: skip
