"""Asking a module that may do anything, without leaving a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .. import columns
from ..kinds.base import InputKind
from ..models.device import device_of
from ..network import Network

PROBES = 8


def attempt(call: Callable[[], Any], no_grad: bool = True) -> tuple[Any, str | None]:
    """(result, None), or (None, what was raised in one line)."""
    try:
        with torch.set_grad_enabled(not no_grad):
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


def no_gradient(network: Network, kind: InputKind) -> str | None:
    """Why no gradient passes through `network`, in a sentence; None where one does.

    It is asked of the inputs, where their kind lets one through; else the network must have weights of its own.
    """
    module = network.module
    if not kind.differentiable:
        if any(True for _ in module.parameters()):
            return None
        return "the teacher has no parameters: its answers are made outside of torch"
    device = device_of(module)
    inputs = columns.to(kind.draw(2, torch.Generator().manual_seed(0)), device)

    def gradients() -> list[Tensor]:
        rows = columns.each(_asking, inputs)
        answers = network(rows).value
        if not answers.requires_grad:
            return []
        sources = [column for column in columns.parts(rows) if column.requires_grad]
        slopes = torch.autograd.grad(answers.float().square().sum(), sources, allow_unused=True)
        return [slope for slope in slopes if slope is not None]

    slopes, problem = attempt(gradients, no_grad=False)
    if problem:
        return f"the teacher's backward pass fails ({problem})"
    if not any(bool(slope.any()) for slope in slopes):
        return (
            f"no gradient flows from the teacher's answers to its {kind.unit} (no_grad, detach or rounding in its "
            "forward?)"
        )
    return None if all(bool(torch.isfinite(slope).all()) for slope in slopes) else "its gradients are not finite"


def _asking(column: Tensor) -> Tensor:
    return column.clone().requires_grad_(True) if column.is_floating_point() else column
