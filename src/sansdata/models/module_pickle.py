"""The state dict of a module that was pickled whole, read off the data it was pickled with.

`torch.save(model)` writes each module's attributes, TorchScript its parameters and parts by name. Neither needs the
class: what a reader of plain data gives for a module (`pickles.Foreign`) says where its tensors are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from ..errors import UnsafeFileError
from .limits import MAX_TENSORS
from .pickles import Foreign

SCRIPTED = "__torch__."
"""How the classes of a TorchScript archive begin."""


def is_module(value: Any) -> bool:
    """Whether it stands for a torch.nn.Module, or one of TorchScript."""
    if not isinstance(value, Foreign) or not isinstance(value.state, Mapping):
        return False
    return value.name.startswith(SCRIPTED) or {"_parameters", "_buffers", "_modules"} <= value.state.keys()


def state_of(module: Foreign) -> dict[str, Tensor]:
    """Parameters and buffers by their names in the module's state_dict. Raises UnsafeFileError for one with more parts
    than a network has."""
    state: dict[str, Tensor] = {}
    waiting, visits = [("", module)], 0
    while waiting:
        path, part = waiting.pop()
        visits += 1
        if visits > MAX_TENSORS or len(state) > MAX_TENSORS:
            raise UnsafeFileError(f"a pickled module with more than {MAX_TENSORS:,} parts")
        for name, value in _members(part):
            if isinstance(value, Tensor):
                state[path + name] = value
            elif is_module(value):
                waiting.append((f"{path}{name}.", value))
    return state


def _members(module: Foreign) -> Iterator[tuple[str, Any]]:
    """(name, tensor or module), in the order of a state_dict: its own tensors, then its parts."""
    attributes = module.state
    if module.name.startswith(SCRIPTED):
        yield from ((str(name), value) for name, value in attributes.items())
        return
    passing = attributes.get("_non_persistent_buffers_set")
    skipped = passing if isinstance(passing, set) else set()
    for kind in ("_parameters", "_buffers", "_modules"):
        held = attributes[kind]
        if isinstance(held, Mapping):
            yield from ((str(name), value) for name, value in held.items() if name not in skipped)
