"""Modes are changed for a while and always put back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def fixed(module: nn.Module, train: bool = False) -> Iterator[nn.Module]:
    """`module` without parameter gradients, in eval mode unless `train`; both restored afterwards.

    Saves the weight gradients that a step on something else would compute and throw away.
    """
    modes = {part: part.training for part in module.modules()}
    learns = {p: p.requires_grad for p in module.parameters()}
    module.train(train).requires_grad_(False)
    try:
        yield module
    finally:
        for part, mode in modes.items():
            part.training = mode
        for p, flag in learns.items():
            p.requires_grad_(flag)


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[nn.Module]:
    """`module` in eval mode, its parameters' gradients as they were; restored afterwards."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield module
    finally:
        for part, mode in modes.items():
            part.training = mode
