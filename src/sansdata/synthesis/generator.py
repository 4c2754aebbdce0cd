"""A generator in use: its door into unit space, its width chosen by cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import pydantic
import torch
from torch import Tensor

from ..method import Context
from ..models.cost import multiply_adds
from ..models.generators import Range, TransposedGenerator, UpsamplingGenerator

Form = Literal["upsampling", "transposed"]
Generator = UpsamplingGenerator | TransposedGenerator
Width = Annotated[int, pydantic.Field(ge=1)] | Literal["auto"]


def make_generator(
    context: Context,
    latent: int,
    width: Width,
    range: Range,
    norm_eps: float = 1e-5,
    conv_bias: bool = False,
    form: Form = "upsampling",
    shape: Sequence[int] | None = None,
) -> Generator:
    """A generator on the runtime's device, initialised from the stream 'generator', the same on every rank. shape: of
    its images; None is the task's.

    Deviation: 'auto' takes the papers' 64 on an accelerator; on a CPU the widest of 64, 32, 16, 8 that costs at most
    one pass of the teacher, because the full width costs 300 times a LeNet.
    """
    shape = context.task.shape if shape is None else shape
    with context.streams.as_global("generator", shared=True):
        if width == "auto":
            width = affordable_width(context, latent, shape)
        generator: Generator = (
            TransposedGenerator(latent, shape, width) if form == "transposed"
            else UpsamplingGenerator(latent, shape, width, range, norm_eps, conv_bias)
        )  # fmt: skip
    return context.runtime.place(generator)


def affordable_width(context: Context, latent: int, shape: Sequence[int]) -> int:
    if context.runtime.device.type != "cpu":
        return 64
    budget = multiply_adds(context.teacher.module, torch.zeros(2, *shape))
    for width in (64, 32, 16):
        if multiply_adds(UpsamplingGenerator(latent, shape, width), torch.zeros(2, latent)) <= budget:
            return width
    return 8


def images_from(generator: Generator, latents: Tensor, context: Context) -> Tensor:
    """latents (B, Z) -> images (B, C, H, W) float32 in unit space, whatever range the generator speaks."""
    with context.runtime.autocast():
        images = generator(latents).float()
    return images if generator.range in ("unit", "squashed") else context.pixels.undo(images)


def latents(count: int, size: int, context: Context, stream: str = "latents") -> Tensor:
    """(count, size) standard normal, from the stream of that name."""
    return torch.randn(count, size, generator=context.streams(stream)).to(context.runtime.device)
