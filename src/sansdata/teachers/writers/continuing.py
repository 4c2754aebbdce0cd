"""An n-gram model of plain texts that goes on with what it is given: the smallest causal language model there is, for
methods that steer one by the beginning of a text."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .base import Decoding
from .ngram import NGrams

KIND = "continuing-ngram"
ANY = "text"
"""Its only class."""
UNKNOWN = -1
"""The id of a word that it does not know: it goes on as behind nothing."""


class ContinuingNGrams(NGrams):
    """A writer whose prompt is the beginning of a text; its only class is ANY."""

    needs_prompts, reads_contexts = True, True

    @classmethod
    def of_texts(cls, texts: Sequence[str]) -> ContinuingNGrams:
        return cls.fitted([(text, 0) for text in texts], [ANY])

    def score(self, prompts: Sequence[str], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Of a text behind its prompt, and of its end."""
        totals, counts = [], []
        for prompt, text in zip(prompts, texts):
            shares = torch.tensor(self.shares_of(ANY, f"{prompt} {text}"), dtype=torch.float64)
            behind = len(text.split()) + 1
            totals.append(float(shares[-behind:].log().sum()))
            counts.append(behind)
        return torch.tensor(totals), torch.tensor(counts)

    def _text(self, name: str, draws: list[list[float]], how: Decoding) -> str:
        """name: the beginning, behind which the text goes on."""
        return self._behind(ANY, [self.ids.get(word, UNKNOWN) for word in name.split()], draws, how)
