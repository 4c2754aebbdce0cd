"""What a run says of itself in run.json, and whether it can be continued by what it says."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shlex
import sys
from typing import Any

import numpy
import torch
from torch import nn

from .. import __version__
from ..errors import ResumeError
from ..files import utc_now
from ..teachers.panel import Api, Panel
from .prepare import Prepared
from .run_directory import at

EXACT = ("torch", "threads", "device", "precision", "world", "processor")
"""What must be equal for a resumed run to be bitwise the uninterrupted one."""


def resolved(prepared: Prepared) -> dict[str, Any]:
    """The settings with every default filled in: what `config.yaml` holds."""
    tree = prepared.settings.model_dump(mode="json")
    tree["task"] = prepared.task.model_dump(mode="json")
    tree["options"] = prepared.config.model_dump(mode="json")
    tree["preset"] = "default"  # its values now stand in the options
    return tree


def manifest_of(prepared: Prepared, command: str | None, student_fingerprint: str) -> dict[str, Any]:
    """The manifest of a run that begins now."""
    settings, teacher, runtime = prepared.settings, prepared.teacher, prepared.runtime
    tree = resolved(prepared)
    tree.pop("engine")  # changes nothing in the student
    return {
        "sansdata": __version__,
        "status": "running",
        "command": command or shlex.join(["sansdata", *sys.argv[1:]]),
        "method": settings.method,
        "seed": settings.seed,
        "config_hash": hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest(),
        "started": utc_now(),
        "ended": None,
        "seconds": 0.0,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__},
        "machine": {
            "system": platform.system(),
            "processor": processor(),
            "cores": os.cpu_count(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        },
        "threads": torch.get_num_threads(),
        "device": str(runtime.device),
        "precision": runtime.precision,
        "world": runtime.world,
        "teacher": {
            "source": teacher.source,
            "sha256": teacher.sha256,
            "parameters": teacher.parameters,
            "fingerprint": teacher.fingerprint(),
            "access": teacher.access.name,
            "batch_norms": prepared.findings.batch_norms,
            "helpers": [
                {
                    "source": one.source,
                    "sha256": one.sha256,
                    "parameters": one.parameters,
                }
                for one in teacher.helpers
            ],
            **({"apis": [_described(api) for api in teacher.apis]} if isinstance(teacher, Panel) else {}),
        },
        "student": {
            "spec": settings.student,
            "parameters": parameters_of(prepared.student.module),
            "architecture": prepared.student.architecture,
            "start": student_fingerprint,
        },
        "task": prepared.task.model_dump(mode="json"),
        "pool": None if prepared.pool is None else prepared.pool.describe(),
        "resumed": [],
        "forced": [],
    }


def _described(api: Api) -> dict[str, Any]:
    """An API of a panel, as a run's manifest has it."""
    return {"name": api.name, "source": api.teacher.source, "sha256": api.teacher.sha256, "classes": list(api.classes)}


def parameters_of(module: nn.Module) -> int:
    """How many numbers it learnt, or is to learn."""
    return sum(p.numel() for p in module.parameters())


def processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def changed_settings(old: Any, new: Any, path: str = "") -> list[str]:
    """'key was this, is that' for every setting that differs, without those of the engine."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in {**old, **new} if path or key != "engine"]
        return [
            line for key in keys for line in changed_settings(old.get(key), new.get(key), f"{path}.{key}".strip("."))
        ]
    return [] if old == new else [f"{path} was {old!s:.200}, is {new!s:.200}"]


def require_same(old: dict[str, Any], new: dict[str, Any], changed: list[str], force: bool) -> list[str]:
    """Raises ResumeError where the run cannot be continued exactly; with `force` gives the differences instead."""

    def facts(manifest: dict[str, Any]) -> dict[str, Any]:
        named = {name: manifest.get(name) for name in EXACT}
        return named | {
            "torch": at(manifest, "versions", "torch"),
            "processor": at(manifest, "machine", "processor"),
            "teacher": at(manifest, "teacher", "fingerprint"),
            "student at the start": at(manifest, "student", "start"),
            "pool": at(manifest, "pool", "sha256"),
        }

    then, now = facts(old), facts(new)
    differences = [f"{name} was {then[name]!s:.200}, is {now[name]}" for name in then if then[name] != now[name]]
    differences += changed
    if differences and not force:
        raise ResumeError(
            "this run cannot be continued exactly:\n  " + "\n  ".join(differences) + "\n"
            "Restore what changed, or continue inexactly with --force; the report will then say so."
        )
    return [f"forced although {line}" for line in differences]


def earlier_notes(manifest: dict[str, Any], name: str) -> list[str]:
    """The list of notes `name` of a run that is continued."""
    notes = manifest.get(name)
    return [note for note in notes if isinstance(note, str)] if isinstance(notes, list) else []
