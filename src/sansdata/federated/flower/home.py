"""What a node keeps on its own disk: its memory, for a run that is resumed, and its model at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from ...files import write_atomic
from ...models.saved import write_model
from ..algo import ClientContext, Memory


class Home:
    """A folder of one node."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def keep(self, run: str, memory: Memory) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        own = {name: value.contiguous().clone() for name, value in memory.items()}
        write_atomic(self.folder / "memory.safetensors", safetensors.torch.save(own, {"run": run}))

    def memory(self, run: str) -> Memory:
        """What was kept last; empty where that was of another run, or where there is nothing."""
        file = self.folder / "memory.safetensors"
        with contextlib.suppress(OSError, safetensors.SafetensorError), safetensors.safe_open(file, "pt") as kept:
            if run and (kept.metadata() or {}).get("run") == run:
                return {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118 - no mapping
        return {}

    def keep_model(self, context: ClientContext, architecture: Mapping[str, Any] | None, about: dict[str, Any]) -> None:
        """The model in the work space, as a student file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_model(self.folder / "model.safetensors", context.model, architecture, context.task, about)
