"""How what was written becomes inputs of the student: a text by itself, or behind the first text that it was written
for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...columns import Inputs
from ...kinds.inputs.tokenizer import Tokenizer
from ...kinds.inputs.tokens import Tokens
from ...kinds.inputs.two_texts import TwoTexts


@dataclass(frozen=True)
class Reading:
    """kind: of the task's inputs."""

    kind: Tokens | TwoTexts

    @property
    def two(self) -> bool:
        """Whether the student sees the context too: it is the first text then."""
        return isinstance(self.kind, TwoTexts)

    @property
    def tokenizer(self) -> Tokenizer | None:
        return self.kind.tokenizer

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """(ids, their mask) of each text; the last is what was written."""
        return (("first", "first_mask"), ("second", "second_mask")) if self.two else (("tokens", "mask"),)

    def read(self, texts: Sequence[str], contexts: Sequence[str]) -> Inputs:
        """As they travel and are stored."""
        if isinstance(self.kind, TwoTexts):
            return self.kind.read(contexts, texts)
        return self.kind.read(texts)

    def lengths(self, packed: Inputs) -> Tensor:
        """(N,) tokens of what was written."""
        assert not isinstance(packed, Tensor)
        return packed[self.columns[-1][1]].sum(1)

    def with_unknown(self, inputs: Inputs, share: float, stream: torch.Generator) -> Inputs:
        """Some tokens as the unknown one. Without that the unknown word of the student stands for whatever was rare in
        one class, and every word of a real text that nobody wrote votes for that class."""
        assert not isinstance(inputs, Tensor)
        assert self.tokenizer is not None
        unknown = self.tokenizer.unknown
        if unknown is None or not share:
            return inputs
        changed = dict(inputs)
        for ids, mask in self.columns:
            hit = (torch.rand(inputs[ids].shape, generator=stream) < share) & inputs[mask]
            changed[ids] = inputs[ids].masked_fill(hit, unknown)
        return changed
