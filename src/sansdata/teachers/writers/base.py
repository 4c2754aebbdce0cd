"""What a teacher that writes can do, and how it is asked to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pydantic
from torch import Generator, Tensor

from ...config import Strict

GENERATES = "generates"
"""The name of the capability in `Requirements.capabilities`."""


FIRST_TEXT = "first text"
"""What a writer that reads no words is asked for, where it is to write the first of two texts."""


class Decoding(Strict):
    """How the next token is chosen. Defaults are those of ZeroGen's release.

    top_p: the smallest set of tokens of so much probability; 1 is all. top_k: at most so many; 0 is all. temperature:
    below 1 sharper. new_tokens, fewest: of a text; the end is out of reach before `fewest`.
    """

    top_p: float = pydantic.Field(default=0.9, gt=0, le=1)
    top_k: int = pydantic.Field(default=0, ge=0)
    temperature: float = pydantic.Field(default=1.0, gt=0, le=10)
    new_tokens: int = pydantic.Field(default=40, ge=1, le=4096)
    fewest: int = pydantic.Field(default=0, ge=0)

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Decoding:
        if self.fewest > self.new_tokens:
            raise ValueError(f"fewest={self.fewest} tokens of at most new_tokens={self.new_tokens}")
        return self


class Debias(Strict):
    """Self-debiasing (Schick et al. 2021, as ZeroGen has it): a token counts exp(-decay * d) as much, at least `floor`,
    where it is by d more likely under the prompt of another class. decay 0 is off (released: 200 for pairs)."""

    decay: float = pydantic.Field(default=0.0, ge=0)
    floor: float = pydantic.Field(default=0.01, gt=0, le=1)


@dataclass(frozen=True)
class Steering:
    """What a writer may heed beside its prompts. against: of each prompt those of the other classes, as many for each,
    for `debias`. ends: letters behind the first of which nothing will be read, so that a writer may stop there."""

    against: Sequence[Sequence[str]] = ()
    debias: Debias | None = None
    ends: str = ""


UNSTEERED = Steering()


class Writer(Protocol):
    """A source of texts. What it cannot do is said by its flags, and asked before step 0."""

    source: str
    """The spec it was read from."""
    needs_prompts: bool
    """Whether it reads words; else the prompt is the name of a class, for which it was made, and of two texts the first
    text behind it."""
    reads_contexts: bool
    """Whether it can be told what a text is to be about, such as the first of two texts."""
    scores: bool
    """Whether `score` works."""
    debiases: bool
    """Whether `generate` heeds `Steering.against`."""
    words: str
    """'spaces' where its texts are words between spaces, 'letters' where they are as people write."""

    def generate(
        self, prompts: Sequence[str], stream: Generator, how: Decoding, steering: Steering = UNSTEERED
    ) -> list[str]:
        """A continuation of each prompt."""
        ...

    def score(self, prompts: Sequence[str], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """(the log-probability of each text behind its prompt, (N,) float32; its number of tokens, (N,) int64)."""
        ...

    def fingerprint(self) -> str:
        """SHA-256 of what decides its answers."""
        ...
