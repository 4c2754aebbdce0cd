"""A network's features on another task, between those of random weights (floor) and of a better network (ceiling)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any, Literal

from torch import nn

from ..datasets.masks import holds_masks, load_masks, tiles
from ..datasets.pairs import load_pair
from ..models.copying import duplicate
from ..models.initial_weights import draw_everything
from ..runtime import Runtime
from ..streams import Streams
from ..tasks import Task
from .segmentation_probe import probe_mean_iou
from .transfer_probe import accuracy, fine_tuned, probe_accuracy

IMAGES, TILES = 5_000, 1_000
"""The most of each split that is used."""
FLOOR_DRAWS = 3
FINE_TUNE_STEPS = 200


@dataclass(frozen=True)
class Score:
    """Of one network. probe: by a linear head on frozen features, 0..1. fine_tune: accuracy after a short fine-tune of
    all weights, 0..1; None for a segmentation set, or where it was left out."""

    probe: float
    fine_tune: float | None


@dataclass(frozen=True)
class Transferability:
    """measure: of `probe`. floor: the network's architecture with random weights, the probe a mean over three draws.

    ceiling: None where no other network was given. normalised: (probe - floor) / (ceiling - floor), 0 the floor and 1
    the ceiling, not bounded; None without a ceiling above the floor. train, test: how many images or tiles.
    """

    data: str
    measure: Literal["accuracy", "mean IoU"]
    model: Score
    floor: Score
    ceiling: Score | None
    normalised: float | None
    train: int
    test: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `evaluation.json`."""
        return asdict(self)


class OtherTask:
    """A set of another task in the shape of `task`, on which networks can be scored one after another."""

    def __init__(self, data: str, task: Task, runtime: Runtime, steps: int = FINE_TUNE_STEPS) -> None:
        """data: a spec of `load_pair` or `load_masks`. steps: of the fine-tune; 0 leaves it out. Raises DataError."""
        self.data, self.task, self.runtime, self.steps = data, task, runtime, steps
        self.masks = self.images = None
        if holds_masks(data):
            self.masks = [tiles(part, task.shape, TILES) for part in load_masks(data)]
        else:
            self.images = load_pair(data, task.shape, IMAGES)
        train, test = self.masks or self.images  # type: ignore[misc]
        self.train, self.test, self.notes = len(train), len(test), test.notes

    @property
    def measure(self) -> Literal["accuracy", "mean IoU"]:
        return "mean IoU" if self.masks is not None else "accuracy"

    def score(self, module: nn.Module, task: Task, tune: bool = True) -> Score:
        """Of a module that takes normalised images of `task`, which has our shape. tune: with the fine-tune."""
        runtime = self.runtime
        if self.images is None:
            train, test = self.masks  # type: ignore[misc]
            return Score(probe_mean_iou(module, task, train, test, runtime), None)
        train, test = self.images
        tuned = None
        if tune and self.steps:
            tuned = accuracy(fine_tuned(module, task, train, self.steps, runtime), task, test, runtime)
        return Score(probe_accuracy(module, task, train, test, runtime), tuned)

    def floor(self, module: nn.Module, tune: bool = True) -> Score:
        """Of the architecture of `module` with random weights: the probe of three draws, the fine-tune of the first."""
        draws = [self.score(_random(module, draw), self.task, tune and draw == 0) for draw in range(FLOOR_DRAWS)]
        return Score(mean(one.probe for one in draws), draws[0].fine_tune)


def measure_transfer(
    module: nn.Module,
    task: Task,
    data: str,
    ceiling: tuple[nn.Module, Task] | None,
    runtime: Runtime,
    steps: int = FINE_TUNE_STEPS,
) -> Transferability:
    """`module`, which takes normalised images of `task`, on the set `data` as in `OtherTask`.

    ceiling: another network with its task, of the same shape. Nothing is changed. Raises DataError, StudentError.
    """
    other = OtherTask(data, task, runtime, steps)
    own, floor = other.score(module, task), other.floor(module)
    best = None if ceiling is None else other.score(*ceiling)
    share = None if best is None else normalised(own.probe, floor.probe, best.probe)
    return Transferability(data, other.measure, own, floor, best, share, other.train, other.test, other.notes)


def normalised(value: float, floor: float, ceiling: float) -> float | None:
    """0 at the floor, 1 at the ceiling, not bounded; None where the ceiling is not above the floor."""
    return (value - floor) / (ceiling - floor) if ceiling > floor else None


def _random(module: nn.Module, draw: int) -> nn.Module:
    """The same architecture as its layers begin, drawn with seed `draw`."""
    fresh = duplicate(module)
    with Streams(draw).as_global("floor"):
        draw_everything(fresh)
    return fresh
