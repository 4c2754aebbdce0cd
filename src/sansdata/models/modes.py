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
        with writing_mode(module):
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
            with torch.inference_mode(buffer.is_inference()), torch.no_grad():
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


def writing_mode(module: nn.Module) -> contextlib.AbstractContextManager[None]:
    """In which the tensors of `module` can be written to: those made in torch's inference mode only in that mode."""
    return torch.inference_mode(any(tensor.is_inference() for tensor in (*module.parameters(), *module.buffers())))


@contextlib.contextmanager
def usual_modes() -> Iterator[None]:
    """torch as a process begins with it, whatever modes the caller has set: float32 and the processor where nothing
    else is asked for, gradients, no autocast. Afterwards the caller's modes, and their number of threads, are back.
    Decorates a verb too; what it calls of the caller's runs in these modes."""
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    with contextlib.ExitStack() as modes:
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                modes.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":  # a mode for it slows every call of torch down
            modes.enter_context(torch.device("cpu"))
        modes.callback(torch.set_default_dtype, dtype)
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
