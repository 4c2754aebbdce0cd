"""The contract of a method, and of what stands around a student's step: updates and defences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from .columns import Inputs
from .contracts import (
    Access,
    Batch,
    Counters,
    Forward,
    Losses,
    OfGradient,
    Outputs,
    Progress,
    Questions,
    Requirements,
    Stateful,
)
from .decoding.image_pool import ImagePool
from .figures import Finding, Warned
from .kinds.inputs.image import Normalise
from .network import Network
from .runtime import Runtime
from .streams import Streams
from .tasks import Task
from .teachers.base import Teacher


@dataclass
class Context:
    """All a method may touch. network: the student behind its own door; student: its module."""

    task: Task
    teacher: Teacher
    network: Network
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

    @property
    def student(self) -> nn.Module:
        return self.network.module

    @property
    def pixels(self) -> Normalise:
        """The teacher's door for images: from unit space to what it takes, and back by `undo`."""
        door = self.teacher.network.preprocessor
        assert isinstance(door, Normalise), "a method that moves pixels requires images"
        return door

    def acquire_losses(self, inputs: Inputs, outputs: Outputs) -> Losses:
        """Where a method that moves its inputs begins its loss: no terms yet, or those of the defence.

        inputs as the teacher saw them; outputs what it answered, both with gradient.
        """
        losses = Losses()
        if self.defence is not None:
            self.defence.add_to(losses, inputs, outputs)
        return losses

    def teach(self, inputs: Inputs, targets: Tensor | None = None, answers: Tensor | None = None) -> Batch:
        """A batch to learn from: the teacher is asked once and without gradient.

        Cached `answers` save the teacher's pass, unless an added term needs its features.
        """
        if answers is not None and not self.teacher_taps:
            return Batch(inputs, targets=targets, teacher_outputs=Outputs(answers))
        with torch.no_grad():
            outputs = self.teacher(inputs, self.teacher_taps)
        return Batch(inputs, targets=targets, teacher_outputs=outputs)

    def student_outputs(self, inputs: Inputs) -> Outputs:
        """The student in its present mode, for the acquiring side; taps are not filled."""
        return self.runtime.forward(self.network, inputs, counters=self.counters, name="student")


class Method(ABC):
    """One published algorithm: its settings, its moves, the student's loss.

    A move is short and atomic: nothing outlives it outside `state()`, gradients included.
    """

    Config: ClassVar[type]
    """Strict settings with a `transfer` section (training.transfer.TransferSettings) and a `steps` size."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Named sets of settings; 'small' is minutes on a CPU."""
    lends: ClassVar[tuple[str, ...]] = ()
    """Parts of `state()` that know the teacher and nothing of the student: the run of another student of the same
    teacher may begin with them."""
    match_scale: float = 1.0
    """What a divergence of answers is multiplied with in its student's loss, beside which a defence adds its own."""

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
    def one_shape(cls, config: Any) -> bool:
        """Whether all its batches are of one shape, so that older inputs can join a new one. Default: yes."""
        return True

    @classmethod
    def rehearsal(cls, config: Any) -> Any:
        """Settings under which every kind of move comes soon, at its usual cost: for measuring the moves."""
        return config

    @classmethod
    def continuing(cls, config: Any) -> Any:
        """Settings of a run that begins with what it lends: without what only a beginning needs."""
        return config

    @classmethod
    def questions(cls, config: Any, steps: int, gradient: OfGradient) -> Questions | None:
        """What a run of `steps` student steps asks the teacher, exactly: samples in a call -> such calls. None, the
        default, where nobody has worked it out: then a budget of queries is measured.

        gradient: the calls of a batch of so many samples whose answers are asked with a gradient.
        """
        return None

    @classmethod
    def questions_on(cls, task: Task, config: Any, steps: int, gradient: OfGradient) -> Questions | None:
        """As `questions`, of a job, for a method whose questions depend on its classes. Default: `questions`."""
        return cls.questions(config, steps, gradient)

    @classmethod
    def reads(cls, config: Any) -> Mapping[Path, str]:
        """Files that these settings name, with their role: what a strict run may read beside the usual."""
        return {}

    @classmethod
    def models(cls, config: Any) -> Mapping[str, str]:
        """Other models that these settings name, SPEC -> role: what reading them opens is declared, what it imports is
        imported before a strict run begins to watch."""
        return {}

    @classmethod
    def runs(cls, config: Any) -> Mapping[Path, str]:
        """Programs that these settings start, with their names: a strict run may start no other."""
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

        Default: the configured loss between the student's answers and the teacher's.
        """
        losses = Losses()
        outputs = student(batch.inputs)
        kind, how = self.context.network.outputs, self.config.transfer
        losses.add("match", 1, lambda: kind.match(outputs, batch.answers(), how))
        return losses

    def released(self, student: nn.Module) -> nn.Module:
        """What is kept, scored and written in the place of the student: by default itself; a network of the same
        architecture, such as a moving average of its weights. It is asked at any time and changes nothing."""
        return student

    def findings(self) -> list[Finding]:
        """What it measured of its own work, for the summary and the report; by default nothing."""
        return []

    def warnings(self) -> list[Warned]:
        """What whoever reads the summary or the report must know of such a run, in words; by default nothing."""
        return []

    def validation(self, student: nn.Module) -> float | None:
        """How good a snapshot of the student is on what the method set apart for it, 0..1 and higher is better; it
        chooses the snapshot then. Default: None, agreement with the teacher chooses."""
        return None

    @abstractmethod
    def state(self) -> Mapping[str, Stateful]:
        """Everything that outlives a move, declared once."""


class Update(Protocol):
    """How the student takes a step on a loss given as a function of the student."""

    def active(self, progress: Progress) -> bool:
        """Whether it would take the step here; of several, the last that is active does, and nothing nests."""
        ...

    def step(self, loss: Callable[[Forward, Batch], Losses], batch: Batch) -> Losses: ...

    def findings(self) -> list[str]:
        """What the user should know of it at the end of a run; empty where all went as planned."""
        ...

    def state(self) -> Mapping[str, Stateful]: ...


class Defence(Protocol):
    """What keeps out of the student what it should not learn of its teacher."""

    @property
    def requests(self) -> int:
        """How often `add_to` was called: a session sees to it that no method forgets."""
        ...

    def add_to(self, losses: Losses, inputs: Inputs, outputs: Outputs) -> None:
        """Adds its terms to an acquire loss; inputs as they travel, outputs the teacher's on them."""
        ...

    def guard(self, losses: Losses, batch: Batch) -> Losses:
        """The student's loss on a batch whose inputs nobody can move, its samples weighed. Raises MethodError for a
        loss that is no longer per sample."""
        ...

    def watch(self, batch: Batch) -> None:
        """Sees each batch before the student learns from it."""
        ...

    def findings(self) -> list[str]:
        """What the user should know at the end of a run."""
        ...

    def state(self) -> Mapping[str, Stateful]: ...
