"""What the student's job is: what goes in, what comes out. No torch here, so that a wrong task file answers at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic

from .config import Strict, read_yaml, validate
from .errors import TaskError, did_you_mean

MAX_CLASSES = 100_000
MAX_PIXELS = 4096 * 4096
MIN_STD = 1e-6
"""Models compute in float32: a smaller divisor, or a mean above its inverse, gives infinities there."""


class ImageTask(Strict):
    """Classify an image.

    shape: (channels, height, width). classes: number of classes.
    mean, std: per channel, in unit space (images in 0..1): the model sees (image - mean) / std.
    class_names: one name per class, or empty.
    """

    kind: Literal["image"] = "image"
    shape: tuple[int, int, int]
    classes: int = pydantic.Field(ge=2, le=MAX_CLASSES)
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...] = ()

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> ImageTask:
        channels, height, width = self.shape
        if channels not in (1, 3):
            raise ValueError(f"shape must be [channels, height, width] with 1 or 3 channels, got {list(self.shape)}")
        if min(height, width) < 4 or height * width > MAX_PIXELS:
            raise ValueError(f"height and width in shape must be from 4 to 4096, got {height} x {width}")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != channels:
                raise ValueError(f"{name} needs {channels} number(s), one per channel, got {len(values)}")
            if not all(math.isfinite(v) for v in values):
                raise ValueError(f"{name} must be finite, got {list(values)}")
            if max(abs(v) for v in values) > 1 / MIN_STD:
                raise ValueError(f"{name} must be within {1 / MIN_STD:g}, got {list(values)}")
        if min(self.std) < MIN_STD:
            raise ValueError(f"std must be above 0 (at least {MIN_STD:g}), got {list(self.std)}")
        if self.class_names and len(self.class_names) != self.classes:
            raise ValueError(f"class_names has {len(self.class_names)} names for {self.classes} classes")
        return self

    @property
    def channels(self) -> int:
        return self.shape[0]

    def name_of(self, label: int) -> str:
        return self.class_names[label] if self.class_names else str(label)


_DIGITS = tuple(str(i) for i in range(10))
_FASHION = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

KNOWN_TASKS: dict[str, ImageTask] = {
    "digits": ImageTask(shape=(1, 8, 8), classes=10, mean=(0.305,), std=(0.376,), class_names=_DIGITS),
    "mnist": ImageTask(shape=(1, 28, 28), classes=10, mean=(0.1307,), std=(0.3081,), class_names=_DIGITS),
    "mnist-32": ImageTask(shape=(1, 32, 32), classes=10, mean=(0.1307,), std=(0.3081,), class_names=_DIGITS),
    "fashion-mnist": ImageTask(shape=(1, 28, 28), classes=10, mean=(0.286,), std=(0.353,), class_names=_FASHION),
    "cifar10": ImageTask(
        shape=(3, 32, 32),
        classes=10,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.247, 0.2435, 0.2616),
        class_names=_CIFAR10,
    ),
    "cifar100": ImageTask(shape=(3, 32, 32), classes=100, mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762)),
    "svhn": ImageTask(
        shape=(3, 32, 32),
        classes=10,
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.198, 0.201, 0.197),
        class_names=_DIGITS,
    ),
    "tiny-imagenet": ImageTask(shape=(3, 64, 64), classes=200, mean=(0.48, 0.448, 0.398), std=(0.277, 0.269, 0.282)),
    "imagenet": ImageTask(shape=(3, 224, 224), classes=1000, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
}


def load_task(spec: str | Path | Mapping[str, Any] | ImageTask) -> ImageTask:
    """A task from a known name, a YAML file, or a mapping. Raises TaskError with the field and the reason."""
    if isinstance(spec, ImageTask):
        return spec
    if isinstance(spec, Mapping):
        return task_from_mapping(spec, "the task")
    name = str(spec)
    if name in KNOWN_TASKS:
        return KNOWN_TASKS[name]
    path = Path(name)
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise TaskError(
            f"'{name}' is neither a known task nor a YAML file. {did_you_mean(name, KNOWN_TASKS)} "
            "For another task write a file: kind: image, shape: [3, 32, 32], classes: 10, mean: [...], std: [...]."
        )
    return task_from_mapping(read_yaml(path, error=TaskError), str(path))


def task_from_mapping(fields: Mapping[str, Any], where: str) -> ImageTask:
    """Raises TaskError that names the place `where` it was read and the field."""
    kind = fields.get("kind", "image")
    if kind != "image":
        raise TaskError(f"{where}: kind '{kind}' is not supported. Known: image.")
    return validate(ImageTask, fields, where, error=TaskError)
