"""Networks made by code that the user named: 'package.module:function'."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from torch import nn

from ..errors import StudentError, UnsafeFileError, did_you_mean, first_line
from ..tasks import load_task


def build_factory(name: str, args: Mapping[str, Any], code: Collection[str]) -> nn.Module:
    """What the function `name` returns. code: the functions that the user named; no other is imported.

    Raises UnsafeFileError for another, StudentError where it cannot be imported or makes no network.
    """
    if name not in code:
        raise UnsafeFileError(
            f"this network is made by the code {name[:200]}, which is imported only if you name it yourself"
        )
    with current_folder_importable():
        factory = import_factory(name)
        try:
            takes_task = "task" in inspect.signature(factory).parameters
        except ValueError:  # callables written in C show no signature
            takes_task = False
        module = factory(task=load_task(args["task"])) if takes_task else factory()
    if not isinstance(module, nn.Module):
        raise StudentError(f"factory '{name[:200]}' returned {type(module).__name__}; expected a torch.nn.Module")
    return module


def import_factory(name: str) -> Callable[..., Any]:
    """The callable 'package.module:function'. Raises StudentError that says which part is missing."""
    path, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as fault:
        raise StudentError(
            f"factory '{name[:200]}': no module named '{fault.name}' from {os.getcwd()}. "
            "Write package.module:function and run from the folder that holds the package, or install it."
        ) from None
    except Exception as fault:
        raise StudentError(f"factory '{name[:200]}': importing {path} failed with {first_line(fault)}") from fault
    factory = getattr(module, attribute, None)
    if not callable(factory):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        hint = did_you_mean(attribute[:100], known) if known else f"{path} has no public function."
        raise StudentError(f"factory '{name[:200]}': {path} has no function '{attribute[:100]}'. {hint}")
    return factory


@contextlib.contextmanager
def current_folder_importable() -> Iterator[None]:
    """The command does not run with the current folder on sys.path, where a user's modules are."""
    here = os.getcwd()
    if here in sys.path or "" in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(here)
