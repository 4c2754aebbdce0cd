"""Copies of modules that somebody else made: out of their wrappers, in float32, and no trace in the original."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from ..errors import TeacherError, UserError


def unwrapped(module: nn.Module) -> nn.Module:
    """`module` out of torch.compile's wrapper, DataParallel and DistributedDataParallel, on whose parts hooks may not
    fire."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def duplicate(module: nn.Module) -> nn.Module:
    """A deep copy. What a forward pass left in an attribute, such as the weight that the old `weight_norm` computes, is
    copied as a plain tensor, which `copy.deepcopy` alone refuses. Raises what the module's own parts raise."""
    left = {id(tensor): tensor.detach().clone() for tensor in _results(module)}
    return copy.deepcopy(module, left)  # type: ignore[arg-type]


def private_copy(module: nn.Module, error: type[UserError] = TeacherError) -> nn.Module:
    """An unwrapped copy in float32; modes and requires_grad as they are. Raises `error` for what cannot be copied or is
    no nn.Module whose parts can be read."""
    if not isinstance(module, nn.Module):
        raise error(f"expected a torch.nn.Module, got {type(module).__name__}")
    module = unwrapped(module)
    if isinstance(module, torch.jit.ScriptModule):
        raise error(
            "TorchScript modules are out of scope: their parts cannot be read. Give the nn.Module it was made from."
        )
    for name, value in _tensors(module):
        if value.is_meta and not _has_no_shape(value):
            raise error(f"'{name}' is on the meta device and has no values: load the weights first")
    try:
        copied = duplicate(module)
    except Exception as fault:
        raise error(
            f"the module cannot be copied ({type(fault).__name__}: {str(fault)[:200]}). Teacher and student are "
            "private copies; remove what the module holds beside layers and tensors (open files, locks, generators)."
        ) from fault
    if any(value.is_floating_point() and value.dtype != torch.float32 for _, value in _tensors(copied)):
        copied = copied.float()  # half and double weights: precision is the runtime's business
    return copied


def without_shape(module: nn.Module) -> str | None:
    """The name of a tensor of a lazy layer that has not run yet; None where there is none."""
    return next((name for name, value in _tensors(module) if _has_no_shape(value)), None)


def _has_no_shape(value: Tensor) -> bool:
    return isinstance(value, (UninitializedParameter, UninitializedBuffer))


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _results(module: nn.Module) -> Iterator[Tensor]:
    """Tensors with a gradient history that parts hold as attributes, alone or in a list, tuple or dict."""
    for part in module.modules():
        for value in vars(part).values():
            yield from (one for one in _within(value) if isinstance(one, Tensor) and not one.is_leaf)


def _within(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else [value]
