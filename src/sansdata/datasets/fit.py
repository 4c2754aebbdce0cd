"""A set made to fit a task: size, channels, classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..decoding.limits import MAX_SET_BYTES
from ..decoding.shape import resize, to_channels
from ..errors import DataError
from ..tasks import Task
from .imageset import ImageSet, check_labels


def fit(data: ImageSet, task: Task | None, all_classes: bool = True) -> ImageSet:
    """`data` in the task's channels and size, with the task's class names.

    all_classes: whether `data` must have as many classes as the task, or may show only some of them.
    Raises DataError where it cannot fit.
    """
    if task is None:
        return data
    return fit_shape(_fit_classes(data, task, all_classes), task.shape)


def fit_shape(data: ImageSet, shape: tuple[int, int, int]) -> ImageSet:
    """`data` in the channels and size of shape (C, H, W), its classes as they are; `notes` says what was done.

    Raises DataError where that takes too much memory.
    """
    channels, height, width = shape
    check_memory(len(data), shape, data.source)
    images, notes = data.images, list(data.notes)
    if data.shape[0] != channels:
        images = to_channels(images, channels)
        notes.append("colour to grey (ITU-R 601 luma)" if channels == 1 else "grey repeated to three channels")
    if data.shape[1:] != (height, width):
        images = resize(images, height, width)
        notes.append(f"resized from {data.shape[1]}x{data.shape[2]} to {height}x{width} (bilinear)")
    return replace(data, images=images, notes=tuple(notes))


def _fit_classes(data: ImageSet, task: Task, all_classes: bool) -> ImageSet:
    theirs, ours = data.class_names, task.class_names
    if all_classes and len(theirs) != task.classes:
        raise DataError(f"{data.source}: has {len(theirs)} classes, the task has {task.classes}")
    check_labels(data.labels, task.classes, f"{data.source}: for a task of {task.classes} classes")
    if not ours:
        names = theirs if len(theirs) == task.classes else numbers(task.classes)
        return replace(data, class_names=names)
    if theirs == ours or not all_classes:
        return replace(data, class_names=ours)
    if set(theirs) == set(ours):
        order = np.array([ours.index(name) for name in theirs])
        note = "classes put in the task's order by their names"
        return replace(data, labels=order[data.labels], class_names=ours, notes=(*data.notes, note))
    note = "class names differ from the task's; classes were matched by number"
    return replace(data, class_names=ours, notes=(*data.notes, note))


def numbers(classes: int) -> tuple[str, ...]:
    """The names of classes that have none."""
    return tuple(str(i) for i in range(classes))


def check_memory(count: int, shape: tuple[int, int, int], source: str) -> None:
    """Raises DataError where `count` images (C, H, W) uint8 are more than MAX_SET_BYTES."""
    need = count * shape[0] * shape[1] * shape[2]
    if need > MAX_SET_BYTES:
        raise DataError(
            f"{source}: {count:,} images of {shape[1]}x{shape[2]}x{shape[0]} take {need / 2**30:.1f} GiB; "
            f"at most {MAX_SET_BYTES / 2**30:.0f} GiB is read. Give fewer images"
        )
