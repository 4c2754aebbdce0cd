"""The words every room shares: inputs and answers, batches, named losses, counters.

Shapes: B batch, C channels, H height, W width, K classes, Z latent size, L length.
Images travel in unit space: de-normalised, nominally 0..1, not clamped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from .columns import Inputs
from .errors import MethodError


class Access(IntEnum):
    """How far we may look into a teacher. Each level includes those below it."""

    LABELS = 0
    SCORES = 1
    GRADIENTS = 2
    WEIGHTS = 3


PER_PIXEL_TOO = frozenset({"classes", "masks"})
"""Kinds of output of methods whose losses are taken at every position of an answer."""


@dataclass(frozen=True)
class Requirements:
    """What a method needs of a teacher, and of the user, checked before step 0."""

    access: Access = Access.SCORES
    batch_norm: bool = False
    """Running statistics of BatchNorm layers."""
    head: bool = False
    """A final linear layer whose input is the feature vector."""
    helpers: bool = False
    """Asks a teacher's helpers too, where it has some; each must then offer all of the above."""
    pool: bool = False
    """Images that the user gives: data, only not the teacher's."""
    setting: str = ""
    """A setting that must be given and was not, with what it is; '' where nothing lacks."""
    capabilities: frozenset[str] = frozenset()
    """What the teacher must be able to do besides answering, such as 'generates': it writes texts."""
    inputs: frozenset[str] = frozenset({"image"})
    """Kinds of input that it works on; empty is any."""
    outputs: frozenset[str] = frozenset({"classes"})
    """Kinds of output that it works on; empty is any."""

    def unmet_by(self, pair: tuple[str, str]) -> str | None:
        """Why it cannot work on a task of this pair of kinds; None where it can."""
        for side, kind, known in (("inputs", pair[0], self.inputs), ("outputs", pair[1], self.outputs)):
            if known and kind not in known:
                return f"its {side} are {' or '.join(sorted(known))}, and the task's are {kind}"
        return None


@dataclass
class Outputs:
    """What one forward pass gave. value: the answers in the form of their kind, of classes logits (B, K) float32; taps:
    module path -> tensor, as asked for; valid: which positions of an answer count, None is all."""

    value: Tensor
    taps: dict[str, Tensor] = field(default_factory=dict)
    valid: Tensor | None = None

    @property
    def logits(self) -> Tensor:
        """The answers of a classifier, (B, K)."""
        return self.value

    def followed_by(self, other: Outputs) -> Outputs:
        """The outputs of both batches in one, this one first; both with the same taps."""
        taps = {name: torch.cat([tap, other.taps[name]]) for name, tap in self.taps.items()}
        both = None
        if self.valid is not None and other.valid is not None:
            both = torch.cat([self.valid, other.valid])
        return Outputs(torch.cat([self.value, other.value]), taps, both)


@dataclass
class Batch:
    """Inputs, as they travel, and what is known about them.

    targets: what a method wants them to be, of classes (B,) int64. weights: (B,) of each sample in the loss. extras:
    what a method put there for its own loss; what belongs to single inputs belongs to the first of them, since an
    update may join older inputs behind. space: 'input', or the name of an inner place of the network at which the
    inputs enter, for methods that make embeddings.
    """

    inputs: Inputs
    targets: Tensor | None = None
    teacher_outputs: Outputs | None = None
    weights: Tensor | None = None
    extras: dict[str, Any] = field(default_factory=dict)
    space: str = "input"

    @property
    def images(self) -> Tensor:
        """The inputs of a method of images: (B, C, H, W) in unit space."""
        assert isinstance(self.inputs, Tensor), "a method that reads images requires them"
        return self.inputs

    def answers(self) -> Outputs:
        """The teacher's answers. Raises MethodError where the method did not ask it."""
        if self.teacher_outputs is None:
            raise MethodError("this method does not ask the teacher about its batches: there is nothing to match")
        return self.teacher_outputs


Questions = Counter[int]
"""What a teacher is asked: samples in a call -> such calls."""
OfGradient = Callable[[int], Questions]
"""Samples of a batch -> what it costs to have its answers with a gradient."""


class Losses:
    """Named, weighted terms. A term of weight zero is not computed, by construction.

    A term is a scalar, or per sample: (B,), or shorter where it is of the first inputs only. Per-sample terms
    are averaged, weighted where weights are given.
    """

    def __init__(self) -> None:
        self.terms: dict[str, tuple[float, Tensor]] = {}

    def add(self, name: str, weight: float, value: Callable[[], Tensor]) -> None:
        if name in self.terms:
            raise ValueError(f"loss term '{name}' is added twice")
        if weight != 0:
            term = value()
            if not isinstance(term, Tensor):
                raise MethodError(f"loss term '{name}' is {type(term).__name__}; expected a tensor, a scalar or (B,)")
            self.terms[name] = (weight, term)

    def total(self, weights: Tensor | None = None) -> Tensor:
        """The weighted sum, a scalar. Raises ValueError without any term."""
        if not self.terms:
            raise ValueError("a loss without terms")
        parts = [weight * _reduce(value, weights) for weight, value in self.terms.values()]
        return torch.stack(parts).sum()

    def values(self) -> dict[str, Tensor]:
        """Each term before its weight, detached, reduced to a scalar."""
        return {name: _reduce(value.detach(), None) for name, (_, value) in self.terms.items()}


def _reduce(value: Tensor, weights: Tensor | None) -> Tensor:
    value = value.float()
    if value.ndim == 0:
        return value
    if weights is None:
        return value.mean()
    weights = weights[: len(value)]
    return (value * weights).sum() / weights.sum().clamp_min(1e-12)


class Counters:
    """What was spent, by name: samples, unless the name says seconds."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def add(self, name: str, amount: float) -> None:
        self.values[name] = self.values.get(name, 0) + amount

    def __getitem__(self, name: str) -> float:
        return self.values.get(name, 0)

    def state_dict(self) -> dict[str, float]:
        return dict(self.values)

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        self.values = dict(state)


@runtime_checkable
class Stateful(Protocol):
    def state_dict(self) -> Mapping[str, Any]: ...
    def load_state_dict(self, state: Any, /) -> Any: ...


@dataclass
class Progress:
    """How far the student is: steps taken of steps planned."""

    steps: int = 0
    planned: int = 1

    @property
    def value(self) -> float:
        """0 at the first step, towards 1 at the last."""
        return min(1.0, self.steps / max(1, self.planned))


Forward = Callable[[Any], Outputs]
"""A student as a function: inputs as they travel, of images (B, C, H, W) in unit space -> outputs and taps."""
