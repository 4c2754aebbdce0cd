"""An n-gram model of plain texts that goes on with what it is given: the smallest causal language model there is, for
methods that steer one by the beginning of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor

from .base import Debias, Decoding
from .ngram import END, START, NGrams

KIND = "continuing-ngram"
ANY = "text"
"""Its only class."""
UNKNOWN = -1
"""The id of a word that it does not know: it goes on as behind nothing."""


class ContinuingNGrams:
    """A writer whose prompt is the beginning of a text; words are what stands between spaces."""

    needs_prompts, reads_contexts, scores, debiases, words = True, True, True, False, "spaces"

    def __init__(self, ngrams: NGrams) -> None:
        """ngrams: of the class ANY."""
        self.ngrams, self.source = ngrams, ngrams.source

    @classmethod
    def fitted(cls, texts: Sequence[str]) -> ContinuingNGrams:
        return cls(NGrams.fitted([(text, 0) for text in texts], [ANY]))

    def tensors(self) -> dict[str, Tensor]:
        """What a file of it holds beside words and classes."""
        return self.ngrams.tensors()

    @property
    def vocabulary(self) -> list[str]:
        return self.ngrams.vocabulary

    @classmethod
    def of_tensors(
        cls, tensors: Mapping[str, Tensor], classes: Sequence[str], words: Sequence[str], source: str
    ) -> ContinuingNGrams:
        return cls(NGrams.of_tensors(tensors, [ANY], words, source))

    def generate(
        self,
        prompts: Sequence[str],
        stream: Generator,
        how: Decoding,
        against: Sequence[Sequence[str]] = (),
        debias: Debias | None = None,
    ) -> list[str]:
        draws = torch.rand(len(prompts), how.new_tokens, 2, generator=stream, dtype=torch.float64).tolist()
        return [self._continued(prompt, row, how) for prompt, row in zip(prompts, draws)]

    def _continued(self, prompt: str, draws: list[list[float]], how: Decoding) -> str:
        chain = [START, START, *(self.ngrams.ids.get(word, UNKNOWN) for word in prompt.split())]
        words: list[str] = []
        for order, word in draws:
            chosen = self.ngrams.follows(ANY, chain, order, word, how)
            if chosen == END:
                if len(words) >= how.fewest:
                    break
                continue
            chain.append(chosen)
            words.append(self.ngrams.vocabulary[chosen - 2])
        return " ".join(words)

    def score(self, prompts: Sequence[str], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Of a text behind its prompt, and of its end."""
        totals, counts = [], []
        for prompt, text in zip(prompts, texts):
            shares = torch.tensor(self.ngrams.shares_of(ANY, f"{prompt} {text}"), dtype=torch.float64)
            behind = len(text.split()) + 1
            totals.append(float(shares[-behind:].log().sum()))
            counts.append(behind)
        return torch.tensor(totals), torch.tensor(counts)

    def fingerprint(self) -> str:
        return self.ngrams.fingerprint()
