"""What a kind of input and a kind of output must say for themselves. Everything between them asks only this.

A kind returns data: it draws nothing on paper, reads no file of a run and knows no engine. It stands on the Spec of a
task file, so that two tasks of one kind are two objects.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Generator, Tensor, nn

from ..columns import Inputs
from ..contracts import Outputs
from ..figures import Finding, Preview, Warned
from ..tasks import Side


class Preprocessor(Protocol):
    """The door of a network: from what travels to what the module is called with, a tensor or named columns."""

    def __call__(self, inputs: Inputs) -> Inputs: ...

    def describe(self) -> dict[str, Any]:
        """As a model's file keeps it; the input kind's `preprocessor` reads it back."""
        ...

    @property
    def passes_on(self) -> bool:
        """Whether a student of this network can have the same door."""
        ...


@dataclass(frozen=True)
class Axes:
    """One argument of an exported model. sizes: after the batch axis. meaning: for whoever feeds it."""

    dtype: str
    sizes: tuple[int, ...]
    meaning: str


class InputKind(ABC):
    """What goes in. spec: the input side of a task."""

    Spec: ClassVar[type[Side]]
    unit: ClassVar[str]
    """What several of them are called: 'images', 'texts', 'rows'."""
    differentiable: ClassVar[bool]
    """Whether a gradient can reach what travels."""
    sources: ClassVar[tuple[str, ...]]
    """Kinds of noise that `draw` knows; the first is the plainest."""
    exact: ClassVar[bool] = False
    """Whether a network of it needs float32: then precision 'auto' never takes bf16."""
    samples_file: ClassVar[str] = "kept.npz"
    """Where a run keeps some of what it made."""

    def __init__(self, spec: Any) -> None:
        self.spec = spec

    @abstractmethod
    def draw(self, count: int, generator: Generator, source: str = "", door: Preprocessor | None = None) -> Inputs:
        """`count` valid and varied inputs that need no data, as they travel, on the CPU. source: one of `sources`, or
        the first. door: of the network that is to see them, for noise that is shaped for it."""

    def edges(self) -> Inputs | None:
        """Valid inputs at the ends of what the kind allows, as they travel, for whoever compares two programs; None
        where what is drawn reaches them."""
        return None

    def pack(self, inputs: Inputs) -> Inputs:
        """From travel to store, on the CPU; pack(unpack(x)) is x. Default: a copy of the columns in `signature`."""
        assert not isinstance(inputs, Tensor)
        return {name: inputs[name].detach().to("cpu", copy=True) for name in self.signature()}

    def unpack(self, packed: Inputs) -> Inputs:
        """From store to travel. Default: they are stored as they travel."""
        return packed

    def fitted(self, inputs: Inputs) -> Inputs:
        """Inputs as they travel, those of another size in the task's: whoever keeps some of all that a method makes
        keeps them in one. Default: there is no other."""
        return inputs

    @abstractmethod
    def preprocessor(self, described: Mapping[str, Any]) -> Preprocessor:
        """The door that a model's file or a task describes; of an empty description the kind's own.

        Raises TaskError for a description that is none.
        """

    def to_arrays(self, packed: Inputs) -> dict[str, np.ndarray]:
        """Stored inputs as arrays of a file, by the names in `signature`. Default: a column each."""
        assert not isinstance(packed, Tensor)
        return {name: packed[name].contiguous().numpy() for name in self.signature()}

    @abstractmethod
    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Inputs:
        """Stored inputs from arrays that anybody may have written. Raises ValueError where they are none of this
        kind."""

    @abstractmethod
    def statistics(self, packed: Inputs) -> list[Finding]:
        """What a set of samples is like, whatever a model says of them."""

    def warnings(self, statistics: Mapping[str, Any]) -> list[Warned]:
        """What is wrong with samples of these statistics, by name."""
        return []

    @abstractmethod
    def preview(self, packed: Inputs) -> list[Preview]:
        """Each sample as a person sees it."""

    @abstractmethod
    def describe(self) -> str:
        """What a network of this task takes, in a few words."""

    @abstractmethod
    def signature(self) -> Mapping[str, Axes]:
        """The arguments of an exported model, in order, as they travel: one for a tensor, else one for each column."""

    def hint(self, module: nn.Module) -> str:
        """What may be wrong where `module` fails on inputs of this kind: a sentence that begins with '. ', or ''."""
        return ""

    def doubts(
        self, module: nn.Module, preprocessor: Preprocessor, inputs: Inputs
    ) -> tuple[dict[str, float], list[str]]:
        """What a network's own weights say of the inputs it was trained on: figures, and warnings where they do not fit
        its preprocessing. inputs: as the module takes them."""
        return {}, []


UNMOVED = 1e-6
"""Of the largest number in a set of answers: what differs by no more is the same."""


def not_finite(answers: Tensor, what: str) -> list[str]:
    """The fault of a teacher whose answers (B, ...), `what` by name, are not all finite; none where they are."""
    bad = (~torch.isfinite(answers)).flatten(1).any(dim=1)
    if not bool(bad.any()):
        return []
    values = "NaN" if bool(torch.isnan(answers).any()) else "infinite"
    return [
        f"the teacher gives {what} that are not finite ({values}) on {int(bad.sum())} of {len(answers)} inputs; its "
        "weights are damaged or overflow"
    ]


def unmoved(answers: Tensor) -> Tensor:
    """Which numbers of answers (B, ...) are the same to every input: bool, of the shape of one answer."""
    largest = max(float(answers.abs().max()), UNMOVED)
    return (answers - answers[:1]).abs().amax(dim=0) <= UNMOVED * largest


def all_alike(what: str) -> str:
    """The fault of a teacher whose answers, each a `what`, are unmoved as a whole."""
    return f"the teacher gives the same {what} to every input; its weights were not loaded, or it is collapsed"


class OutputKind(ABC):
    """What comes out. spec: the output side of a task."""

    Spec: ClassVar[type[Side]]
    unit: ClassVar[str]

    draws: ClassVar[bool] = False
    """Whether an answer can be drawn into a sample: then a run keeps the student's beside the teacher's."""
    comparable: ClassVar[bool] = True
    """Whether a teacher's answer to an input stands for what a student should say. Where not, nobody asks the teacher
    in order to watch or to keep."""
    compares: ClassVar[bool] = True
    """Whether `agreement` tells; else nobody is asked for it, and a student may be as large as a teacher that answers
    in many passes."""

    def __init__(self, spec: Any) -> None:
        self.spec = spec

    @abstractmethod
    def read(self, raw: Any) -> Tensor:
        """The answer in what a module returned, float32. Raises TeacherError: what came, what was expected."""

    @abstractmethod
    def faults(self, raw: Any, count: int) -> list[str]:
        """Why what a teacher returned for `count` inputs is no answer of this kind; empty where it is one."""

    def choice(self, raw: Any) -> str:
        """Which of several outputs is read as the answer, in a few words; '' where there is one."""
        return ""

    @abstractmethod
    def judge(self, answers: Tensor, name_of: Callable[[int], str]) -> tuple[str, list[str], list[str]]:
        """(what the answers are, faults, warnings) of a teacher's answers to varied inputs."""

    @abstractmethod
    def match(self, student: Outputs, teacher: Outputs, how: Any) -> Tensor:
        """(B,) the default loss between a student's answers and its teacher's. how: settings of the transfer."""

    @abstractmethod
    def agreement(self, student: Tensor, teacher: Tensor) -> Mapping[str, float] | None:
        """'agreement', 'overlap' and 'kl' of two models' answers to the same inputs; None where nothing tells how close
        two answers are: then the last snapshot is kept."""

    def same(self, one: Tensor, other: Tensor) -> Tensor | None:
        """(B,) bool: which of two models' answers say the same, such as the same class; None where only their distance
        tells."""
        return None

    @abstractmethod
    def describe(self, answers: Tensor, late: Tensor | None = None) -> list[Finding]:
        """What a teacher says of a set of samples. late: its answers to the newest of them."""

    @abstractmethod
    def warnings(
        self, described: Mapping[str, Any], agreed: float, count: int, name_of: Callable[[int], str]
    ) -> list[Warned]:
        """What is wrong with `count` samples that are described so, or with a student that agrees so far, 0..1."""

    @abstractmethod
    def evaluate(self, answers: np.ndarray, truth: np.ndarray, teacher: np.ndarray | None = None) -> list[Finding]:
        """How right `answers` are, and how like a teacher's to the same samples."""

    @abstractmethod
    def targets(self, answers: Tensor) -> np.ndarray:
        """What a teacher's answers say in the form of a labelled set."""

    @abstractmethod
    def captions(self, answers: np.ndarray, name_of: Callable[[int], str]) -> Sequence[tuple[str, str]]:
        """(what a sample is taken for, how surely) of each answer."""

    def drawn(self, previews: Sequence[Preview], several: Mapping[str, Tensor]) -> Sequence[Preview]:
        """The samples with answers drawn into them. several: whose -> the answers to them. Default: as they are."""
        return previews

    def legend(self, whose: Sequence[str]) -> str:
        """How to read what `drawn` draws of these, a sentence. Default: there is nothing to say."""
        return ""

    @abstractmethod
    def signature(self) -> tuple[str, tuple[int, ...]]:
        """(name, sizes after the batch axis) of an exported model's output."""

    @property
    def numbers(self) -> int:
        """How many numbers an answer has: it decides how many answers are held at once."""
        return math.prod(self.signature()[1])

    # -- answers that are kept, in pools and files

    def pack(self, answers: Tensor) -> Tensor:
        """From an answer to what is kept of it, on the CPU. Default: all of it, float32."""
        return answers.detach().float().cpu()

    def unpack(self, packed: Tensor) -> Tensor:
        """From what is kept to an answer, float32."""
        return packed

    def from_array(self, array: np.ndarray, count: int) -> Tensor | None:
        """`count` answers from an array that anybody may have written, as `pack` gave it; None where it is none."""
        if array.dtype.kind != "f" or array.shape != (count, *self.signature()[1]):
            return None
        return torch.from_numpy(np.ascontiguousarray(array)).float()
