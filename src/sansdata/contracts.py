"""The words every room shares: batches, named losses, randomness, counters, and the contract of a method.

Shapes: B batch, C channels, H height, W width, K classes, Z latent size.
Images travel in unit space: de-normalised, nominally 0..1, not clamped.
"""

from __future__ import annotations

import contextlib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .runtime import Runtime
    from .synthesis.folder import ImagePool
    from .tasks import ImageTask
    from .teachers.base import Teacher


class Access(IntEnum):
    """How far we may look into a teacher. Each level includes those below it."""

    LABELS = 0
    SCORES = 1
    GRADIENTS = 2
    WEIGHTS = 3


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


@dataclass
class Outputs:
    """What one forward pass gave. logits (B, K) float32; taps: module path -> tensor, as asked for."""

    logits: Tensor
    taps: dict[str, Tensor] = field(default_factory=dict)

    def detach(self) -> Outputs:
        return Outputs(self.logits.detach(), {name: tap.detach() for name, tap in self.taps.items()})

    def followed_by(self, other: Outputs) -> Outputs:
        """The outputs of both batches in one, this one first; both with the same taps."""
        taps = {name: torch.cat([tap, other.taps[name]]) for name, tap in self.taps.items()}
        return Outputs(torch.cat([self.logits, other.logits]), taps)


@dataclass
class Batch:
    """Inputs and what is known about them. inputs (B, C, H, W) in unit space where kind is 'input'."""

    inputs: Tensor
    kind: str = "input"
    targets: Tensor | None = None
    teacher_outputs: Outputs | None = None
    weights: Tensor | None = None
    ids: Tensor | None = None
    extras: dict[str, Any] = field(default_factory=dict)


class Losses:
    """Named, weighted terms. A term of weight zero is not computed, by construction.

    A term is a scalar, or (B,) per sample; per-sample terms are averaged, weighted where weights are given.
    """

    def __init__(self) -> None:
        self.terms: dict[str, tuple[float, Tensor]] = {}

    def add(self, name: str, weight: float, value: Callable[[], Tensor]) -> None:
        if name in self.terms:
            raise ValueError(f"loss term '{name}' is added twice")
        if weight != 0:
            self.terms[name] = (weight, value())

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
    return (value * weights).sum() / weights.sum().clamp_min(1e-12)


class Streams:
    """Randomness by name, keyed by (seed, stream, move, rank): nothing to save, nothing shared with the caller."""

    def __init__(self, seed: int, rank: int = 0) -> None:
        self.seed, self.rank, self.move = seed, rank, -1
        self._open: dict[tuple[str, bool], torch.Generator] = {}

    def begin(self, move: int) -> None:
        """Opens the streams of a move; -1 is everything before the first."""
        self.move = move
        self._open.clear()

    def __call__(self, name: str, shared: bool = False) -> torch.Generator:
        """The CPU generator of this stream in this move; `shared` gives every rank the same numbers."""
        key = (name, shared)
        if key not in self._open:
            self._open[key] = torch.Generator().manual_seed(self._number(name, shared))
        return self._open[key]

    @contextlib.contextmanager
    def as_global(self, name: str, shared: bool = False) -> Iterator[None]:
        """For code that only knows the global generator (initialisers, dropout): seeds it, and puts it back after."""
        with torch.random.fork_rng(devices=_cuda_devices()):
            number = self._number(name, shared)
            torch.default_generator.manual_seed(number)
            if _cuda_devices():
                torch.cuda.manual_seed(number)
            yield

    def _number(self, name: str, shared: bool) -> int:
        key = f"{self.seed}/{name}/{self.move}/{'all' if shared else self.rank}"
        return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> 1


def _cuda_devices() -> list[int]:
    return [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []


class Counters:
    """What was spent, by name. Images unless the name says seconds."""

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


Forward = Callable[[Tensor], Outputs]
"""A student as a function: images (B, C, H, W) in unit space -> outputs and taps."""


@dataclass
class Context:
    """All a method may touch."""

    task: ImageTask
    teacher: Teacher
    student: nn.Module
    streams: Streams
    progress: Progress
    counters: Counters
    runtime: Runtime
    teacher_taps: Sequence[str] = ()
    """Taps that added terms read; `teach` fills them."""
    student_taps: Sequence[str] = ()
    pool: ImagePool | None = None
    """There where the method requires one."""
    defence: Defence | None = None
    """What guards the student; its terms come with `acquire_losses`."""

    def acquire_losses(self, images: Tensor, outputs: Outputs) -> Losses:
        """Where a method that moves its inputs begins its loss: no terms yet, or those of the defence.

        images (B, C, H, W) in unit space, as the teacher saw them; outputs what it answered, both with gradient.
        """
        losses = Losses()
        if self.defence is not None:
            self.defence.add_to(losses, images, outputs)
        return losses

    def teach(self, images: Tensor, targets: Tensor | None = None, logits: Tensor | None = None) -> Batch:
        """A batch to learn from: images (B, C, H, W), the teacher asked once and without gradient.

        Cached `logits` (B, K) save the teacher's pass, unless an added term needs its features.
        """
        if logits is not None and not self.teacher_taps:
            return Batch(images, targets=targets, teacher_outputs=Outputs(logits))
        with torch.no_grad():
            outputs = self.teacher(images, self.teacher_taps)
        return Batch(images, targets=targets, teacher_outputs=outputs)

    def student_outputs(self, images: Tensor) -> Outputs:
        """The student in its present mode, for the acquiring side; taps are not filled."""
        return self.runtime.forward(self.student, self.task, images, counters=self.counters, name="student")


class Method(ABC):
    """One published algorithm: its settings, its moves, the student's loss.

    A move is short and atomic: nothing outlives it outside `state()`, gradients included.
    """

    Config: ClassVar[type]
    """Strict settings with a `transfer` section (training.transfer.TransferSettings) and a `steps` size."""

    def __init__(self, config: Any, context: Context) -> None:
        self.config, self.context = config, context

    @classmethod
    @abstractmethod
    def requires(cls, config: Any) -> Requirements:
        """What the teacher must offer under these settings."""

    @classmethod
    @abstractmethod
    def plan(cls, config: Any, steps: int) -> dict[str, int]:
        """How many moves of each kind a run of `steps` student steps makes; 'transfer' among them."""

    @classmethod
    def moves_inputs(cls, config: Any) -> bool:
        """Whether its acquire loss moves the inputs: then a defence adds terms there (`context.acquire_losses`),
        else it weighs the samples in the student's loss. Default: whether it asks for gradients of the teacher."""
        return cls.requires(config).access >= Access.GRADIENTS

    @classmethod
    def rehearsal(cls, config: Any) -> Any:
        """Settings under which every kind of move comes soon, at its usual cost: for measuring the moves."""
        return config

    @classmethod
    def reads(cls, config: Any) -> Mapping[Path, str]:
        """Files that these settings name, with their role: what a strict run may read beside the usual."""
        return {}

    def build_student(self, student: nn.Module) -> nn.Module:
        """The module to train: the student itself, or with a part that only training needs.

        What is put into `student` itself, in place, stays: `architecture` must then say so.
        """
        return student

    def architecture(self, own: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """How to build the trained student again, from how its own network is; None where only the caller can."""
        return own

    @abstractmethod
    def next_move(self) -> str:
        """'acquire', 'transfer' or the name of a move of its own; a function of saved state only."""

    def acquire(self) -> Losses:
        """Makes or chooses inputs. Owns its optimisers. Only called where `next_move` says so."""
        raise TypeError(f"{type(self).__name__} asks for a move 'acquire' that it does not define")

    @abstractmethod
    def transfer_batch(self) -> Batch:
        """What the student learns from next. All randomness of the student's step is drawn here."""

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        """Pure in `student`, which may be called more than once per step with other weights.

        Default: the configured loss between the student's and the teacher's logits.
        """
        losses = Losses()
        outputs = student(batch.inputs)
        losses.add("match", 1, lambda: self.config.transfer.matching(outputs, batch.teacher_outputs))
        return losses

    @abstractmethod
    def state(self) -> Mapping[str, Stateful]:
        """Everything that outlives a move, declared once."""


class Update(Protocol):
    """How the student takes a step on a loss given as a function of the student."""

    def active(self, progress: Progress) -> bool:
        """Whether it would take the step here; of several, the last that is active does, and nothing nests."""
        ...

    def step(self, loss: Callable[[Forward, Batch], Losses], batch: Batch) -> Losses: ...
    def state(self) -> Mapping[str, Stateful]: ...


class Defence(Protocol):
    """What keeps out of the student what it should not learn of its teacher."""

    def add_to(self, losses: Losses, images: Tensor, outputs: Outputs) -> None:
        """Adds its terms to an acquire loss; images (B, C, H, W) in unit space, outputs the teacher's on them."""
        ...

    def guard(self, losses: Losses, batch: Batch) -> Losses:
        """The student's loss on a batch whose inputs nobody can move, its samples weighed. Raises MethodError for a
        loss that is no longer per sample."""
        ...

    def watch(self, batch: Batch) -> None:
        """Sees each batch before the student learns from it."""
        ...

    def state(self) -> Mapping[str, Stateful]: ...
