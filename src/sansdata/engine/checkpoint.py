"""Atomic checkpoints: a directory that either is complete and matches its manifest, or does not exist for us.

checkpoints/step-000123/{rank-0.safetensors, rank-0.json, MANIFEST.json}      LATEST names the newest
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ..contracts import Stateful
from ..errors import DivergedError, ResumeError
from ..files import sha256, sync_directory, temporary_name, write_atomic, write_synced
from ..runtime import Runtime
from .encode import decode, encode

SCHEMA = 1
KEEP = 2
"""Two are kept: the newest may turn out torn by the disk."""


class Checkpoints:
    """The checkpoints of one run directory."""

    def __init__(self, directory: Path, runtime: Runtime) -> None:
        self.directory, self.runtime = directory, runtime

    def save(self, step: int, state: Mapping[str, Stateful], facts: Mapping[str, Any]) -> Path:
        """Writes a checkpoint; every rank calls it. Raises OSError, or DivergedError for a state with nan; the older
        ones then stand untouched."""
        final = self._free_name(step)
        temporary = self.runtime.from_rank_0(str(temporary_name(final)))
        work = Path(str(temporary))
        rank = self.runtime.rank
        try:
            with self.together():
                if rank == 0:
                    self._require_space()
                    work.mkdir(parents=True)
            tensors: dict[str, torch.Tensor] = {}
            tree = {name: encode(dict(part.state_dict()), name, tensors) for name, part in state.items()}
            self._require_numbers(tensors, step)
            with self.together():
                write_synced(work / f"rank-{rank}.safetensors", save_tensors(tensors))
                text = json.dumps({"schema": SCHEMA, "step": step, "facts": dict(facts), "state": tree})
                write_synced(work / f"rank-{rank}.json", text.encode())
            with self.together():
                if rank == 0:
                    self._commit(work, final)
        except BaseException:
            if rank == 0:
                with contextlib.suppress(OSError):
                    shutil.rmtree(work)
            raise
        return final

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """A part of the work that every rank ends before any goes on, and that fails on all where it fails on one."""
        fault: OSError | None = None
        try:
            yield
        except OSError as raised:
            fault = raised
        if self.runtime.agree(fault is not None):
            raise fault or OSError("another process could not write its part of the checkpoint")

    def _require_numbers(self, tensors: Mapping[str, torch.Tensor], step: int) -> None:
        """A step on a nan gradient shows in the loss one move later. Saved in between it would push out a checkpoint
        from which the run can go on."""
        bad = [name for name, value in tensors.items() if bool(value.isnan().any())]
        if self.runtime.agree(bool(bad)):
            where = bad[0] if bad else "the state of another process"
            raise DivergedError(
                f"{where} is not a number after student step {step}; nothing was saved over the last checkpoint. "
                "Lower the learning rates (transfer.lr, and the method's own), or set transfer.clip=5."
            )

    def _commit(self, work: Path, final: Path) -> None:
        files = {p.name: {"bytes": p.stat().st_size, "sha256": sha256(p)} for p in sorted(work.iterdir())}
        write_synced(work / "MANIFEST.json", json.dumps({"schema": SCHEMA, "files": files}).encode())
        sync_directory(work)
        os.replace(work, final)
        sync_directory(self.directory)
        write_atomic(self.directory / "LATEST", final.name)
        for old in self._complete()[:-KEEP]:
            self._remove(old)

    def _free_name(self, step: int) -> Path:
        """step-000000123, or step-000000123-001 and so on: moves that are no student steps share a step.

        What is there is never removed to make room: a crash in between would leave neither the old nor the new.
        """
        first = self.directory / f"step-{step:09d}"
        same = [path.name for path in self.directory.glob(f"{first.name}*")]
        if not same:
            return first
        numbers = [name.removeprefix(f"{first.name}-") for name in same]
        number = max((int(text) for text in numbers if text.isdigit()), default=0)
        return self.directory / f"{first.name}-{number + 1:03d}"

    def _remove(self, path: Path) -> None:
        """Under a name that start-up sweeps, so that a crash half-way leaves nothing that looks like a checkpoint."""
        doomed = temporary_name(path)
        with contextlib.suppress(OSError):
            os.replace(path, doomed)
            shutil.rmtree(doomed)

    def _require_space(self) -> None:
        """Refuses early where the disk has not twice the room of the newest checkpoint."""
        self.directory.mkdir(parents=True, exist_ok=True)
        newest = self._complete()[-1:]
        need = 2 * sum(p.stat().st_size for p in newest[0].iterdir()) if newest else 0
        free = shutil.disk_usage(self.directory).free
        if free < need:
            raise OSError(28, f"{free:,} bytes free, {need:,} wanted for a checkpoint", str(self.directory))

    def _complete(self) -> list[Path]:
        if not self.directory.is_dir():
            return []
        return sorted(p for p in self.directory.glob("step-*") if (p / "MANIFEST.json").is_file())

    def sweep(self) -> None:
        """Removes what earlier crashes left behind."""
        for path in self.directory.glob(".tmp-*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def newest(self) -> tuple[Path | None, list[str]]:
        """The newest checkpoint that is whole, and a line about each newer one that is not."""
        faults = []
        names = sorted(self.directory.glob("step-*"), reverse=True) if self.directory.is_dir() else []
        for path in names:
            fault = find_fault(path)
            if fault is None:
                return path, faults
            faults.append(f"{path.name}: {fault}")
        return None, faults

    def load(self, path: Path, state: Mapping[str, Stateful]) -> dict[str, Any]:
        """Restores every part of `state`; gives the facts saved beside it. Raises ResumeError."""
        rank = self.runtime.rank
        tree = json.loads((path / f"rank-{rank}.json").read_text())
        try:
            tensors = load_tensors((path / f"rank-{rank}.safetensors").read_bytes())
        except SafetensorError as fault:
            raise ResumeError(f"{path}/rank-{rank}.safetensors cannot be read: {fault}") from None
        if set(tree["state"]) != set(state):
            raise ResumeError(
                f"{path} holds {', '.join(sorted(tree['state']))}; this run keeps {', '.join(sorted(state))}"
            )
        for name, part in state.items():
            part.load_state_dict(decode(tree["state"][name], tensors, self.runtime.device))
        return tree["facts"]

    def facts(self, path: Path) -> dict[str, Any]:
        return json.loads((path / "rank-0.json").read_text())["facts"]


def find_fault(path: Path) -> str | None:
    """Why a checkpoint directory is not whole, naming the file; None where it is."""
    try:
        manifest = json.loads((path / "MANIFEST.json").read_bytes())
        schema, files = manifest["schema"], manifest["files"]
        expected = {name: (entry["bytes"], entry["sha256"]) for name, entry in files.items()}
    except FileNotFoundError:
        return "MANIFEST.json is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        return f"MANIFEST.json cannot be read ({type(fault).__name__})"
    if schema != SCHEMA:
        return f"MANIFEST.json has schema {schema}; this version of sansdata reads {SCHEMA}"
    if not expected:
        return "MANIFEST.json names no files"
    for name, (size, digest) in expected.items():
        file = path / Path(name).name
        try:
            if file.stat().st_size != size:
                return f"{name} has {file.stat().st_size:,} bytes, {size:,} by MANIFEST.json: one of the two is torn"
            if sha256(file) != digest:
                return f"{name} does not match its SHA-256 in MANIFEST.json: one of the two was changed"
        except OSError as fault:
            return f"{name}, which MANIFEST.json names, cannot be read ({fault.strerror})"
        except ValueError as fault:
            return f"{name!r}, which MANIFEST.json names, cannot be read ({fault})"
    return None
