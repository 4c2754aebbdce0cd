"""sansdata: a small student from a trained teacher, without the teacher's data.

`import sansdata` is lazy: torch is imported when a name below is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .api import Result, attack_success, check, distill, evaluate, export, load, report, transferability
    from .compression import Compressed, prune, quantize
    from .contracts import Batch, Context, Losses, Method, Requirements
    from .simulate import FederatedRun, federate
    from .tasks import ImageTask
    from .teachers.base import Teacher

_HOMES = {
    "Result": "api", "attack_success": "api", "check": "api", "distill": "api", "evaluate": "api", "export": "api",
    "load": "api", "report": "api", "transferability": "api", "ImageTask": "tasks", "Teacher": "teachers.base",
    "Method": "contracts",
    "Context": "contracts", "Batch": "contracts", "Losses": "contracts", "Requirements": "contracts",
    "FederatedRun": "simulate", "federate": "simulate", "Compressed": "compression", "prune": "compression",
    "quantize": "compression",
}  # fmt: skip

__all__ = [
    "Batch",
    "Compressed",
    "Context",
    "FederatedRun",
    "ImageTask",
    "Losses",
    "Method",
    "Requirements",
    "Result",
    "Teacher",
    "attack_success",
    "check",
    "distill",
    "evaluate",
    "export",
    "federate",
    "load",
    "prune",
    "quantize",
    "report",
    "transferability",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'sansdata' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


class _Package(ModuleType):
    """`evaluate` and `report` are also rooms: importing one must not put the room in the place of the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
