"""ZeroGen at the size of a desk: n-gram models of real reviews write, a bag of embeddings learns, and meets real ones
afterwards."""

from __future__ import annotations

from typing import Any

from .model import Arm, Expectation, Recipe, Role

_TRANSFER: dict[str, Any] = {"batch": 128, "lr": 2e-3}
_FEW_WORDS = 3000


_COMEDY = r"\b(comed|comic|funn|laugh|humor|joke|hilarious)"


def _of_domain(steered: bool) -> Arm:
    """A thousand texts: where there are few, it counts what they are about."""
    return Arm(
        name="comedies-steered" if steered else "comedies-plain", role="method" if steered else "floor",
        method="zerogen", steps=400, options={"texts": 1000, "transfer": _TRANSFER},
        experiment={"domain": _COMEDY, "steered": steered}, seeds=5,
    )  # fmt: skip


def _arm(name: str, role: Role, texts: int = 8000, words: int | None = None, **options: Any) -> Arm:
    """texts: of both classes together."""
    return Arm(
        name=name, role=role, method="zerogen", steps=1000, options={"texts": texts, **options, "transfer": _TRANSFER},
        experiment={} if words is None else {"words": words},
    )  # fmt: skip


def _real() -> Arm:
    return Arm(
        name="real-texts", role="ceiling", method="real-data", steps=1000,
        options={"view": "none", "transfer": {**_TRANSFER, "optimizer": "adam", "weight_decay": 0.0}},
    )  # fmt: skip


_MATCHED = (
    "All students take 1,000 steps of the same length on batches of 128. The language model, one for each class, is "
    "fitted once on the real training sentences; the vocabulary is that of 4,000 texts of each class that it wrote "
    "before."
)


def _above(worse: str, margin: float = 0.0, better: str = "zerogen-4000", **more: Any) -> Expectation:
    return Expectation(better=better, worse=worse, margin=margin, **more)


def _of_classes(
    name: str, claim: str, data: str, names: list[str], length: int, above_few: float, seen: str, **writing: Any
) -> Recipe:
    """The arms that any task of single texts has. writing: how texts of its sort are written. seen: what was met
    before the test."""
    return Recipe(
        name=name,
        claim=claim,
        data=data,
        task={
            "inputs": {"kind": "tokens", "vocabulary": 2, "length": length},
            "outputs": {"kind": "classes", "classes": len(names), "class_names": names},
        },
        teacher=None,
        student="bag",
        experiment="written",
        held_out=0,
        arms={
            "small": (
                Arm(name="prompting", role="floor", method="prompting", steps=0),
                _arm("zerogen", "method", **writing),
                _arm("zerogen-500", "method", 500, **writing),
                _arm("soft-scores", "combination", scores="soft", **writing),
                _arm("shuffled-labels", "floor", shuffled=True, **writing),
                _real(),
            )
        },
        matched=_MATCHED,
        expected=(
            _above("zerogen-500", above_few, better="zerogen"),
            _above("prompting", -5, better="zerogen"),
            _above("shuffled-labels", 20, better="zerogen"),
            _above("zerogen", better="real-texts"),
        ),
        tried=(
            "The settings are those of the recipe zerogen, which were chosen on SST-2. On 600 training texts that were "
            f"held back, one seed: {seen}. Nothing was changed after that.",
        ),
    )


ZEROGEN = Recipe(
    name="zerogen",
    claim="After ZeroGen: on real sentences a student that only ever saw what a language model wrote for each class "
    "comes near that model's own likelihood as a classifier; more texts help, decoding that looks cleaner harms.",
    data="sst2",
    task={
        "inputs": {"kind": "tokens", "vocabulary": 2, "length": 40},
        "outputs": {"kind": "classes", "classes": 2, "class_names": ["negative", "positive"]},
    },
    teacher=None,
    student="bag",
    experiment="written",
    held_out=0,
    arms={
        "small": (
            Arm(name="prompting", role="floor", method="prompting", steps=0),
            _arm("zerogen-4000", "method"),
            _arm("zerogen-250", "method", 500),
            _of_domain(steered=False),
            _of_domain(steered=True),
            _arm("soft-scores", "combination", scores="soft"),
            _arm("shuffled-labels", "floor", shuffled=True),
            _arm("temperature-0.2", "ablation", decoding={"temperature": 0.2}),
            _arm("top-p-0.3", "ablation", decoding={"top_p": 0.3}),
            _arm("3000-words", "ablation", words=_FEW_WORDS),
            _arm("3000-words-no-dropout", "ablation", words=_FEW_WORDS, dropout=0.0),
            _real(),
        )
    },
    matched=_MATCHED,
    expected=(
        Expectation(better="zerogen-4000", margin=74, paper="0.775 in an earlier trial of ours"),
        _above("zerogen-250", 10),
        _above("prompting", -5),
        _above("shuffled-labels", 20),
        Expectation(better="shuffled-labels", margin=53, lower=True),
        _above("temperature-0.2", 8),
        _above("top-p-0.3"),
        Expectation(better="comedies-steered", worse="comedies-plain", measure="in the domain"),
        Expectation(better="comedies-steered", worse="comedies-plain", measure="elsewhere", margin=-2),
        Expectation(better="temperature-0.2", worse="zerogen-4000", measure="distinct_3", ratio=0.5, lower=True),
    ),
    tried=(
        "Settings were chosen on the 872 sentences of the development set, one seed each: texts of at least 1, 5 and "
        "10 words gave 73.2, 74.7 and 75.7 %, no dropout at 1 word 73.9 %; 3,000 steps on batches of 32 at half the "
        "rate 73.6 %. The test sentences were met once by each arm here.",
        "Phrases of a domain: of an n-gram model, which reads no prompts, the nearest of four texts is kept, by the "
        "rare words that it shares with 60 phrases. It costs four times the writing and was worth nothing there; the "
        "cause is open. What phrases do in the prompts of a model that reads them was not measured.",
    ),
)
ZEROGEN_TREC = _of_classes(
    "zerogen-trec",
    "ZeroGen on questions of six types: a student of written questions comes near the writer's own likelihood on real "
    "ones, far above shuffled labels, and more questions help.",
    "trec", ["description", "entity", "abbreviation", "human", "number", "location"], 20, 3,
    "prompting 70.3 %, written questions 71.3, shuffled labels 16.2, real questions 78.2", min_words=4,
)  # fmt: skip
ZEROGEN_NEWS = _of_classes(
    "zerogen-news",
    "ZeroGen on news of four sections: a student of written reports comes near the writer's own likelihood on real "
    "ones, far above shuffled labels, and more reports help.",
    "ag-news", ["World", "Sports", "Business", "Sci/Tech"], 64, 3,
    "prompting 87.2 %, written reports 82.3", decoding={"new_tokens": 60},
)  # fmt: skip
