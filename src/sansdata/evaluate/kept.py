"""evaluation.json of a run: the figures on its own task, and beside them those on others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import write_json

NAME = "evaluation.json"


def keep_figures(run_dir: Path, figures: Mapping[str, Any]) -> None:
    """Puts `figures` in place of those on the run's own task; 'transfer' stays."""
    transfer = {name: value for name, value in _read(run_dir).items() if name == "transfer"}
    write_json(run_dir / NAME, {**figures, **transfer})


def keep_transfer(run_dir: Path, data: str, figures: Mapping[str, Any]) -> None:
    """Adds `figures` on another task's set under 'transfer', by the set's name; all else stays."""
    old = _read(run_dir)
    others = old.get("transfer")
    write_json(run_dir / NAME, old | {"transfer": {**(others if isinstance(others, dict) else {}), data: figures}})


def _read(run_dir: Path) -> dict[str, Any]:
    """What is there; nothing where the file is missing or torn, for it is about to be written anew."""
    try:
        value = json.loads((run_dir / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
