"""Images in a folder with one sub-folder per class."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from ..decoding.images import NO_GROUND, Background, Unreadable, decode
from ..decoding.limits import IMAGE_SUFFIXES, MAX_SKIPPED_SHARE
from ..errors import DataError
from ..tasks import Task
from .fit import check_memory
from .imageset import ImageSet
from .layout import Layout, deeper, survey


def load(root: Path, task: Task | None, background: Background | None = None) -> ImageSet:
    """The set in `root`, in the task's size and channels; without a task RGB, in the size of the first image.

    Sub-folders are classes, as `layout` says. background: what transparent pictures are seen on; without one their
    transparency is dropped. Images that cannot be read, by their bytes or where they lie, are skipped and counted in
    `notes`, up to MAX_SKIPPED_SHARE. Raises DataError.
    """
    layout = survey(root, task)
    if not layout.files:
        raise DataError(_no_images(root, layout))
    files, skipped = layout.files, list(layout.skipped)
    images = np.empty((0, 0, 0, 0), np.uint8)  # made at the first image, whose size counts without a task
    labels: list[int] = []
    remarks: Counter[str] = Counter()
    for path, label in files:
        try:
            picture, own = decode(path, task.shape if task else None, background)
        except Unreadable as fault:
            skipped.append(f"{path.parent.name}/{path.name}: {fault}")
            continue
        height, width, channels = picture.shape
        if not labels:
            check_memory(len(files), (channels, height, width), str(root))
            images = np.empty((len(files), height, width, channels), np.uint8)
        if picture.shape != images.shape[1:]:
            first = f"{images.shape[1]}x{images.shape[2]}"
            raise DataError(f"{path}: {height}x{width}, the images before it {first}; give a task")
        images[len(labels)] = picture
        labels.append(label)
        remarks.update(own)
    there = len(files) + len(layout.skipped)
    _check_skipped(root, skipped, there)
    notes = [f"{n} of {len(files)} images: {what}" for what, n in sorted(remarks.items())] + layout.notes
    notes += [f"{len(skipped)} of {there} images skipped, the first is {skipped[0]}"] if skipped else []
    empty = sorted(set(range(len(layout.class_names))) - set(labels))
    notes += [f"no images of {len(empty)} class(es), the first is '{layout.class_names[empty[0]]}'"] if empty else []
    kept = images[: len(labels)]
    return ImageSet(kept, np.array(labels, np.int64), layout.class_names, str(root), tuple(notes))


def _no_images(root: Path, layout: Layout) -> str:
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    what = f"{root}: no image files ({', '.join(IMAGE_SUFFIXES)}) in its {len(folders)} sub-folder(s)"
    if layout.skipped:
        what += f"; {len(layout.skipped)} image(s) are not read, the first is {layout.skipped[0]}."
    return what + deeper(folders)


def _check_skipped(root: Path, skipped: list[str], there: int) -> None:
    if len(skipped) > MAX_SKIPPED_SHARE * there or len(skipped) == there:
        raise DataError(
            f"{root}: {len(skipped)} of {there} images cannot be read, more than {MAX_SKIPPED_SHARE:.0%}: "
            + "; ".join(skipped[:3])
            + (
                ". Say what they are seen on: --background white, or black"
                if any(NO_GROUND in s for s in skipped)
                else ""
            )
        )
