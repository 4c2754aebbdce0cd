"""A finished federated run in the hand of a user."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from ...engine.run_directory import RunDirectory
from ...errors import RunDirectoryError, StudentError, TeacherError
from ...files import absolute
from ...models.copying import private_copy
from ...models.modes import usual_modes
from ...models.saved import read_model
from ...tasks import Task
from ...teachers.student_file import restore
from ..result import fill, generator_kept


@dataclass
class FederatedRun:
    """A finished federated run. network: what was trained, a module of the user's, or as they named it: code that made
    it is imported again only then."""

    run_dir: Path
    task: Task
    network: nn.Module | str = ""

    def __post_init__(self) -> None:
        self.run_dir = absolute(Path(self.run_dir))  # after a change of folder too

    @cached_property
    def student(self) -> nn.Module | None:
        """The global model, which takes normalised images; None where the method has none."""
        file = self.run_dir / "student.safetensors"
        return self._read(file) if file.is_file() else None

    def personal(self, client: int) -> nn.Module:
        """The model of one client, of a method without a global one. Raises RunDirectoryError where there is none."""
        file = self.run_dir / "clients" / f"client-{client:03d}.safetensors"
        if not file.is_file():
            raise RunDirectoryError(f"{file} is not there: the method has a global model, or the client took no part")
        return self._read(file)

    @usual_modes()
    def _read(self, file: Path) -> nn.Module:
        saved = read_model(file)
        if isinstance(self.network, str):
            with generator_kept():
                return restore(saved, file, self.network).eval()
        module = private_copy(self.network, StudentError)
        try:
            fill(module, saved.tensors, saved.task, type(module).__name__, str(file))
        except TeacherError as fault:
            raise StudentError(f"{file} does not fit {type(module).__name__}: {fault}") from None
        return module.eval()

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Last accuracies, bytes, seconds, rounds to each level of accuracy."""
        return RunDirectory(self.run_dir).read_json("summary.json")

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, one per round."""
        return RunDirectory(self.run_dir).lines()
