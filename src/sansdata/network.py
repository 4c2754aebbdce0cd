"""A module with its own door and the kind of its answers: what preprocessing belongs to."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from .columns import Inputs
from .contracts import Outputs
from .kinds.base import OutputKind, Preprocessor
from .kinds.index import input_kind, output_kind
from .models.entry import entering, enters_behind
from .models.taps import forward
from .tasks import Task


@dataclass(frozen=True)
class Network:
    """Called with inputs as they travel, it answers in the kind of its task. Teacher and student are networks."""

    module: nn.Module
    preprocessor: Preprocessor
    outputs: OutputKind

    @classmethod
    def of(cls, module: nn.Module, task: Task) -> Network:
        """`module` behind the door that `task` describes."""
        return cls(module, input_kind(task).preprocessor(task.own_preprocessing), output_kind(task))

    def __call__(self, inputs: Inputs, taps: Sequence[str] = ()) -> Outputs:
        """taps as in models.taps.forward; inputs may enter behind the words, as models.entry says. Raises TeacherError
        where the module gives no answer of its kind."""
        behind = entering(self.module, inputs) if enters_behind(inputs) else contextlib.nullcontext()
        with behind:
            return forward(self.module, self.preprocessor(inputs), taps, self.outputs.read)

    def around(self, module: nn.Module) -> Network:
        """The same door and kind around another module, such as this one at other weights."""
        return replace(self, module=module)
