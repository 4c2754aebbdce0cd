"""The adapters of a student alone, as a small file that the library peft reads."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import ConfigError, SansdataError, StudentError, TeacherError
from ..files import is_regular, reason, write_atomic
from ..kinds.index import input_kind
from ..kinds.inputs.noise import noise_of
from ..models.adapters import adapter_tensors, adapters_in, fill_adapters
from ..models.diffusion.one_step import OneStep
from ..models.modes import fixed
from ..models.tensor_file import read_metadata, read_safetensors
from ..tasks import Task

KEY = "sansdata.adapters"
COMPARED, PARITY = 8, 1e-6


def write_adapters(module: nn.Module, task: Task, file: Path) -> tuple[float, int]:
    """Writes the factors of a generator's network, by the names of its layers, each of scale 1; reads them back, and
    gives (the largest difference of COMPARED samples of the network beside which they then stand, the bytes).

    Raises StudentError where there are none, or where more than adapters was learnt, SansdataError where what was read
    back disagrees, ConfigError where it cannot be written.
    """
    adapters = adapters_in(module)
    if not adapters or not isinstance(module, OneStep):
        raise StudentError("this student has no adapters: distil it with --student lora:8")
    if module.steered:
        raise StudentError(
            "a student that is told its start or guidance learns more than its adapters: export it whole"
        )
    ranks = {part.rank for part in adapters.values()}
    described = {"rank": max(ranks), "scale": 1.0}
    written = save(adapter_tensors(module.of.network), {KEY: json.dumps(described)})
    try:
        write_atomic(file, written)
    except OSError as fault:
        raise ConfigError(f"{file}: cannot be written ({reason(fault)})") from None
    gap = _difference(module, task, file)
    if not gap <= PARITY:
        file.unlink(missing_ok=True)
        raise SansdataError(f"{file}: not written, because the adapters disagree with the student by {gap:.2g}")
    return gap, len(written)


def is_adapters(file: Path) -> bool:
    """Whether `file` holds adapters that `write_adapters` wrote."""
    try:
        return is_regular(file) and KEY in read_metadata(file)
    except TeacherError:
        return False


def _difference(module: OneStep, task: Task, file: Path) -> float:
    again = copy.deepcopy(module)
    for part in adapters_in(again).values():
        nn.init.zeros_(part.up.weight)  # type: ignore[arg-type]
    fill_adapters(again.of.network, read_safetensors(file)[0], str(file))
    inputs = input_kind(task).draw(COMPARED, torch.Generator().manual_seed(0))
    label = None if isinstance(inputs, Tensor) else inputs["label"]
    with torch.no_grad(), fixed(module), fixed(again):
        return float((module(noise_of(inputs), label=label) - again(noise_of(inputs), label=label)).abs().max())
