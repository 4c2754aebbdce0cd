"""Asking a module that may do anything, without leaving a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..models.taps import logits_of
from ..tasks import ImageTask

PROBES = 8


def probes(task: ImageTask, device: torch.device) -> Tensor:
    """(PROBES, C, H, W) normalised: noise of rising contrast, so that no two images are alike."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(PROBES, *task.shape, generator=generator)
    contrast = torch.linspace(0.25, 1.5, PROBES).view(-1, 1, 1, 1)
    shift = torch.randn(PROBES, task.channels, 1, 1, generator=generator)
    return (contrast * noise + 0.5 * shift).to(device)


class buffers_kept:
    """Puts buffers back: a hostile forward pass may write into them."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __enter__(self) -> None:
        self.values = [(b, b.detach().clone()) for b in self.module.buffers()]

    def __exit__(self, *_: object) -> None:
        with torch.no_grad():
            for buffer, value in self.values:
                if buffer.shape == value.shape:
                    buffer.copy_(value)


def attempt(call: Callable[[], Any], no_grad: bool = True) -> tuple[Any, str | None]:
    """(result, None), or (None, what was raised in one line)."""
    try:
        if no_grad:
            with torch.no_grad():
                return call(), None
        return call(), None
    except Exception as fault:  # a foreign module may raise anything
        return None, " ".join(f"{type(fault).__name__}: {fault}".split())[:300]


def snapshot(module: nn.Module) -> dict[str, tuple[Tensor, int, Tensor | None]]:
    """Parameters by version counter, buffers by value."""
    kept: dict[str, tuple[Tensor, int, Tensor | None]] = {
        n: (p, p._version, None) for n, p in module.named_parameters()
    }
    return kept | {n: (b, b._version, b.detach().clone()) for n, b in module.named_buffers()}


def changed(module: nn.Module, before: Mapping[str, tuple[Tensor, int, Tensor | None]]) -> str | None:
    """The name of a parameter or buffer that is not what it was."""
    now = dict(module.named_parameters()) | dict(module.named_buffers())
    for name in before.keys() | now.keys():
        if name not in now or name not in before:
            return name
        value, version, copy = before[name]
        if copy is None and (now[name] is not value or value._version != version):
            return name
        if copy is not None and (
            now[name].shape != copy.shape or not torch.equal(now[name], copy.to(now[name].device))
        ):
            return name
    return None


def channel_hint(module: nn.Module, task: ImageTask) -> str:
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    if first is None or first.in_channels == task.channels:
        return ""
    return f". Its first convolution takes {first.in_channels} channel(s) and the task has {task.channels}"


def no_gradient(module: nn.Module, inputs: Tensor) -> str | None:
    def gradient() -> Tensor | None:
        images = inputs[:2].clone().requires_grad_(True)
        logits = logits_of(module(images))
        if not logits.requires_grad:
            return None
        return torch.autograd.grad(logits.float().square().sum(), images, allow_unused=True)[0]

    with torch.enable_grad():
        value, problem = attempt(gradient, no_grad=False)
    if problem:
        return f"the teacher's backward pass fails ({problem})"
    if value is None or not bool(value.any()):
        return "no gradient flows from the teacher's logits to its images (no_grad, detach or rounding in its forward?)"
    return None if bool(torch.isfinite(value).all()) else "the teacher's gradients are not finite"
