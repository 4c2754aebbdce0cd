"""A small state to save, and what a checkpoint directory looks like; shared by the tests of checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sansdata.contracts import Counters
from sansdata.engine.checkpoint import Checkpoints
from sansdata.memory import Pool, Slot
from sansdata.runtime import Runtime


def state_at(step: int) -> dict[str, Any]:
    """Parts that say in every tensor and number at which step they were saved."""
    pool = Pool(4)
    pool.add(torch.full((2, 1, 3, 3), step % 256 / 255), torch.full((2,), step))
    counters = Counters()
    counters.add("samples", step)
    return {"student": Slot(weight=torch.full((3, 2), float(step))), "pool": pool, "counters": counters}


def checkpoints(folder: Path) -> Checkpoints:
    return Checkpoints(folder / "checkpoints", Runtime())


def save(folder: Path, step: int) -> Path:
    return checkpoints(folder).save(step, state_at(step), {"elapsed": float(step)})


def loaded_step(folder: Path) -> int | None:
    """The step of what would be resumed, None where nothing would; fails where its parts are of different steps."""
    held = checkpoints(folder)
    path, _ = held.newest()
    if path is None:
        return None
    state = state_at(0)
    facts: Mapping[str, Any] = held.load(path, state)
    step = int(facts["elapsed"])
    seen = {step, int(state["counters"]["samples"]), *state["student"]["weight"].flatten().int().tolist()}
    seen |= set(state["pool"].targets[:2].tolist())
    assert seen == {step}, f"a mixture of steps was loaded: {seen}"
    return step
