"""The recipes: what is claimed, by whom, with which networks and data, and how we run it. Data only."""

from __future__ import annotations

from typing import Any, Literal

from ..config import Strict
from ..errors import ConfigError, did_you_mean

Role = Literal["method", "floor", "ceiling", "ablation"]


class Arm(Strict):
    """One line of the table. steps: student steps; at small scale about two minutes of one core."""

    name: str
    role: Role
    method: str
    steps: int
    preset: str = "default"
    options: dict[str, Any] = {}
    features: dict[str, Any] = {}
    paper: str = ""
    """The paper's figure and where it stands; empty where it has none for this setting."""


class Expectation(Strict):
    """`better` minus `worse` is at least `margin` points on the seed mean; without `worse`, `better` reaches `margin`."""

    better: str
    worse: str | None = None
    margin: float = 0.0


class TeacherRecipe(Strict):
    """network: a zoo name. file: a public checkpoint below SANSDATA_DATA; without one, we train for `epochs`."""

    network: str
    file: str | None = None
    epochs: int = 0


class Recipe(Strict):
    name: str
    claim: str
    data: str
    task: str
    teacher: TeacherRecipe
    student: str
    held_out: int = 5000
    """Images of the training set that no teacher or ceiling trains on; settings are chosen on them."""
    arms: dict[str, tuple[Arm, ...]]
    """scale -> arms."""
    expected: tuple[Expectation, ...] = ()


RECIPES: dict[str, Recipe] = {}


def find_recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe '{name}'. {did_you_mean(name, RECIPES)}")
    return RECIPES[name]
