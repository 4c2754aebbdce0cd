"""Atomic checkpoints: a directory that either is complete and matches its manifest, or does not exist for us.

checkpoints/step-000123/{rank-0.safetensors, rank-0.json, MANIFEST.json}      LATEST names the newest
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from ..contracts import Stateful
from ..errors import DivergedError, ResumeError, first_line
from ..files import (
    STEP,
    by_step,
    is_folder,
    is_regular,
    open_regular,
    own_folder,
    read_json,
    read_regular,
    reason,
    remove,
    require_readable,
    sha256,
    sync_directory,
    temporary_name,
    write_atomic,
    write_synced,
)
from ..runtime import Runtime
from .encode import decode, encode

SCHEMA = 1
KEEP = 2
"""Two are kept: the newest may turn out torn by the disk."""
MAX_BYTES = 64 * 2**30
"""Of one file of a checkpoint: what is larger is not even hashed."""
MANIFEST = "MANIFEST.json"
MAX_MANIFEST_BYTES = 1_000_000
DTYPES = {
    torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16", torch.int32: "I32",
    torch.int64: "I64", torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.float64: "F64",
    torch.complex64: "C64",
}  # fmt: skip
ALIGNMENT = 8


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
                    work.mkdir()
            tensors: dict[str, torch.Tensor] = {}
            device = self.runtime.device
            tree = {name: encode(dict(part.state_dict()), name, tensors, device) for name, part in state.items()}
            self._require_numbers(tensors, step)
            with self.together():
                write_synced(work / f"rank-{rank}.safetensors", safetensors_parts(tensors))
                text = json.dumps({"schema": SCHEMA, "step": step, "facts": dict(facts), "state": tree}).encode()
                require_readable(final / f"rank-{rank}.json", text)
                write_synced(work / f"rank-{rank}.json", text)
            with self.together():
                if rank == 0:
                    self._commit(work, final)
        except BaseException:
            if rank == 0:
                with contextlib.suppress(OSError):
                    remove(work)
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
        floating = {name: value for name, value in tensors.items() if value.is_floating_point() or value.is_complex()}
        bad = [name for name, value in floating.items() if bool(value.isnan().any())]
        if self.runtime.agree(bool(bad)):
            where = bad[0] if bad else "the state of another process"
            raise DivergedError(
                f"{where} is not a number after student step {step}; nothing was saved over the last checkpoint. "
                "Lower the learning rates (transfer.lr, and the method's own), or set transfer.clip=5."
            )

    def _commit(self, work: Path, final: Path) -> None:
        files = {p.name: {"bytes": p.stat().st_size, "sha256": sha256(p)} for p in sorted(work.iterdir())}
        write_synced(work / MANIFEST, json.dumps({"schema": SCHEMA, "files": files}).encode())
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
        same = [STEP.fullmatch(path.name) for place, path in by_step(self.directory) if place == step]
        if not same:
            return first
        number = max(int(match[2] or 0) for match in same if match)
        return self.directory / f"{first.name}-{number + 1:03d}"

    def _remove(self, path: Path) -> None:
        """Under a name that start-up sweeps, so that a crash half-way leaves nothing that looks like a checkpoint."""
        doomed = temporary_name(path)
        with contextlib.suppress(OSError):
            os.replace(path, doomed)
            remove(doomed)

    def _require_space(self) -> None:
        """Refuses early where the disk has not twice the room of the newest checkpoint."""
        own_folder(self.directory)  # but not its parents: a run that was moved is not begun anew
        newest = self._complete()[-1:]
        need = 2 * sum(p.stat().st_size for p in newest[0].iterdir()) if newest else 0
        free = shutil.disk_usage(self.directory).free
        if free < need:
            raise OSError(28, f"{free:,} bytes free, {need:,} wanted for a checkpoint", str(self.directory))

    def _complete(self) -> list[Path]:
        return [path for _, path in by_step(self.directory) if is_folder(path) and is_regular(path / MANIFEST)]

    def sweep(self) -> None:
        """Removes what earlier crashes left behind."""
        if is_folder(self.directory):
            for path in self.directory.glob(".tmp-*"):
                remove(path)

    def newest(self) -> tuple[Path | None, list[str]]:
        """The newest checkpoint that is whole, and a line about each newer one that is not."""
        faults = []
        for _, path in reversed(by_step(self.directory)):
            fault = find_fault(path)
            if fault is None:
                return path, faults
            faults.append(f"{path.name}: {fault}")
        return None, faults

    def load(self, path: Path, state: Mapping[str, Stateful], whole: bool = True) -> dict[str, Any]:
        """Restores every part of `state`; gives the facts saved beside it. whole: these are all that was saved. Raises
        ResumeError.

        A manifest that matches vouches for the disk, not for who wrote it: what does not fit this run is refused.
        """
        rank = self.runtime.rank
        saved, facts = self._read(path, rank)
        try:
            tensors = load_tensors(read_regular(path / f"rank-{rank}.safetensors", MAX_BYTES))
        except (SafetensorError, OSError, ValueError, TypeError, KeyError) as fault:
            raise ResumeError(f"{path}/rank-{rank}.safetensors cannot be read: {first_line(fault)}") from None
        if not set(state) <= set(saved) or (whole and set(saved) != set(state)):
            raise ResumeError(f"{path} holds {', '.join(sorted(saved))}; this run keeps {', '.join(sorted(state))}")
        for name, part in state.items():
            try:
                part.load_state_dict(decode(saved[name], tensors, self.runtime.device))
            except ResumeError:
                raise
            except Exception as fault:  # each part reads its own state, and expects what it wrote
                raise ResumeError(f"{path}: its '{name}' does not fit this run ({first_line(fault)})") from None
        return facts

    def step_of(self, path: Path) -> int:
        """Student steps that had been made when the checkpoint `path` was written."""
        match = STEP.fullmatch(path.name)
        assert match is not None
        return int(match[1])

    def facts(self, path: Path) -> dict[str, Any]:
        """What was saved beside the state. Raises ResumeError."""
        return self._read(path, 0)[1]

    def _read(self, path: Path, rank: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """(the state of each part, facts) of one rank."""
        try:
            tree = read_json(path / f"rank-{rank}.json")
        except (OSError, ValueError) as fault:
            raise ResumeError(f"{path}/rank-{rank}.json cannot be read: {reason(fault)}") from None
        parts = [tree.get(name) if isinstance(tree, dict) else None for name in ("state", "facts")]
        if not all(isinstance(part, dict) for part in parts):
            raise ResumeError(f"{path}/rank-{rank}.json: expected an object with 'state' and 'facts'")
        return parts[0], parts[1]  # type: ignore[return-value]


def find_fault(path: Path) -> str | None:
    """Why a checkpoint directory is not whole, naming the file; None where it is."""
    if not is_folder(path):
        return "no folder, or a link to one"
    try:
        manifest = read_json(path / MANIFEST, MAX_MANIFEST_BYTES)
        schema, files = manifest["schema"], manifest["files"]
        expected = {name: (entry["bytes"], entry["sha256"]) for name, entry in files.items()}
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        return f"{MANIFEST} cannot be read ({type(fault).__name__})"
    if schema != SCHEMA:
        return f"{MANIFEST} has schema {str(schema)[:40]}; this version of sansdata reads {SCHEMA}"
    if not expected:
        return f"{MANIFEST} names no files"
    for name, (size, digest) in expected.items():
        shown = name[:80]
        try:
            with open_regular(path / Path(name).name, MAX_BYTES) as file:
                there = os.fstat(file.fileno()).st_size
                if there != size:
                    return f"{shown} has {there:,} bytes, {size!s:.20} by {MANIFEST}: one of the two is torn"
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    return f"{shown} does not match its SHA-256 in {MANIFEST}: one of the two was changed"
        except OSError as fault:
            return f"{shown}, which {MANIFEST} names, cannot be read ({reason(fault)})"
        except ValueError as fault:
            return f"{shown!r}, which {MANIFEST} names, cannot be read ({reason(fault)})"
    return None


def safetensors_parts(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """Tensors as the bytes of a safetensors file, one part after another: a checkpoint of a large pool holds no second
    copy. Only the tensor whose part is asked for is copied, and only where it is not contiguous on the CPU. Raises
    TypeError for a type of number that such files do not have."""
    # The widest first, so that every tensor begins at a multiple of its own size.
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header, end = {}, 0
    for name in names:
        tensor = tensors[name]
        if tensor.dtype not in DTYPES:
            raise TypeError(f"state at '{name}' holds numbers of type {tensor.dtype}, which a checkpoint cannot keep")
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]
        }  # fmt: skip
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        yield tensors[name].cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
