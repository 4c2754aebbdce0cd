"""What a teacher's first BatchNorm remembers of the images it was trained on.

The running mean and variance behind the first convolution are those of a linear function of the training inputs. With
its weights they tell the brightness and contrast of those inputs, and with the task's mean and std those of the images
in unit space. Images in 0..1 cannot have a negative mean or a standard deviation above a half: where that comes out,
the mean and std are not the ones that the teacher was trained with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN_RANGE = (0.02, 0.98)
STD_RANGE = (0.1, 0.52)
"""Of images in 0..1: between a low-contrast photograph and two-level drawings."""
RATIO_RANGE = (0.5, 1.8)
"""Of the found std to the task's, where the latter looks measured on images."""
MEASURED_STD = (0.05, 0.45)
"""Conventions such as 0.5 or 1 were not measured and say nothing about the images."""

SIZE, COUNT = 64, 16

PROBLEM = "the mean and std of the task do not look like those of this teacher"
"""How the warning of preflight begins."""


@dataclass(frozen=True)
class Brightness:
    """Mean and standard deviation over pixels, in unit space."""

    mean: float
    std: float


def plausible(found: Brightness, std: Sequence[float]) -> bool:
    """Whether images in 0..1 can be like this. Calibrated on CIFAR-10, digits, clothes and X-rays: right settings give
    ratios of 0.8 to 1.2; a teacher fed with 0..1, under a task with mean and std, 0.2 to 0.45."""
    declared = sum(std) / len(std)
    if not (_within(found.mean, MEAN_RANGE) and _within(found.std, STD_RANGE)):
        return False
    return not _within(declared, MEASURED_STD) or _within(found.std / declared, RATIO_RANGE)


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]


def training_brightness(
    module: nn.Module, mean: Sequence[float], std: Sequence[float], inputs: Tensor
) -> Brightness | None:
    """The brightness that the teacher's training images had, if its mean and std per channel were right.

    inputs (B, C, H, W): normalised, any contents. None where the first BatchNorm does not follow the first convolution.
    """
    stem = _stem(module, inputs)
    if stem is None:
        return None
    conv, norm = stem
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight = conv.weight.detach().double().cpu()
    centre, variance = norm.running_mean.double().cpu(), norm.running_var.double().cpu().clamp_min(1e-12)
    if conv.bias is not None:
        centre = centre - conv.bias.detach().double().cpu()
    # grey inputs of level m give the channel c a mean of m * gain[c]: least squares, in units of each channel's spread
    gain = weight.sum(dim=(1, 2, 3))
    scale = variance.sqrt()
    level = ((centre / scale) * (gain / scale)).sum() / ((gain / scale) ** 2).sum().clamp_min(1e-12)
    images = _natural_noise(len(mean)).double()
    made = F.conv2d(images, weight, stride=conv.stride, dilation=conv.dilation, groups=conv.groups)
    made_variance = made.var(dim=(0, 2, 3)).clamp_min(1e-12)
    spread = (variance / made_variance).log().median().mul(0.5).exp()
    average_mean, average_std = sum(mean) / len(mean), sum(std) / len(std)
    return Brightness(average_mean + average_std * float(level), average_std * float(spread))


def _stem(module: nn.Module, inputs: Tensor) -> tuple[nn.Conv2d, nn.BatchNorm2d] | None:
    """The first convolution that runs on the images, where the BatchNorm that runs next takes its output."""
    ran: list[tuple[nn.Module, Any, Any]] = []
    kinds = (nn.Conv2d, nn.BatchNorm2d)
    handles = [
        part.register_forward_hook(lambda part, given, output: ran.append((part, given[0], output)))
        for part in module.modules()
        if isinstance(part, kinds)
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
    if not (isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)) or norm.running_mean is None:
        return None
    same = arrived.shape == output.shape and arrived.data_ptr() == output.data_ptr()
    return (conv, norm) if same and given.shape[1:] == inputs.shape[1:] else None


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
