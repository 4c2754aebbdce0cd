"""One language out of a classifier of six: what cutting its words costs, and what a smaller student then keeps."""

from __future__ import annotations

from typing import Any

from .model import Arm, Expectation, Recipe, Role

_TEACHER = {"data": "xlmt", "network": "bilstm", "pieces": 12000, "length": 32, "epochs": 3}
_TRANSFER = {"optimizer": "adam", "lr": 5e-3, "weight_decay": 0.0, "temperature": 1.0, "batch": 64}


def _arm(name: str, role: Role, least: int = 1, student: str | None = None, steps: int = 0) -> Arm:
    experiment: dict[str, Any] = {"teacher": _TEACHER, "least": least}
    return Arm(
        name=name, role=role, method="noise", steps=steps, options={"source": "frequent", "transfer": _TRANSFER},
        experiment=experiment | ({} if student is None else {"student": student}),
    )  # fmt: skip


ONE_LANGUAGE = Recipe(
    name="one-language",
    claim="After Abdaoui et al. 2020: cut to the words of one language, a classifier of six loses a third of its "
    "parameters or more, at equal accuracy in that language. A student of half its width, taught by it on words by "
    "frequency, is smaller again.",
    data="xlmt_sentiment",
    task={},
    teacher=None,
    student="bilstm",
    experiment="one-language",
    seeds=6,
    held_out=0,
    arms={
        "small": (
            _arm("cut", "method"),
            _arm("cut-frequent", "method", least=3),
            _arm("cut-and-halved", "combination", student="shrink:0.5", steps=300),
        )
    },
    matched="one teacher of all six languages; the six seeds are the six languages.",
    expected=(
        Expectation(better="cut", measure="parameters", margin=67, lower=True, paper="up to 45 % fewer"),
        Expectation(better="cut", measure="behind", margin=0.5, lower=True),
        Expectation(better="cut-frequent", measure="parameters", margin=67, lower=True),
        Expectation(better="cut-frequent", measure="behind", margin=2, lower=True),
        Expectation(better="cut-and-halved", measure="behind", margin=5, lower=True),
    ),
)  # fmt: skip
