"""A model as an ExecuTorch program (.pte) for phones and boards, lowered to XNNPACK: the one place that knows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import MissingLibraryError, StudentError, first_line
from ..kinds.index import input_kind
from ..tasks import Task
from .quiet import quiet

MOST = 64
"""Inputs of a batch: the program's memory is planned for so many."""


def write_pte(model: nn.Module, task: Task, path: Path) -> None:
    """Writes `model`, which takes inputs as they travel. Raises MissingLibraryError, StudentError, OSError."""
    try:
        with quiet():
            lower = import_module("executorch.exir").to_edge_transform_and_lower
            partitioner = import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner").XnnpackPartitioner
    except ImportError as fault:
        raise MissingLibraryError(f"this format needs executorch ({fault}): pip install executorch") from None
    kind = input_kind(task)
    drawn = kind.draw(2, torch.Generator().manual_seed(0))
    if not isinstance(drawn, Tensor):
        raise StudentError("ExecuTorch programs are written for models that take one tensor so far")
    batch = torch.export.Dim("batch", min=1, max=MOST)
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(model, (drawn,), dynamic_shapes=(({0: batch},),))
            done: Any = lower(program, partitioner=[partitioner()]).to_executorch()
    except Exception as fault:  # an operator that it does not know, and many more
        raise StudentError(f"the module cannot be written for ExecuTorch ({first_line(fault)})") from None
    path.write_bytes(done.buffer)


def load_pte(path: Path, names: Sequence[str] = ()) -> Callable[..., Tensor]:
    """The file as a function of columns; a batch is asked input by input, as a board does."""
    method = import_module("executorch.runtime").Runtime.get().load_program(str(path)).load_method("forward")

    def run(*inputs: Tensor) -> Tensor:
        parts = zip(*(column.split(1) for column in inputs))
        return torch.cat([method.execute([one.contiguous() for one in part])[0].clone() for part in parts])

    return run
