"""ZeroGen for questions about paragraphs at the size of a desk: an n-gram model that reads a sentence asks for a part
of it, and a small reader meets real questions afterwards."""

from __future__ import annotations

from typing import Any

from .model import Arm, Expectation, Recipe, Role

_TRANSFER: dict[str, Any] = {"batch": 32, "lr": 2e-3}
STEPS = 800


def _arm(name: str, role: Role, texts: int = 4000, **options: Any) -> Arm:
    settings = {"texts": texts, "chunk": 500, "decoding": {"new_tokens": 20}, **options}
    return Arm(name=name, role=role, method="zerogen-qa", steps=STEPS, options={**settings, "transfer": _TRANSFER})


def _rule(name: str, method: str) -> Arm:
    return Arm(name=name, role="floor", method=method, steps=0)


ZEROGEN_QA = Recipe(
    name="zerogen-qa",
    claim="After ZeroGen for extractive question answering: a reader that only ever saw questions which a language "
    "model wrote to phrases of given paragraphs finds more of the answers to real questions than one that learned on "
    "shuffled questions, and than a phrase drawn by chance.",
    data="xquad",
    task={},
    teacher=None,
    student="span-conv",
    experiment="questions",
    held_out=0,
    arms={
        "small": (
            _rule("chance", "chance"),
            _rule("first-phrase", "first"),
            _rule("prompting", "prompting"),
            _arm("zerogen", "method"),
            _arm("zerogen-500", "method", 500),
            _arm("shuffled-questions", "floor", shuffled=True),
            Arm(
                name="real-questions", role="ceiling", method="real-data", steps=STEPS,
                options={"view": "none", "transfer": {**_TRANSFER, "optimizer": "adam", "weight_decay": 0.0}},
            ),
        )
    },
    matched="All students take 800 steps of the same length on batches of 32, and read by the same pieces of words. "
    "The language model is fitted once on the questions of 20 other articles, on which the ceiling is trained too. The "
    "paragraphs that are given are real: the ledger says so.",
    expected=(
        Expectation(better="zerogen", worse="shuffled-questions", measure="f1", margin=3),
        Expectation(better="zerogen", worse="chance", measure="f1", margin=5),
        Expectation(better="zerogen", worse="prompting", measure="f1", margin=-5, paper="above, GPT2-XL"),
        Expectation(better="zerogen", worse="zerogen-500", measure="f1"),
    ),
    tried=(
        "On the 90 questions of four development articles, one seed, 400 steps: exact match and F1 of the language "
        "model itself 12.2 and 21.8 %, of a phrase by chance 0 and 0.8, of the first phrase 0 and 4.6, of the student "
        "5.6 and 12.5, of one of shuffled questions 2.2 and 5.3 (the two rules on paragraphs that were cut at 200 "
        "pieces, the others at 256). Phrases are exactly the answer in 38 % of the questions, which bounds the model "
        "and its student.",
        "A student of LSTMs was slower by far and was given up for one of convolutions.",
    ),
)  # fmt: skip
