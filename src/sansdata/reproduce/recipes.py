"""The recipes: what is claimed, by whom, with which networks and data, and how we run it. Data only."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

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
    options: dict[str, Any] = pydantic.Field(default_factory=dict)
    features: dict[str, Any] = pydantic.Field(default_factory=dict)
    paper: str = ""
    """The paper's figure and where it stands; empty where it has none for this setting."""


class Expectation(Strict):
    """`better` is at least `margin` points above `worse` on the seed mean; without `worse`, it reaches `margin`."""

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


_NOISE = (
    Arm(name="noise-gaussian", role="floor", method="noise", steps=2000, options={"transfer": {"batch": 128}}),
    Arm(
        name="noise-fractal", role="floor", method="noise", steps=2000,
        options={"source": "fractal", "transfer": {"batch": 128}},
    ),
    Arm(
        name="noise-dead-leaves", role="floor", method="noise", steps=1500,
        options={"source": "dead-leaves", "transfer": {"batch": 128}},
    ),
)  # fmt: skip

FASHION_MNIST = Recipe(
    name="fashion-mnist",
    claim="Without data, a student half as wide learns most of what a BatchNorm teacher knows; noise does not do it.",
    data="fashion-mnist",
    task="fashion-mnist",
    teacher=TeacherRecipe(network="resnet8", epochs=12),
    student="shrink:0.5",
    arms={"small": (*_NOISE,)},
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (FASHION_MNIST,)}


def find_recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe '{name}'. {did_you_mean(name, RECIPES)}")
    return RECIPES[name]
