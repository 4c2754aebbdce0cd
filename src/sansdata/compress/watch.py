"""Looking at what goes into layers and comes out of them, and putting something else in its place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor, nn


@contextlib.contextmanager
def inputs_of(module: nn.Module, paths: Iterable[str], note: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Calls note(path, first input) before each of the layers runs."""

    def hook_for(path: str) -> Callable[[Any, Any], None]:
        return lambda _, inputs: note(path, inputs[0])

    with _removed([module.get_submodule(path).register_forward_pre_hook(hook_for(path)) for path in paths]):
        yield


@contextlib.contextmanager
def outputs_of(module: nn.Module, paths: Iterable[str], note: Callable[[str, Tensor], Tensor | None]) -> Iterator[None]:
    """Calls note(path, output) after each of the layers has run; what it gives, if anything, goes on in its place."""

    def hook_for(path: str) -> Callable[[Any, Any, Any], Tensor | None]:
        return lambda _, __, output: note(path, output)

    with _removed([module.get_submodule(path).register_forward_hook(hook_for(path)) for path in paths]):
        yield


@contextlib.contextmanager
def _removed(handles: list[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
