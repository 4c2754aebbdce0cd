"""A labelled set for any task: which reader takes it is decided by the task's inputs."""

from __future__ import annotations

from pathlib import Path

from ..decoding.images import Background
from ..errors import DataError
from ..kinds.index import input_kind
from ..tasks import Task
from .images import load_images
from .imageset import ImageSet
from .labelled import KindSet
from .masks import load_mask_set
from .questions import load_questions
from .sounds import load_sounds, load_transcribed
from .stored import load_stored
from .tables import load_table
from .texts import load_texts
from .two_texts import load_two_texts


def load_set(
    spec: str | Path, task: Task, split: str = "test", background: Background | None = None
) -> ImageSet | KindSet:
    """The set `spec` for `task`: images as datasets.images reads them, with masks as datasets.masks, tables as
    datasets.tables, texts as datasets.texts, datasets.two_texts and datasets.questions, sounds as datasets.sounds;
    inputs of any kind from an .npz file, as datasets.stored reads it.

    split: 'train' or 'test' of a known set. background: what transparent pictures of a folder are seen on.
    Raises DataError for what cannot be found or read, or does not fit.
    """
    if task.pair == ("image", "masks"):
        _require_none(background, task)
        return load_mask_set(spec, task, split)
    if task.pair[0] == "image":
        return load_images(spec, task, split, background)
    _require_none(background, task)
    if Path(spec).suffix.lower() == ".npz":
        return load_stored(Path(spec).expanduser(), task)
    if task.pair[0] == "table":
        return load_table(spec, task, split)
    if task.pair[0] == "tokens":
        return load_texts(spec, task, split)
    if task.pair == ("two-texts", "span"):
        return load_questions(spec, task)
    if task.pair[0] == "two-texts":
        return load_two_texts(spec, task)
    if task.pair == ("waveform", "classes"):
        return load_sounds(spec, task, split)
    if task.pair == ("waveform", "transcript"):
        return load_transcribed(spec, task, split)
    raise DataError(
        f"'{str(spec)[:200]}': labelled inputs of kind '{task.pair[0]}' are read from an .npz file with "
        f"{', '.join(input_kind(task).signature())} and their classes y, or given in Python"
    )


def _require_none(background: Background | None, task: Task) -> None:
    if background is not None:
        raise DataError(f"a background is for image files, and this is a task of {' x '.join(task.pair)}")
