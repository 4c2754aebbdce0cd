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
    from .api.audit import Audit, audit
    from .api.bundle import convert_bundle, create_bundle, rollback_bundle, verify_bundle
    from .api.card import write_card
    from .api.check import check
    from .api.compress import Compressed, prune, quantize
    from .api.convert import Converted, convert
    from .api.distill import distill
    from .api.evaluate import attack_success, evaluate, transferability
    from .api.export import export
    from .api.federate import Client, FederatedRun, federate
    from .api.finetune import FineTuned, finetune
    from .api.judge import judge
    from .api.monitor import monitor
    from .api.quantize import Integers, to_int8
    from .api.report import report
    from .api.result import Result, load
    from .api.trim import Trimmed, trim
    from .api.validate import Validation, validate
    from .api.verify import verify_run
    from .config import Strict
    from .contracts import Access, Batch, Losses, Requirements, Stateful
    from .method import Context, Method
    from .models.diffusion.denoiser import Denoiser
    from .tasks import Column, ImageTask, PairTask, Task, load_task
    from .teachers.base import Teacher
    from .training.transfer import TransferSettings

_HOMES = {
    "convert_bundle": "api.bundle",
    "create_bundle": "api.bundle",
    "rollback_bundle": "api.bundle",
    "verify_bundle": "api.bundle",
    "write_card": "api.card",
    "Audit": "api.audit",
    "audit": "api.audit",
    "check": "api.check",
    "Compressed": "api.compress",
    "prune": "api.compress",
    "quantize": "api.compress",
    "Converted": "api.convert",
    "convert": "api.convert",
    "distill": "api.distill",
    "attack_success": "api.evaluate",
    "evaluate": "api.evaluate",
    "transferability": "api.evaluate",
    "export": "api.export",
    "Client": "api.federate",
    "FederatedRun": "api.federate",
    "federate": "api.federate",
    "FineTuned": "api.finetune",
    "finetune": "api.finetune",
    "judge": "api.judge",
    "monitor": "api.monitor",
    "Integers": "api.quantize",
    "to_int8": "api.quantize",
    "report": "api.report",
    "Result": "api.result",
    "load": "api.result",
    "Trimmed": "api.trim",
    "trim": "api.trim",
    "verify_run": "api.verify",
    "Validation": "api.validate",
    "validate": "api.validate",
    "Access": "contracts",
    "Batch": "contracts",
    "Losses": "contracts",
    "Requirements": "contracts",
    "Stateful": "contracts",
    "Context": "method",
    "Method": "method",
    "Denoiser": "models.diffusion.denoiser",
    "Column": "tasks",
    "ImageTask": "tasks",
    "PairTask": "tasks",
    "Task": "tasks",
    "load_task": "tasks",
    "Teacher": "teachers.base",
    "TransferSettings": "training.transfer",
    "Strict": "config",
}

__all__ = [
    "Access",
    "Audit",
    "Batch",
    "Client",
    "Column",
    "Compressed",
    "Context",
    "Converted",
    "Denoiser",
    "FederatedRun",
    "FineTuned",
    "ImageTask",
    "Integers",
    "Losses",
    "Method",
    "PairTask",
    "Requirements",
    "Result",
    "Stateful",
    "Strict",
    "Task",
    "Teacher",
    "TransferSettings",
    "Trimmed",
    "Validation",
    "attack_success",
    "audit",
    "check",
    "convert",
    "convert_bundle",
    "create_bundle",
    "distill",
    "evaluate",
    "export",
    "federate",
    "finetune",
    "judge",
    "load",
    "load_task",
    "monitor",
    "prune",
    "quantize",
    "report",
    "rollback_bundle",
    "to_int8",
    "transferability",
    "trim",
    "validate",
    "verify_bundle",
    "verify_run",
    "write_card",
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
    """`audit`, `evaluate` and `report` are also rooms: importing one must not put the room in the function's place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
