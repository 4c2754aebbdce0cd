"""evaluation.json of a run: the figures on its own task, and beside them those on others and under attack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import write_json

NAME = "evaluation.json"
SECTIONS = ("transfer", "attacks")


def keep_figures(run_dir: Path, figures: Mapping[str, Any]) -> None:
    """Puts `figures` in place of those on the run's own task; those kept by name stay."""
    others = {name: value for name, value in _read(run_dir).items() if name in SECTIONS}
    write_json(run_dir / NAME, {**figures, **others})


def keep_by_name(run_dir: Path, section: str, name: str, figures: Mapping[str, Any]) -> None:
    """Adds `figures` under one of SECTIONS, by the name of another task's set or of an attack; all else stays."""
    old = _read(run_dir)
    others = old.get(section)
    write_json(run_dir / NAME, old | {section: {**(others if isinstance(others, dict) else {}), name: figures}})


def _read(run_dir: Path) -> dict[str, Any]:
    """What is there; nothing where the file is missing or torn, for it is about to be written anew."""
    try:
        value = json.loads((run_dir / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
