"""A language model of tweets that a classifier of reviews steers, beside its own texts and beside random words."""

from __future__ import annotations

from typing import Any

from .model import Arm, Expectation, Recipe, Role

STEPS = 300
_TRANSFER = {"optimizer": "adam", "lr": 5e-3, "weight_decay": 0.0, "temperature": 1.0, "batch": 64}


def _arm(name: str, role: Role, method: str, **options: Any) -> Arm:
    writes = {"writes": True} if method == "promptdfd" else {}
    if method == "promptdfd":
        options["steps_per_batch"] = 1
    return Arm(
        name=name, role=role, method=method, steps=STEPS, options={**options, "transfer": _TRANSFER},
        experiment={"data": "sst2", "teacher": {}, **writes},
    )  # fmt: skip


PROMPTDFD = Recipe(
    name="promptdfd",
    claim="After PromptDFD: sentences whose beginnings REINFORCE found, written by a language model of tweets, give a "
    "student that agrees more with its teacher on real reviews than what that model writes by itself, and than random "
    "words.",
    data="sst2",
    task={},
    teacher=None,
    student="shrink:0.5",
    experiment="texts",
    held_out=0,
    arms={
        "small": (
            _arm("promptdfd", "method", "promptdfd"),
            _arm("unsteered", "floor", "promptdfd", fresh=1.0),
            _arm("not-learned", "ablation", "promptdfd", prompt_lr=1e-9),
            _arm("sure-only", "ablation", "promptdfd", confident=0.6),
            _arm("no-start", "ablation", "promptdfd", start=0.0),
            _arm("frequent-words", "floor", "noise", source="frequent"),
            _arm("uniform-words", "floor", "noise", source="uniform"),
            _arm("as-dfd", "combination", "as-dfd"),
            _arm("real-texts", "ceiling", "real-data", view="none"),
        )
    },
    matched="student steps, their length and batch, student and its first weights; 64 texts drawn for every step, of "
    "which those that were written are kept once and seen again. The language model is an n-gram "
    "model of tweets, and has met no review.",
    expected=(
        Expectation(better="promptdfd", worse="unsteered", measure="agreement"),
        Expectation(better="promptdfd", worse="uniform-words", measure="agreement"),
        Expectation(better="promptdfd", worse="not-learned", measure="agreement"),
        Expectation(better="promptdfd", worse="frequent-words", measure="agreement"),
    ),
    tried=(
        "Settings were chosen on the development part of SST-2, seed 0: two beginning words at a start of 2 and the "
        "sure texts alone 69.6 %, with half of the texts left to the model 70.4, all texts at a start of 1 71.8, six "
        "words of 4,000 73.5; evenly drawn words 64.1. With the last of these, seeds 0, 1 and 2 gave 73.5, 68.9 and "
        "70.5 %, the model by itself 70.8, 67.9 and 72.3: above evenly drawn words, undecided against the model.",
        "In an earlier series, whose test figures were seen, texts were written for every other step: half as many as "
        "random words were drawn. The arms see as many now; nothing else was changed.",
        "Words drawn by frequency agree more than all of these, 76.6 %: they come from the tokenizer's own counts, "
        "which know the domain, and such a teacher hardly needs sentences. The tweets of the language model do not.",
    ),
)
