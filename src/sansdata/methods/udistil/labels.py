"""Pseudo-labels by what a recogniser answers with: one class, or a text of many tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ...kinds.outputs.transcript import IGNORED, Transcripts
from ...objectives.edits import normalised
from ...objectives.logits import entropy


@dataclass(frozen=True)
class Labels:
    """Of B sounds. targets: what the student is to say. said: the same in letters. surprise, doubt: (B,) mean -log p of
    its tokens, and mean entropy of the choices."""

    targets: Tensor
    said: list[str]
    surprise: Tensor
    doubt: Tensor


class Labeller(Protocol):
    keeps: bool
    """Whether the teacher's answers are small enough to be kept beside the sounds."""

    def heard(self, answers: Tensor) -> Labels:
        """What the teacher's answers say."""
        ...

    def spoken(self, texts: Sequence[str]) -> Tensor:
        """The targets that these texts are; IGNORED all over where one is none."""
        ...

    def forced(self, targets: Tensor) -> dict[str, Tensor]:
        """Columns that make a network answer place by place of these targets."""
        ...


class ClassLabels:
    """names: of the classes, in order; each is also the text that says it."""

    keeps = True

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.places = {normalised(name): label for label, name in enumerate(names)}

    def heard(self, answers: Tensor) -> Labels:
        chances = F.softmax(answers.double(), 1).cpu()
        best, label = chances.max(1)
        surprise = -best.clamp_min(1e-30).log().float()
        return Labels(label, [self.names[int(one)] for one in label.tolist()], surprise, entropy(chances).float())

    def spoken(self, texts: Sequence[str]) -> Tensor:
        return torch.tensor([self.places.get(normalised(text), IGNORED) for text in texts])

    def forced(self, targets: Tensor) -> dict[str, Tensor]:
        return {}


class TextLabels:
    """kind: of the transcripts. Texts are spoken to it as its tokens have them: `spoken` of a text that is in other
    letters than the teacher writes would teach two ways of writing, so texts are said as they stand in their file."""

    keeps = False

    def __init__(self, kind: Transcripts) -> None:
        self.kind = kind

    def heard(self, answers: Tensor) -> Labels:
        tokens = self.kind.tokens(answers).cpu()
        counted = (tokens != IGNORED).float()
        logs = answers.float().log_softmax(1).cpu()
        places = counted.sum(1)
        surprise = -(logs.amax(1) * counted).sum(1) / places
        doubt = (entropy(logs.exp().transpose(1, 2)) * counted).sum(1) / places
        return Labels(tokens, self.kind.texts(tokens), surprise, doubt)

    def spoken(self, texts: Sequence[str]) -> Tensor:
        return self.kind.ids(texts)

    def forced(self, targets: Tensor) -> dict[str, Tensor]:
        return {"tokens": self.kind.continued(targets)}
