"""Texts that helped become examples for the next ones: ProGen (Ye et al. 2022, arXiv 2210.12329), read in its release.

A copy of the student learns what was written so far but for a part that is held out. The influence of a text is minus
the slope of its loss along the inverse Hessian times the gradient of the held-out loss, a reverse cross-entropy, since
held-out texts are no cleaner than the others. The most helpful of each class stand before some of the next prompts.

Deviation: every feedback asks for influence; in the release the examples are random texts of the class up to 10,000
texts, with feedback at 100, 400, 1,200, 3,200 and 8,000 of them, and only those of 19,200 on by influence. There the
held-out texts leave the set for good, here the student learns them too; the copy is that of the epoch with the best
held-out accuracy, here that of the last; and all losses have 0.005 |w|^2 added to them, here none: that adds one number
to the influence of every text, by which its sign no longer says whether the text helps.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

import pydantic
import torch
from torch import Generator, Tensor

from ...arithmetic import ceil_div
from ...config import Strict
from ...tasks import Prompts
from .labels import reverse_cross_entropy
from .pilot import Pilot

COPIED = 0.9
"""Share of an example's words from which a text is a copy of it (released)."""
UNPUNCTUATED = str.maketrans("", "", string.punctuation)


class Feedback(Strict):
    """share: of the prompts that get examples, 0 is off (released: 0.5). first: texts before the first feedback; it
    comes again whenever there are twice as many (ours). helpful: the most texts of each class to choose from; shots:
    examples before a prompt (released: 50 and 8). held_out: texts of the held-out loss, at most a quarter (released:
    1,000). epochs: of the copy (released: 3; 20 for an LSTM). damping, scale, depth: of the recursion for the inverse
    Hessian (released: 0.005, 10,000 and 1,000 samples). batch: of the copy's steps and of the recursion (ours)."""

    share: float = pydantic.Field(default=0.0, ge=0, le=1)
    first: int = pydantic.Field(default=500, ge=1)
    helpful: int = pydantic.Field(default=50, ge=1)
    shots: int = pydantic.Field(default=8, ge=1)
    held_out: int = pydantic.Field(default=1000, ge=1)
    epochs: int = pydantic.Field(default=3, ge=1)
    damping: float = pydantic.Field(default=5e-3, ge=0)
    scale: float = pydantic.Field(default=1e4, gt=0)
    depth: int = pydantic.Field(default=8, ge=0)
    batch: int = pydantic.Field(default=128, ge=1)

    def after(self, texts: int, chunk: int) -> list[int]:
        """Numbers of the chunks behind which there is feedback, of a run that begins with so many texts."""
        chosen, wanted, last = [], self.first, ceil_div(texts, chunk)
        while self.share and ceil_div(wanted, chunk) < last:
            chosen.append(ceil_div(wanted, chunk))
            wanted *= 2
        return list(dict.fromkeys(chosen))


def held_out(known: Sequence[int], count: int, how: Feedback, stream: Generator) -> list[int]:
    """Places of the texts of the held-out loss, of `count`: those of before, and others as long as they are too few."""
    others = set(range(count)).difference(known)
    drawn = [place for place in torch.randperm(count, generator=stream).tolist() if place in others]
    return [*known, *drawn[: max(0, min(how.held_out, max(1, count // 4)) - len(known))]]


def helpful(pilot: Pilot, held_out: Sequence[int], how: Feedback, lr: float) -> list[list[int]]:
    """Of each class the places of the texts that lower the loss of those held out, the best first; at most
    `how.helpful`, none where none does."""
    judged, labels, stream = torch.tensor(held_out), pilot.labels.tolist(), pilot.context.streams("pilot")
    lesson = torch.tensor(sorted(set(range(len(labels))).difference(held_out)), dtype=torch.int64)
    orders = [lesson[torch.randperm(len(lesson), generator=stream)] for _ in range(how.epochs)]
    pilot.teach(torch.cat(orders), how.batch, lr)
    loss = reverse_cross_entropy(pilot.logits(judged), pilot.labels[judged]).mean()
    gradient = torch.autograd.grad(loss, pilot.parameters)
    slopes = pilot.slopes(solved(pilot, gradient, orders[-1], how))
    slopes[judged] = -torch.inf
    best = [place for place in slopes.argsort(descending=True, stable=True).tolist() if slopes[place] > 0]
    classes = range(pilot.context.task.classes)
    return [[place for place in best if labels[place] == label][: how.helpful] for label in classes]


def solved(pilot: Pilot, gradient: Sequence[Tensor], ids: Tensor, how: Feedback) -> list[Tensor]:
    """The damped inverse Hessian of the training loss times `gradient`, by the recursion of Agarwal et al. 2017."""
    direction = [one.clone() for one in gradient]
    parts = ids.split(how.batch)
    for step in range(how.depth):
        loss = pilot.losses(parts[step % len(parts)]).mean()
        slopes = torch.autograd.grad(loss, pilot.parameters, create_graph=True)
        along = torch.stack([(slope * one).sum() for slope, one in zip(slopes, direction)]).sum()
        curved = torch.autograd.grad(along, pilot.parameters, allow_unused=True)
        direction = [
            start + (1 - how.damping) * one - (torch.zeros_like(one) if bend is None else bend) / how.scale
            for start, one, bend in zip(gradient, direction, curved)
        ]
    return direction


def examples_for(
    labels: Sequence[int], chosen: Sequence[Sequence[str]], how: Feedback, prompts: Prompts, stream: Generator
) -> tuple[list[str], list[list[str]]]:
    """(what stands before the prompt of each of `labels`, '' for some; the texts in it). chosen: of each class."""
    before, texts = [], []
    for label in labels:
        hit = float(torch.rand((), generator=stream)) < how.share and bool(chosen[label])
        places = torch.randperm(len(chosen[label]), generator=stream)[: how.shots].tolist() if hit else []
        texts.append([chosen[label][place] for place in places])
        before.append("".join(map(prompts.shown, texts[-1])))
    return before, texts


def copies(text: str, examples: Sequence[str]) -> bool:
    """Whether a text has nearly all words of one of the examples that it was shown, whatever their punctuation."""
    words, *parted = (set(one.lower().translate(UNPUNCTUATED).split()) for one in (text, *examples))
    return any(len(words & example) >= COPIED * len(example) for example in parted if example)
