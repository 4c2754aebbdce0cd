"""What stands beside the state in a checkpoint of a run, checked: whoever wrote it, the loop can go on from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field

from ..config import validate
from ..errors import ResumeError
from .budget import MAX_STEPS, Plan

Count = Annotated[int, Field(ge=0, le=10**18)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Cost = dict[str, Seconds]


class _Plan(BaseModel, extra="forbid"):
    budget: str
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)]
    moves: dict[str, Count]
    cost_per_move: dict[str, Cost] = {}
    replans: list[dict[str, Any]] = []
    queries: Count | None = None
    measured: Seconds = 0.0


class _Facts(BaseModel):
    elapsed: Seconds
    cpu: Seconds = 0.0
    plan: _Plan
    latest: dict[str, float]
    agreement: float | None
    marks: dict[str, Count]
    metrics_bytes: Count


def checked(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """`facts` as they came. Raises ResumeError that names what is missing or wrong."""
    validate(_Facts, facts, "the facts of the checkpoint", error=ResumeError)
    return facts


def plan_in(facts: Mapping[str, Any]) -> Plan:
    """The plan that a run continues. Raises ResumeError."""
    return Plan(**checked(facts)["plan"])
