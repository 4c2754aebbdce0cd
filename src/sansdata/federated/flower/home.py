"""What a node keeps on its own disk: what it knew after each round, for a resumed run, and in the end its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from ...errors import ResumeError, first_line
from ...files import by_step, remove, write_atomic
from ...models.saved import write_model
from ..algo import ClientContext, Memory

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class _Kept:
    """A memory as it was after `round`. since: rounds before which nothing was needed any more when it was written."""

    path: Path
    run: str
    round: int
    since: int


class Home:
    """A folder of one node."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.memories = self.folder / "memory"

    def keep(self, run: str, round: int, since: int, memory: Memory) -> None:
        """Keeps the memory after `round`. since: how many rounds the server has saved for certain, so that it may be
        resumed there and ask for what was known then; what is older goes, and so do rounds that a resumed server undid.
        """
        self.memories.mkdir(parents=True, exist_ok=True)
        own = {name: value.contiguous().clone() for name, value in memory.items()}
        about = {"run": run, "since": str(since)}
        write_atomic(self.memories / f"step-{round:09d}{SUFFIX}", safetensors.torch.save(own, about))
        kept = self._kept()
        older = [one.round for one in kept if one.run == run and one.round < since]
        for one in kept:
            if one.run != run or not max(older, default=0) <= one.round <= round:
                remove(one.path)

    def memory(self, run: str, round: int) -> Memory:
        """As it was before `round`; empty where this run had left none by then. Raises ResumeError where it is no
        longer there, or cannot be read."""
        kept = [one for one in self._kept() if one.run == run]
        if kept and round < kept[-1].since:
            raise ResumeError(
                f"{self.memories}: what was remembered before round {round} is gone, since the server had saved "
                f"{kept[-1].since} rounds; resume from a later checkpoint, or begin a new run"
            )
        before = [one.path for one in kept if one.round < round]
        return safetensors.torch.load_file(before[-1]) if before else {}

    def _kept(self) -> list[_Kept]:
        """By round, the earliest first. Raises ResumeError for one that cannot be read: training on without it would
        give another run."""
        several = []
        for round, path in by_step(self.memories, SUFFIX):
            try:
                with safetensors.safe_open(path, "pt") as file:
                    about = file.metadata() or {}
                several.append(_Kept(path, about["run"], round, int(about["since"])))
            except (OSError, safetensors.SafetensorError, KeyError, ValueError) as fault:
                raise ResumeError(f"{path} cannot be read ({first_line(fault)}); remove it to begin anew") from None
        return several

    def keep_model(self, context: ClientContext, architecture: Mapping[str, Any] | None, about: dict[str, Any]) -> None:
        """The model in the work space, as a student file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_model(self.folder / "model.safetensors", context.model, architecture, context.task, about)
