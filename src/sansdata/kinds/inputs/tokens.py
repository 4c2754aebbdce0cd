"""Texts as ids of the task's vocabulary. They travel as {'tokens': (B, L) int64, 'mask': (B, L) bool}, padded to the
task's length; the mask is true where a token is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from ...columns import Inputs
from ...errors import TaskError
from ...figures import Figure, Finding, Preview, Text, Warned
from ...tasks import TokensSpec
from ..base import Axes, InputKind, Preprocessor
from .text_figures import distinct, self_bleu
from .tokenizer import Tokenizer

NAMES = ("tokens", "mask")
ZIPF_SHIFT = 2.7
"""Mandelbrot's shift in the frequency 1 / (rank + shift) of words."""
FEW = 0.02
"""Share of distinct texts below which samples are one text."""


@dataclass(frozen=True)
class Columns:
    """A module is called with the columns `ours` under the names of its own arguments."""

    ours: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def passes_on(self) -> bool:
        """Only under our own names: a student's arguments are its own."""
        return self.names == self.ours

    def __call__(self, inputs: Inputs) -> dict[str, Tensor]:
        assert not isinstance(inputs, Tensor)
        return {theirs: inputs[ours] for ours, theirs in zip(self.ours, self.names)}

    def describe(self) -> dict[str, Any]:
        return {} if self.passes_on else {"door": "columns", "names": list(self.names)}


@dataclass(frozen=True)
class Retokenise:
    """A module with another vocabulary: ids are put into words by the task's tokenizer and read anew by its own, on the
    CPU; no gradient passes."""

    ours: Tokenizer
    theirs: Tokenizer
    length: int
    padding: int
    names: tuple[str, str]
    passes_on: bool = False

    def __call__(self, inputs: Inputs) -> dict[str, Tensor]:
        assert not isinstance(inputs, Tensor)
        texts = self.ours.texts(inputs["tokens"].cpu(), inputs["mask"].cpu())
        tokens, mask = self.theirs.ids(texts, self.length, self.padding)
        device = inputs["tokens"].device
        return {name: column.to(device) for name, column in zip(self.names, (tokens, mask))}

    def describe(self) -> dict[str, Any]:
        return {
            "door": "retokenise", "tokenizer": str(self.theirs.path), "length": self.length, "padding": self.padding,
            "names": list(self.names),
        }  # fmt: skip


class Tokens(InputKind):
    """spec says how many ids there are, how long a text may be, and with which tokenizer it is read."""

    Spec = TokensSpec
    unit = "texts"
    differentiable = False
    sources = ("uniform", "frequent")

    def draw(
        self, count: int, generator: Generator, source: str = "", door: Preprocessor | None = None
    ) -> dict[str, Tensor]:
        """Texts of even lengths from 1 word, framed as the tokenizer frames what it reads. uniform: every id alike.
        frequent: as often as the tokenizer's scores say, or by Zipf's law where it has none, for word lists are sorted
        by frequency as a rule."""
        spec, shortest = self.spec, 1 + sum(map(len, self._frame))
        tokens = self.draw_words(count, generator, source)
        lengths = torch.randint(shortest, spec.length + 1, (count,), generator=generator)
        lengths[torch.randint(count, (), generator=generator)] = spec.length
        mask = torch.arange(spec.length)[None] < lengths[:, None]
        return {"tokens": self.framed(tokens, mask).masked_fill(~mask, spec.padding), "mask": mask}

    def draw_words(self, count: int, generator: Generator, source: str = "") -> Tensor:
        """(count, L) ids that stand for words, one at every place; source as `draw` has it."""
        spec, tokenizer = self.spec, self.tokenizer
        known = torch.arange(spec.vocabulary) if tokenizer is None else torch.tensor(tokenizer.plain_ids)
        weights = torch.ones(len(known))
        if source == "frequent":
            weights = 1 / (torch.arange(len(known)) + ZIPF_SHIFT)
            if tokenizer is not None and tokenizer.scores is not None:
                weights = torch.tensor([tokenizer.scores[int(place)] for place in known]).exp()
        return known[torch.multinomial(weights, count * spec.length, True, generator=generator)].view(count, -1)

    def frame(self, mask: Tensor) -> Tensor:
        """(B, L) ids of the special tokens around each of the texts that `mask` (B, L) says the lengths of, -1 where
        words stand: what a reader never moves. All -1 where the tokenizer has none or a text no room for a word."""
        before, behind = self._frame
        ids = torch.full(mask.shape, -1, dtype=torch.int64, device=mask.device)
        last = mask.sum(1, keepdim=True) - 1
        for place, token in enumerate(before):
            ids[:, place] = token
        for place, token in enumerate(reversed(behind)):
            ids.scatter_(1, last - place, token)
        return ids

    def framed(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """The ids (B, L) with those of the frame at their places."""
        frame = self.frame(mask)
        return torch.where(frame < 0, tokens, frame)

    @property
    def _frame(self) -> tuple[list[int], list[int]]:
        before, behind = ([], []) if self.tokenizer is None else self.tokenizer.frame
        return (before, behind) if len(before) + len(behind) < self.spec.length else ([], [])

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The task's, where it names one. Raises TaskError where it cannot be read."""
        return Tokenizer.of(self.spec.tokenizer) if self.spec.tokenizer else None

    def read(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Texts as they travel. Raises TaskError where the task has no tokenizer."""
        if self.tokenizer is None:
            raise TaskError("the task names no tokenizer, so a text cannot be read: give inputs.tokenizer")
        tokens, mask = self.tokenizer.ids(texts, self.spec.length, self.spec.padding)
        if int(tokens.max()) >= self.spec.vocabulary:
            raise TaskError(f"the tokenizer gives ids above the task's vocabulary of {self.spec.vocabulary}")
        return {"tokens": tokens, "mask": mask}

    def preprocessor(self, described: Mapping[str, Any]) -> Preprocessor:
        door = described.get("door", "columns")
        names = described.get("names", NAMES)
        if not (isinstance(names, (list, tuple)) and len(names) == 2 and all(isinstance(n, str) for n in names)):
            raise TaskError("preprocessing of texts needs names: [the argument for ids, the argument for the mask]")
        if door == "columns":
            return Columns(NAMES, tuple(names))
        if door != "retokenise":
            raise TaskError(f"preprocessing: unknown door '{door}' of texts. Known: columns, retokenise.")
        if self.tokenizer is None:
            raise TaskError(
                "a teacher with a tokenizer of its own needs inputs.tokenizer in the task: which words are ids?"
            )
        length, padding = described.get("length"), described.get("padding", 0)
        if not (isinstance(length, int) and length > 0 and isinstance(padding, int) and padding >= 0):
            raise TaskError(
                f"preprocessing: retokenise needs length and padding, got {length!r:.40} and {padding!r:.40}"
            )
        theirs = Tokenizer.of(str(described.get("tokenizer", "")))
        return Retokenise(self.tokenizer, theirs, length, padding, (names[0], names[1]))

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        tokens, mask = arrays.get("tokens"), arrays.get("mask")
        if tokens is None or mask is None or tokens.dtype.kind != "i" or mask.dtype != bool:
            raise ValueError("expected 'tokens' of whole numbers and 'mask' of flags")
        if tokens.ndim != 2 or tokens.shape != mask.shape or tokens.shape[1] != self.spec.length:
            raise ValueError(f"expected (N, {self.spec.length}), got {tokens.shape} and {mask.shape}")
        if tokens.size and (tokens.min() < 0 or tokens.max() >= self.spec.vocabulary):
            raise ValueError("an id that the task's vocabulary does not have")
        return {"tokens": torch.from_numpy(tokens.astype(np.int64)), "mask": torch.from_numpy(mask.copy())}

    def statistics(self, packed: Inputs) -> list[Finding]:
        assert not isinstance(packed, Tensor)
        tokens, mask = packed["tokens"], packed["mask"]
        used = tokens[mask].unique()
        share = len(tokens.unique(dim=0)) / len(tokens)
        rows = [row[keep].tolist() for row, keep in zip(tokens, mask)]
        return [
            Figure("distinct", share, "share", "texts that are not repeated", "higher"),
            Figure("distinct_3", distinct(rows, 3), "share", "triples of tokens that are not repeated", "higher"),
            Figure("self_bleu", self_bleu(rows), "share", "how much texts repeat one another (BLEU of 4)", "lower"),
            Figure("length", float(mask.sum(1).float().mean()), "number", "mean number of tokens of a text"),
            Figure("vocabulary_used", len(used) / self.spec.vocabulary, "share", "ids that occur in the samples"),
        ]

    def warnings(self, statistics: Mapping[str, Any]) -> list[Warned]:
        if statistics["distinct"] >= FEW:
            return []
        return [Warned("identical samples", statistics["distinct"], "hardly any text differs from the others")]

    def preview(self, packed: Inputs) -> list[Preview]:
        assert not isinstance(packed, Tensor)
        tokens, mask, tokenizer = packed["tokens"], packed["mask"], self.tokenizer
        if tokenizer is not None:
            return [Text(text) for text in tokenizer.texts(tokens, mask)]
        return [Text(" ".join(map(str, row[keep].tolist()))) for row, keep in zip(tokens, mask)]

    def describe(self) -> str:
        return f"texts of at most {self.spec.length} tokens of {self.spec.vocabulary:,}"

    def signature(self) -> Mapping[str, Axes]:
        return {
            "tokens": Axes(
                "int64", (self.spec.length,), f"ids below {self.spec.vocabulary}, {self.spec.padding} fills"
            ),
            "mask": Axes("bool", (self.spec.length,), "true where a token is"),
        }

    def hint(self, module: nn.Module) -> str:
        first = next((part for part in module.modules() if isinstance(part, nn.Embedding)), None)
        if first is None or first.num_embeddings == self.spec.vocabulary:
            return ""
        return f". Its first embedding knows {first.num_embeddings} ids and the task has {self.spec.vocabulary}"
