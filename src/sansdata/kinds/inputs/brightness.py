"""What a teacher's first BatchNorm remembers of the images it was trained on.

The running mean and variance behind the first convolution are those of a linear function of what it was given in
training. With its weights they tell the brightness and contrast of that. What it is given now, measured beside the
images in unit space, tells by which mean and std they reach it: by the task's, by those of a network that normalises
inside, or by both. Images in 0..1 cannot have a negative mean or a standard deviation above a half: where that comes
out, the mean and std are not the ones that the teacher was trained with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.norms import remembers

MEAN_RANGE = (0.02, 0.98)
STD_RANGE = (0.1, 0.52)
"""Of images in 0..1: between a low-contrast photograph and two-level drawings."""
RATIO_RANGE = (0.5, 1.8)
"""Of the found std to the task's, where the latter looks measured on images."""
MEASURED_STD = (0.05, 0.45)
"""Conventions such as 0.5 or 1 were not measured and say nothing about the images."""

LINEAR = 1e-3
"""Of the spread: how far from a straight line the way of an image to the first convolution may be."""
SIZE, COUNT = 64, 16

PROBLEM = "the mean and std of the task do not look like those of this teacher"
"""How the warning of preflight begins."""


@dataclass(frozen=True)
class Brightness:
    """Mean and standard deviation over pixels, in unit space."""

    mean: float
    std: float


def plausible(brightness: Brightness, std: Sequence[float]) -> bool:
    """Whether images in 0..1 can be like this. Calibrated on CIFAR-10, digits, clothes and X-rays: right settings give
    ratios of 0.8 to 1.2; a teacher fed with 0..1, under a task with mean and std, 0.2 to 0.45."""
    declared = sum(std) / len(std)
    if not (_within(brightness.mean, MEAN_RANGE) and _within(brightness.std, STD_RANGE)):
        return False
    return not _within(declared, MEASURED_STD) or _within(brightness.std / declared, RATIO_RANGE)


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]


def training_brightness(module: nn.Module, images: Tensor, inputs: Tensor) -> Brightness | None:
    """The brightness that the teacher's training images had, if they reached its first convolution as these do.

    images (B, C, H, W): in unit space, varied. inputs: the same as the module takes them. None where the first
    BatchNorm does not follow the first convolution, or where that is given something else than each channel times a
    factor plus a constant.
    """
    stem = _stem(module, inputs)
    if stem is None:
        return None
    conv, norm, prepared = stem
    way = _way(images, prepared)
    if way is None:
        return None
    mean, std = way
    weight = conv.weight.detach().double().cpu()
    centre, variance = norm.running_mean.double().cpu(), norm.running_var.double().cpu().clamp_min(1e-12)
    if conv.bias is not None:
        centre = centre - conv.bias.detach().double().cpu()
    # grey inputs of level m give the channel c a mean of m * gain[c]: least squares, in units of each channel's spread
    gain = weight.sum(dim=(1, 2, 3))
    scale = variance.sqrt()
    level = ((centre / scale) * (gain / scale)).sum() / ((gain / scale) ** 2).sum().clamp_min(1e-12)
    noise = _natural_noise(len(mean)).double()
    made = F.conv2d(noise, weight, stride=conv.stride, dilation=conv.dilation, groups=conv.groups)
    made_variance = made.var(dim=(0, 2, 3)).clamp_min(1e-12)
    spread = (variance / made_variance).log().median().mul(0.5).exp()
    average_mean, average_std = float(mean.mean()), float(std.mean())
    return Brightness(average_mean + average_std * float(level), average_std * float(spread))


def _way(images: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor] | None:
    """(mean, std), per channel, by which images in unit space became `inputs`: inputs = (image - mean) / std."""
    x, y = (part.detach().double().cpu().transpose(0, 1).flatten(1) for part in (images, inputs))
    centred = x - x.mean(1, keepdim=True)
    slope = (centred * y).sum(1) / centred.square().sum(1).clamp_min(1e-12)
    offset = y.mean(1) - slope * x.mean(1)
    error = (y - slope[:, None] * x - offset[:, None]).abs().amax(1)
    if not bool(((slope > 1e-6) & (error < LINEAR * y.std(1))).all()):
        return None
    return -offset / slope, 1 / slope


def _stem(module: nn.Module, inputs: Tensor) -> tuple[nn.Conv2d, Any, Tensor] | None:
    """(the first convolution that runs on the images, the BatchNorm that runs next, what the convolution was given),
    where the BatchNorm takes its output."""
    ran: list[tuple[nn.Module, Any, Any]] = []
    handles = [
        part.register_forward_hook(lambda part, given, output: ran.append((part, given[0], output)))
        for part in module.modules()
        if isinstance(part, nn.Conv2d) or remembers(part)
    ]
    try:
        with torch.no_grad():
            module(inputs)
    finally:
        for handle in handles:
            handle.remove()
    if len(ran) < 2:
        return None
    (conv, given, output), (norm, arrived, _) = ran[:2]
    if not (isinstance(conv, nn.Conv2d) and remembers(norm)):
        return None
    same = arrived.shape == output.shape and arrived.data_ptr() == output.data_ptr()
    return (conv, norm, given) if same and given.shape == inputs.shape else None


def _natural_noise(channels: int) -> Tensor:
    """(COUNT, C, SIZE, SIZE) of mean 0 and variance 1 with a photograph's 1/f amplitudes; colours mostly agree."""
    generator = torch.Generator().manual_seed(0)
    fy, fx = torch.fft.fftfreq(SIZE)[:, None], torch.fft.fftfreq(SIZE)[None, :]
    amplitude = 1 / (fx**2 + fy**2).sqrt().clamp_min(1 / SIZE)
    amplitude[0, 0] = 1.0 * SIZE  # images differ in brightness too
    grey, colour = (
        torch.fft.ifft2(torch.fft.fft2(torch.randn(COUNT, c, SIZE, SIZE, generator=generator)) * amplitude).real
        for c in (1, channels)
    )
    mixed = 0.95 * grey / grey.std() + 0.3 * colour / colour.std()
    mixed = mixed - mixed.mean()
    return mixed / mixed.std()
