"""What a recipe says: what is claimed, by whom, with which networks and data, and how we run it."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

import pydantic

from ...config import Strict
from ...methods.index import method_config, method_names

Role = Literal["method", "floor", "ceiling", "ablation", "combination"]


class Arm(Strict):
    """One line of the table. steps: student steps; at small scale about two minutes of one core."""

    name: str
    role: Role
    method: str
    steps: int
    preset: str = "default"
    options: dict[str, Any] = pydantic.Field(default_factory=dict)
    features: dict[str, Any] = pydantic.Field(default_factory=dict)
    inherit: bool = False
    run: dict[str, Any] = pydantic.Field(default_factory=dict)
    """Further keywords of `sansdata.distill`, such as update, defence or pool."""
    experiment: dict[str, Any] = pydantic.Field(default_factory=dict)
    """What the recipe's experiment must know of this arm besides."""
    seeds: int | None = None
    """How many where it is not the recipe's number."""
    revision: int = 0
    """Raised where the code behind this arm, or a default that it leaves alone, has changed what it computes: earlier
    runs are of something else then."""
    paper: str = ""
    """The paper's figure and where it stands; empty where it has none for this setting."""

    def settings(self) -> dict[str, Any]:
        """All that decides the figure, as it differs from the defaults; the preset is resolved into its values. What
        code and defaults do is not seen here: `revision` stands for them."""
        settings = self.model_dump(
            mode="json", exclude_defaults=True, exclude={"paper", "role", "preset", "options", "seeds"}
        )
        if self.method not in method_names():  # an arm of the experiment's own
            return settings | {"method": self.method, "options": self.options}
        config = method_config(self.method, self.preset, self.options)
        return settings | {"options": config.model_dump(mode="json", exclude_defaults=True)}

    def key(self, teacher: str) -> str:
        """Changes when the settings do or the teacher, of which this is the hash: then a run is of something else."""
        return hashlib.sha256((json.dumps(self.settings(), sort_keys=True) + teacher).encode()).hexdigest()[:16]


class Expectation(Strict):
    """`better` is at least `margin` points above `worse`, pair by pair of seeds; without `worse`, it reaches `margin`.

    It holds, or fails, where the mean lies further from its bound than two standard errors of it; else it is undecided.
    measure: 'accuracy' (in percent), or a name among the experiment's measures. lower: less is better, so `better` is
    at least `margin` below `worse`, or at most `margin`. ratio: `better` is at most this share of `worse`.
    """

    better: str
    worse: str | None = None
    margin: float = 0.0
    measure: str = "accuracy"
    lower: bool = False
    ratio: float | None = None
    paper: str = ""
    """What was published of it; empty where the arms' own figures say it, or nothing was."""


class TeacherRecipe(Strict):
    """network: a zoo name. file: a public checkpoint below SANSDATA_DATA; without one, we train for `epochs`."""

    network: str
    file: str | None = None
    epochs: int = 0


class Recipe(Strict):
    name: str
    claim: str
    data: str
    task: str | dict[str, Any]
    teacher: TeacherRecipe | None
    """None where the experiment has none, or its own."""
    helpers: tuple[TeacherRecipe, ...] = ()
    """Further networks on the same data, for arms and experiments that name them."""
    student: str
    experiment: str = "distil"
    """How an arm is run and what is measured: a name in `reproduce.experiments`."""
    seeds: int = 3
    threads: int = 1
    """Of each run; as many runs at a time as there are cores for."""
    held_out: int = 5000
    """Images of the training set that no teacher or ceiling trains on; settings are chosen on them."""
    arms: dict[str, tuple[Arm, ...]]
    """scale -> arms."""
    matched: str = ""
    """What the arms have in common, such as steps, step length and data, and what they do not."""
    expected: tuple[Expectation, ...] = ()
    plane: tuple[str, str] | None = None
    """Two measures, across and up, by which the page draws the arms; 'accuracy' is the accuracy in percent."""
    tried: tuple[str, ...] = ()
    """What was tried for what does not hold, and how often the test set was met."""


def noise_floors(steps: int, **transfer: Any) -> tuple[Arm, ...]:
    """The three floors, at the same student steps as the methods."""
    sources = ("gaussian", "fractal", "dead-leaves")
    return tuple(
        Arm(name=f"noise-{s}", role="floor", method="noise", steps=steps, options={"source": s, "transfer": transfer})
        for s in sources
    )
