"""Denoisers as teachers: their own sampler answers for them, and a method may ask them at any time of it."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..errors import StudentError
from ..models.diffusion.denoiser import Denoiser
from ..models.diffusion.one_step import OneStep
from ..tasks import Task

DENOISES = "denoises"
"""The name of the capability in `Requirements.capabilities`: who has it is a models.diffusion.denoiser.Denoiser."""
ONE_STEP = "one-step"
"""The spec of a student that is the teacher's own network, with its weights, as a generator in one step."""


def denoising(module: nn.Module, task: Task) -> dict[str, Any]:
    """What a module can do as a denoiser, by name; its sampler takes the steps that the task says."""
    if not isinstance(module, Denoiser):
        return {}
    module.steps = getattr(task.outputs, "steps", module.steps)
    return {DENOISES: module}


def in_one_step(module: nn.Module, architecture: dict[str, Any] | None) -> tuple[nn.Module, dict[str, Any] | None]:
    """(the teacher's network as a generator in one step, with its weights; how to build it again). Raises
    StudentError."""
    if not isinstance(module, Denoiser):
        raise StudentError(f"'{ONE_STEP}' is the network of a teacher that denoises, and this one does not")
    made = None if architecture is None else {"kind": ONE_STEP, "of": dict(architecture)}
    return OneStep.copying(module), made
