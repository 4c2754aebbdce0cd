"""State as tensors and JSON: no pickle, and what comes back is bitwise what went in."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import ResumeError


def encode(value: Any, path: str, tensors: dict[str, Tensor], device: torch.device) -> Any:
    """A JSON-able copy of nested state; its tensors go into `tensors` under paths like 'method.pool.images', and are
    still those of the state: what is to be kept is written before the state goes on. device: of the run; of what
    lies on the CPU beside it, such as a pool, that is noted.

    Raises TypeError for anything that is not a tensor, number, text, None, list, tuple or dict.
    """
    if isinstance(value, Tensor):
        layout = _layout(value)
        plain = value.detach().permute(0, 2, 3, 1) if layout == "channels_last" else value.detach()
        while path in tensors:  # {'a.b': x, 'a': {'b': y}} and {1: x, '1': y} come here with one path twice
            path += "'"
        tensors[path] = plain
        beside = value.device.type == "cpu" != device.type
        return {"$tensor": path} | ({"layout": layout} if layout else {}) | ({"device": "cpu"} if beside else {})
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: encode(item, f"{path}.{key}", tensors, device) for key, item in value.items()}
        odd = [key for key in value if not (key is None or isinstance(key, (str, bool, int, float)))]
        if odd:
            raise TypeError(f"state at '{path}' has the key {odd[0]!r}, which a checkpoint cannot keep")
        return {"$items": [[key, encode(item, f"{path}.{key}", tensors, device)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        items = [encode(item, f"{path}.{i}", tensors, device) for i, item in enumerate(value)]
        return {"$tuple": items} if isinstance(value, tuple) else items
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"state at '{path}' holds a {type(value).__name__}, which a checkpoint cannot keep")


def decode(value: Any, tensors: dict[str, Tensor], device: torch.device) -> Any:
    """The inverse, on `device` but for what lay on the CPU beside it. Raises ResumeError where a named tensor is not
    there."""
    if isinstance(value, list):
        return [decode(item, tensors, device) for item in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        name = value["$tensor"]
        if name not in tensors:
            raise ResumeError(f"the checkpoint lacks the tensor '{name}'")
        tensor = tensors[name].to("cpu" if value.get("device") == "cpu" else device)
        # Layout matters for bitwise resume: kernels for another layout may round differently.
        return tensor.permute(0, 3, 1, 2) if value.get("layout") == "channels_last" else tensor
    if "$items" in value:
        return {key: decode(item, tensors, device) for key, item in value["$items"]}
    if "$tuple" in value:
        return tuple(decode(item, tensors, device) for item in value["$tuple"])
    return {key: decode(item, tensors, device) for key, item in value.items()}


def _layout(tensor: Tensor) -> str | None:
    if tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last):
        return "channels_last"
    return None
