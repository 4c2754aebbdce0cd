"""The settings of a run as a reader wants them: the nearest preset, and what differs from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from ..errors import SansdataError
from ..methods.index import find_method, method_config
from .read import Run

SHOWN_ELSEWHERE = {"steps"}
"""Has a column of its own."""
WITHOUT_EFFECT = ("seed", "engine", "strict", "preset")
"""Settings that leave the method as it is; `preset` stands resolved among the options."""


def flat(tree: Any, path: str = "") -> dict[str, Any]:
    """Nested settings as 'a.b' -> value."""
    if not isinstance(tree, Mapping):
        return {path: tree}
    return {key: value for name, part in tree.items() for key, value in flat(part, f"{path}.{name}".strip(".")).items()}


def nearest_preset(method: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """(preset, settings that differ from it), of the preset with the fewest; None where the method is not known here.

    A run keeps the values of its preset, not its name.
    """
    groups = []
    try:
        presets = find_method(method).presets
        for name in ("default", *presets):
            config = method_config(method, name, {})
            assert isinstance(config, BaseModel)
            usual = flat(config.model_dump(mode="json"))
            changed = {key: value for key, value in flat(options).items() if key not in SHOWN_ELSEWHERE}
            groups.append((name, {key: value for key, value in changed.items() if usual.get(key, ...) != value}))
    except SansdataError:
        return None
    return min(groups, key=lambda one: len(one[1]))


def key_without_seed(run: Run) -> str:
    """Equal for runs that differ only in the seed."""
    tree = run.config.value
    if not isinstance(tree, Mapping):
        return str(run.directory.resolve())
    kept = {name: value for name, value in tree.items() if name not in WITHOUT_EFFECT}
    # A path says less than the weights behind it.
    kept["teacher"] = run.manifest.at("teacher", "fingerprint").text() or kept.get("teacher")
    return json.dumps([kept, run.manifest.at("student", "parameters").number()], sort_keys=True, default=str)


def said(value: Any) -> str:
    """A setting's value as the command takes it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
