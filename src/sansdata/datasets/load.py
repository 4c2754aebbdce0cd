"""A labelled set for any task: which reader takes it is decided by the task's inputs."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError
from ..tasks import Task
from .images import load_images
from .imageset import ImageSet
from .labelled import KindSet
from .tables import load_table
from .texts import load_texts


def load_set(spec: str | Path, task: Task, split: str = "test") -> ImageSet | KindSet:
    """The set `spec` for `task`: images as datasets.images reads them, tables as datasets.tables, texts as
    datasets.texts.

    split: 'train' or 'test' of a known set. Raises DataError for what cannot be found or read, or does not fit.
    """
    if task.pair[0] == "image":
        return load_images(spec, task, split)
    if task.pair[0] == "table":
        return load_table(spec, task, split)
    if task.pair[0] == "tokens":
        return load_texts(spec, task, split)
    raise DataError(f"no reader of sets for inputs of kind '{task.pair[0]}': give labelled inputs in Python")
