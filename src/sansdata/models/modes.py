"""Modes are changed for a while and always put back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
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
def in_mode(module: nn.Module, train: bool) -> Iterator[nn.Module]:
    """`module` in train mode or in eval mode, its parameters' gradients as they were; restored
    afterwards."""
    modes = {part: part.training for part in module.modules()}
    module.train(train)
    try:
        yield module
    finally:
        for part, mode in modes.items():
            part.training = mode


@contextlib.contextmanager
def buffers_kept(module: nn.Module) -> Iterator[nn.Module]:
    """Puts buffers back: a forward pass may write into them, or put others in their place."""
    held = [
        (part, name, buffer, buffer.data, buffer.detach().clone())
        for part in module.modules()
        for name, buffer in part._buffers.items()
        if buffer is not None
    ]
    try:
        yield module
    finally:
        for part, name, buffer, data, value in held:
            buffer.data = data
            part._buffers[name] = buffer
            with torch.no_grad():
                buffer.copy_(value)


@contextlib.contextmanager
def borrowed(module: nn.Module) -> Iterator[nn.Module]:
    """A caller's `module`, to be moved, laid out in memory and asked in eval mode without parameter gradients;
    afterwards it is as it was: device, layout, type, modes, buffers, and the very tensors that it held."""
    learnt = [(parameter, parameter.data) for parameter in module.parameters()]
    try:
        with buffers_kept(module), fixed(module):
            yield module
    finally:
        for parameter, data in learnt:
            parameter.data = data


@contextlib.contextmanager
def single_precision() -> Iterator[None]:
    """What is made meanwhile is float32, whatever default type the caller chose for torch. Decorates a verb too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
