"""A model on this machine whose answers are in a journal on disk before they are used: writing is slow, and what was
written once is not written again, by a run that was killed, by the same run with another student, or by one that uses
the same texts in another way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from ...errors import TeacherError
from ..service.journal import Journal, journal_path, key_of
from .base import UNSTEERED, Decoding, Steering, Writer

AT_ONCE = 16
"""Prompts of one line of the journal: as many are lost by a kill."""
SCORED_AT_ONCE = 64
"""Texts of one line: sorted by length by the model, so that more of them are less padding."""
SEEDS = 2**62


def journal_of(model: Path) -> Path:
    """Where the answers of the model at this place are kept."""
    return journal_path(["local", str(model.resolve())])


class Journalled:
    """A writer over another one. What is kept is told apart by the other's fingerprint, so that new weights at the same
    place are asked anew."""

    def __init__(self, writer: Writer, journal: Path) -> None:
        """Raises TeacherError where the journal cannot be used."""
        self.writer, self.source, self.journal = writer, writer.source, Journal(journal)
        self.needs_prompts, self.reads_contexts = writer.needs_prompts, writer.reads_contexts
        self.scores, self.debiases, self.words = writer.scores, writer.debiases, writer.words

    def fingerprint(self) -> str:
        return self.writer.fingerprint()

    def generate(
        self, prompts: Sequence[str], stream: Generator, how: Decoding, steering: Steering = UNSTEERED
    ) -> list[str]:
        parts = range(0, len(prompts), AT_ONCE)
        seeds = torch.randint(SEEDS, (len(parts),), generator=stream).tolist()
        continuations: list[str] = []
        for at, seed in zip(parts, seeds):
            part = prompts[at : at + AT_ONCE]
            steered = replace(steering, against=steering.against[at : at + AT_ONCE])
            debias = steered.debias if steered.against else None
            request = {
                "prompts": list(part), "against": [list(row) for row in steered.against], "how": how.model_dump(),
                "seed": seed, "debias": None if debias is None else debias.model_dump(), "ends": steered.ends,
            }  # fmt: skip
            ask = partial(self.writer.generate, part, Generator().manual_seed(seed), how, steered)
            answers_of_part = self._answer(request, len(part), ask)
            continuations += map(str, answers_of_part)
        return continuations

    def score(self, prompts: Sequence[str], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        rows: list[tuple[float, int]] = []
        for at in range(0, len(texts), SCORED_AT_ONCE):
            part = slice(at, at + SCORED_AT_ONCE)
            request = {"prompts": list(prompts[part]), "texts": list(texts[part])}
            rows += self._answer(request, len(texts[part]), partial(self._scored, prompts[part], texts[part]))
        return torch.tensor([row[0] for row in rows]), torch.tensor([row[1] for row in rows])

    def _scored(self, prompts: Sequence[str], texts: Sequence[str]) -> list[list[float]]:
        totals, counts = self.writer.score(prompts, texts)
        return [list(row) for row in zip(totals.tolist(), counts.tolist())]

    def _answer(self, asked: dict[str, Any], count: int, ask: Callable[[], list[Any]]) -> list[Any]:
        """`count` answers to a question, from the journal or else by asking."""
        key = key_of({"of": self.fingerprint(), **asked})
        if key not in self.journal.answers:
            self.journal.add({key: ask()}, {"rows": count})
        answer = self.journal.answers[key]
        if not isinstance(answer, list) or len(answer) != count:
            raise TeacherError(f"{self.journal.path}: has an answer of another form; move the file away")
        return answer
