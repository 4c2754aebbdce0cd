"""sansdata: a small student from a trained teacher, without the teacher's data.

`import sansdata` is lazy: torch is imported when a name below is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .api import Result, check, distill, evaluate, export, load, report
    from .contracts import Batch, Context, Losses, Method, Requirements
    from .tasks import ImageTask
    from .teachers.base import Teacher

_HOMES = {
    "Result": "api", "check": "api", "distill": "api", "evaluate": "api", "export": "api", "load": "api",
    "report": "api", "ImageTask": "tasks", "Teacher": "teachers.base", "Method": "contracts", "Context": "contracts",
    "Batch": "contracts", "Losses": "contracts", "Requirements": "contracts",
}  # fmt: skip

__all__ = [
    "Batch",
    "Context",
    "ImageTask",
    "Losses",
    "Method",
    "Requirements",
    "Result",
    "Teacher",
    "check",
    "distill",
    "evaluate",
    "export",
    "load",
    "report",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        # `sansdata.report` is also a room: once that was imported, the function must still win.
        value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'sansdata' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
