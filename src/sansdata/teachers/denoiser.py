"""Denoisers as teachers: their own sampler answers for them, and a method may ask them at any time of it."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..errors import StudentError
from ..models.adapters import DOWN, adapt, fill_adapters
from ..models.diffusion.denoiser import Denoiser
from ..models.diffusion.one_step import OneStep
from ..models.tensor_file import read_safetensors
from ..tasks import Task

DENOISES = "denoises"
"""The name of the capability in `Requirements.capabilities`: who has it is a models.diffusion.denoiser.Denoiser."""
ONE_STEP, LORA, LORA_OF = "one-step", "lora:", "lora@"
"""The spec of a student that is the teacher's own network, with its weights, as a generator in one step; and how specs
begin of one of which only adapters learn, new ones or those of a file."""
Made = tuple[nn.Module, dict[str, Any] | None]
"""A student, and how it is built again."""


def denoising(module: nn.Module, task: Task) -> dict[str, Any]:
    """What a module can do as a denoiser, by name; its sampler takes the steps that the task says."""
    if not isinstance(module, Denoiser):
        return {}
    module.steps = getattr(task.outputs, "steps", module.steps)
    return {DENOISES: module}


def in_one_step(module: nn.Module, architecture: dict[str, Any] | None) -> Made:
    """(the teacher's network as a generator in one step, with its weights; how to build it again). Raises
    StudentError."""
    if not isinstance(module, Denoiser):
        raise StudentError(f"'{ONE_STEP}' is the network of a teacher that denoises, and this one does not")
    made = None if architecture is None else {"kind": ONE_STEP, "of": dict(architecture)}
    return OneStep.copying(module), made


def adapted(spec: str, module: nn.Module, architecture: dict[str, Any] | None) -> Made:
    """The same, frozen, beside adapters: new ones of the rank that 'lora:R' says, or those of the file of 'lora@FILE'.
    Raises StudentError."""
    text, tensors = spec.removeprefix(LORA), None
    if spec.startswith(LORA_OF):
        tensors = read_safetensors(spec.removeprefix(LORA_OF))[0]
        sizes = {len(value) for name, value in tensors.items() if name.endswith(DOWN) and value.ndim}
        text = str(sizes.pop()) if len(sizes) == 1 else "of no one rank"
    if not text.isdecimal():
        raise StudentError(f"'{spec[:80]}': give lora:8 for adapters of rank 8, or lora@FILE for those of a file")
    student, made = in_one_step(module, architecture)
    adapt(student, rank := int(text[:9]))
    if tensors is not None:
        assert isinstance(student, OneStep)
        fill_adapters(student.of.network, tensors, spec)
    return student, None if made is None else {"kind": "adapted", "rank": rank, "of": made}
