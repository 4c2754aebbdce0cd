"""Where AF-STip's fragments come from: each mode makes inputs of wanted classes, as they enter teacher and student."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ... import columns
from ...columns import Inputs
from ...errors import DataError, MethodError
from ...files import read_regular, text_lines
from ...kinds.inputs.tokens import Tokens
from ...method import Context
from ...objectives.batch_stats import BatchStatistics
from ...objectives.logits import cross_entropy, kl
from ...synthesis.words import Words
from .cleaner import clean
from .fragments import parted
from .grammar import Author

MAX_FILE_BYTES = 100_000_000


class Source(ABC):
    """What all modes share: the teacher's words, and the kind that reads and draws. config: AFStipConfig."""

    def __init__(self, config: Any, context: Context, kind: Tokens, words: Words) -> None:
        self.config, self.context, self.kind, self.words = config, context, kind, words

    @abstractmethod
    def __call__(self, targets: Tensor, stream: torch.Generator) -> Inputs:
        """Inputs for the classes `targets` (B,), which modes that do not optimise leave out of account."""

    def vectors(self, values: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """values (B, L, D) in the place of words, beside the ids that come nearest."""
        tokens = self.words.nearest(values, mask, 1)[:, :, 0].masked_fill(~mask, self.kind.spec.padding)
        return {"tokens": tokens, "mask": mask, "vectors": self.words.framed(values, mask)}

    def noise(self, shape: torch.Size | tuple[int, ...], stream: torch.Generator) -> Tensor:
        """Standard normal, drawn on the CPU."""
        return self.context.runtime.place(torch.randn(shape, generator=stream))


class Pure(Source):
    """Normal noise as wide as the teacher's table of words: weights, no data (the paper's, in one reading)."""

    def __call__(self, targets: Tensor, stream: torch.Generator) -> Inputs:
        words, spec = self.words, self.kind.spec
        values = words.mean + words.std * self.noise((len(targets), spec.length, len(words.mean)), stream)
        return self.vectors(values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device))


class Perturb(Source):
    """Real fragments and noise on their words (the paper's in the other reading): data, and said to be."""

    def __init__(self, config: Any, context: Context, kind: Tokens, words: Words) -> None:
        super().__init__(config, context, kind, words)
        self.real = kind.read(read_fragments(Path(config.fragments), config.lexer))

    def __call__(self, targets: Tensor, stream: torch.Generator) -> Inputs:
        places = torch.randint(len(self.real["tokens"]), (len(targets),), generator=stream)
        real = self.context.runtime.place({name: column[places] for name, column in self.real.items()})
        values = self.words.table[real["tokens"]]
        values = values + self.config.sigma * self.words.std * self.noise(values.shape, stream)
        return self.vectors(values, real["mask"])


class Invert(Source):
    """Vectors that are optimised until the teacher sees the wanted class, BatchNorm finds its statistics, and they lie
    near words."""

    def __call__(self, targets: Tensor, stream: torch.Generator) -> Inputs:
        config, context, words = self.config, self.context, self.words
        drawn = context.runtime.place(self.kind.draw(len(targets), stream))
        values = nn.Parameter(words.table[drawn["tokens"]].clone())
        optimizer = torch.optim.Adam([values], config.vector_lr * float(words.std))
        norms = BatchStatistics(context.teacher.inside.module, context.teacher.inside.batch_norms if config.bn else ())
        for _ in range(config.iterations):
            near = words.nearest(values.detach(), drawn["mask"], 1)[:, :, 0]
            inputs = {**drawn, "vectors": words.framed(values, drawn["mask"])}
            outputs = context.teacher(inputs, norms.taps)
            losses = context.acquire_losses(inputs, outputs)
            losses.add("ce", 1, lambda: cross_entropy(outputs.logits, targets))  # noqa: B023
            losses.add("bn", config.bn, lambda: norms(outputs.taps))  # noqa: B023
            losses.add("near", config.near, lambda: words.distance(values, near, drawn["mask"]))  # noqa: B023
            optimizer.zero_grad(set_to_none=True)
            losses.total().backward()
            optimizer.step()
        return self.vectors(values.detach(), drawn["mask"])


class Grammar(Source):
    """Fragments that a small grammar writes, cleaned; nobody but the teacher says what they are. Of several for each
    that is wanted those are taken that it takes for the wanted class, as far as there are such."""

    def __call__(self, targets: Tensor, stream: torch.Generator) -> Inputs:
        author, count = Author(stream), len(targets) * self.config.candidates
        inputs = self.context.runtime.place(self.kind.read([author.fragment() for _ in range(count)]))
        if count == len(targets):
            return inputs
        with torch.no_grad():
            classes = self.context.teacher(inputs).logits.argmax(1)
        return columns.take(inputs, wanted(classes, targets))


def wanted(classes: Tensor, targets: Tensor) -> Tensor:
    """(B,) places of samples of the `classes` (N,) that `targets` (B,) ask for, the first of each; where a class has
    too few, the first of what is left stand in."""
    places = [(classes == target).nonzero().flatten()[: int((targets == target).sum())] for target in targets.unique()]
    matched = torch.cat(places)
    left = torch.ones(len(classes), dtype=torch.bool, device=classes.device)
    left[matched] = False
    return torch.cat([matched, left.nonzero().flatten()[: len(targets) - len(matched)]])


class Resample(Source):
    """Ids out of a few drawn ones at each place, by Gumbel-softmax (Jang et al. 2017), so that a gradient passes."""

    def __call__(self, targets: Tensor, stream: torch.Generator) -> Inputs:
        config, context = self.config, self.context
        drawn = self.kind.draw(len(targets), stream)
        mask = drawn["mask"]
        others = (self.kind.draw_words(len(targets), stream) for _ in range(config.choices - 1))
        choices = torch.stack([drawn["tokens"], *(self.kind.framed(words, mask) for words in others)], 2)
        choices = choices.masked_fill(~mask[..., None], self.kind.spec.padding)
        choices, mask = context.runtime.place(choices), context.runtime.place(mask)
        scores = nn.Parameter(torch.zeros(choices.shape, device=choices.device))
        optimizer = torch.optim.Adam([scores], config.score_lr)
        for _ in range(config.iterations):
            even = torch.rand(scores.shape, generator=stream).clamp(1e-6, 1 - 1e-6)
            gumbel = context.runtime.place(-torch.log(-torch.log(even)))
            shares = F.softmax((scores + gumbel) / config.gumbel, 2)
            inputs = {"tokens": choices[:, :, 0].contiguous(), "mask": mask, "choices": choices, "shares": shares}
            outputs = context.teacher(inputs)
            losses = context.acquire_losses(inputs, outputs)
            losses.add("ce", 1, lambda: cross_entropy(outputs.logits, targets))  # noqa: B023
            # A student that has learnt nothing says nothing about what is hard.
            harder = config.difficulty if context.progress.steps else 0.0
            losses.add("easy", harder, lambda: -kl(context.student_outputs(inputs).logits, outputs.logits))  # noqa: B023
            optimizer.zero_grad(set_to_none=True)
            losses.total().backward()
            optimizer.step()
        tokens = choices.gather(2, scores.argmax(2, keepdim=True))[:, :, 0]
        return {"tokens": tokens, "mask": mask}


SOURCES: dict[str, Callable[[Any, Context, Tokens, Words], Source]] = {
    "pure": Pure,
    "perturb": Perturb,
    "invert": Invert,
    "grammar": Grammar,
    "resample": Resample,
}
IN_VECTORS = ("pure", "perturb", "invert")
"""Modes whose inputs are vectors: the student must have the teacher's words."""
READS_TEXT = ("perturb", "grammar")


def read_fragments(path: Path, lexer: Any) -> list[str]:
    """The fragments of a file of ReChecker's form, cleaned; its labels are not read. Raises DataError."""
    try:
        text = read_regular(path, MAX_FILE_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError) as fault:
        raise DataError(f"fragments={path}: cannot be read ({fault})") from None
    cleaned = [" ".join(clean(code, lexer)) for code, _ in parted(text_lines(text)) if code]
    if not cleaned:
        raise DataError(f"fragments={path}: holds no code")
    return cleaned


def require_readable(mode: str, kind: Tokens) -> None:
    """Raises MethodError where a mode writes text and the task cannot read it."""
    if mode in READS_TEXT and kind.tokenizer is None:
        raise MethodError(f"mode={mode} writes code, and the task names no tokenizer to read it: give inputs.tokenizer")
