"""How a model's images were prepared when it was trained, where the model says so: timm's `pretrained_cfg`,
torchvision's transforms, the `preprocessor_config.json` of a folder. It comes before what the task says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import nn

from ..errors import TeacherError
from ..tasks import ImageTask, Task
from ..tasks.base import check_scale

NEAR = 1e-3
"""Figures that differ less are the same, rounded otherwise."""
LARGEST = 1e30
"""Of a figure that is read."""
LONGEST_EDGE = 100_000
"""Pixels."""
SMALLEST_FACTOR = 1e-9
"""What pixels of 0..255 are multiplied with."""


@dataclass(frozen=True)
class TrainedWith:
    """mean, std: per channel, in unit space. size: (height, width), None where it is not said."""

    origin: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None = None
    interpolation: str = ""

    def applied_to(self, task: Task) -> tuple[Task, list[str]]:
        """(the task seen through this preprocessing, what to say where the two differ). Figures that cannot be used
        leave the task as it is, which is said."""
        if not isinstance(task, ImageTask):
            return task, []
        notes = []
        if self.size is not None and self.size != task.shape[1:]:
            sizes = [f"{height} x {width}" for height, width in (self.size, task.shape[1:])]
            how = f" ({self.interpolation})" if self.interpolation else ""
            notes.append(f"{self.origin}: was trained on images of {sizes[0]}{how}, the task has {sizes[1]}")
        try:
            check_scale(self.mean, self.std, task.channels)
        except ValueError as fault:
            return task, [*notes, f"{self.origin}: its own mean and std cannot be used ({fault}): the task's are"]
        if _near(self.mean, task.mean) and _near(self.std, task.std):
            return task, notes
        notes.append(
            f"{self.origin}: its own mean {_shown(self.mean)} and std {_shown(self.std)} are used, not the task's "
            f"{_shown(task.mean)} and {_shown(task.std)}"
        )
        return task.seen_through({"mean": self.mean, "std": self.std}), notes


def _near(left: tuple[float, ...], right: tuple[float, ...]) -> bool:
    return all(abs(a - b) < NEAR for a, b in zip(left, right))


def _shown(values: tuple[float, ...]) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in values) + "]"


def of_timm(origin: str, config: Any) -> TrainedWith | None:
    """From a `pretrained_cfg`, a dict or an object of timm's; None where it names no mean and std. Raises TeacherError
    for a number that is none."""
    fields = config if isinstance(config, Mapping) else getattr(config, "__dict__", {})
    mean, std, size = (_numbers(origin, name, fields.get(name)) for name in ("mean", "std", "input_size"))
    if not mean or not std:
        return None
    height_width = (int(size[1]), int(size[2])) if len(size) == 3 else None
    return TrainedWith(origin, mean, std, height_width, str(fields.get("interpolation") or ""))


def of_library(architecture: Mapping[str, Any], module: nn.Module) -> TrainedWith | None:
    """From a network that timm or torchvision gave with its weights."""
    name = f"{architecture['kind']}:{architecture['name']}"
    if architecture["kind"] == "timm":
        return of_timm(name, getattr(module, "pretrained_cfg", None))
    weights = import_module("torchvision").models.get_model_weights(architecture["name"]).DEFAULT
    transform = weights.transforms()
    mean, std, crop = (_numbers(name, field, getattr(transform, field, None)) for field in ("mean", "std", "crop_size"))
    return TrainedWith(name, mean, std, (int(crop[0]), int(crop[-1])) if crop else None) if mean and std else None


def of_processor(origin: str, fields: Mapping[str, Any]) -> TrainedWith | None:
    """From a `preprocessor_config.json`: pixels of 0..255 are rescaled, then normalised, either of which may be off.
    None where it normalises without saying by what. Raises TeacherError for a number that is none."""
    scale = 255 * _factor(origin, fields) if fields.get("do_rescale", True) else 255.0
    offset = 1.0 if fields.get("rescale_offset") else 0.0
    mean, std = (_numbers(origin, name, fields.get(name)) for name in ("image_mean", "image_std"))
    if not fields.get("do_normalize", True):
        channels = len(mean) or 3
        mean, std = (0.0,) * channels, (1.0,) * channels
    if not mean or len(mean) != len(std):
        return None
    if fields.get("include_top"):  # EfficientNet's divides by the deviation a second time
        std = tuple(value * value for value in std)
    mean = tuple((value + offset) / scale for value in mean)
    return TrainedWith(origin, mean, tuple(value / scale for value in std), _size(fields))


def _size(fields: Mapping[str, Any]) -> tuple[int, int] | None:
    """The size that the network is given: what is cropped, else what is resized to."""
    size = fields.get("crop_size") if fields.get("do_center_crop") else fields.get("size")
    if isinstance(size, Mapping):
        edges = [size.get("height", size.get("shortest_edge")), size.get("width", size.get("shortest_edge"))]
    else:
        edges = [size, size]
    whole = [edge for edge in edges if isinstance(edge, int) and 0 < edge <= LONGEST_EDGE]
    return (whole[0], whole[1]) if len(whole) == 2 else None


def _factor(origin: str, fields: Mapping[str, Any]) -> float:
    """What pixels are multiplied with."""
    name = "rescale_factor"
    given = fields.get(name, 1 / 255)
    factor = _numbers(origin, name, given)
    if len(factor) != 1 or not SMALLEST_FACTOR <= factor[0] <= 1 / SMALLEST_FACTOR:
        raise TeacherError(f"{origin}: '{name}' must be a number above 0, got {str(given)[:40]!r}")
    return factor[0]


def _numbers(origin: str, name: str, values: Any) -> tuple[float, ...]:
    """A list of numbers, or one alone; empty for anything else. Raises TeacherError for a number that is not finite, or
    larger than any that a network computes with."""
    listed = values if isinstance(values, (list, tuple)) else [values]
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in listed):
        return ()
    if wrong := [value for value in listed if not abs(value) <= LARGEST]:
        raise TeacherError(f"{origin}: '{name}' must be numbers, got {str(wrong[0])[:40]!r}")
    return tuple(float(value) for value in listed)
