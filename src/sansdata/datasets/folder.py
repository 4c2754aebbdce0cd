"""Images in a folder with one sub-folder per class."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np

from ..decoding.images import Unreadable, decode
from ..decoding.limits import IMAGE_SUFFIXES, MAX_SKIPPED_SHARE
from ..errors import DataError, did_you_mean
from ..tasks import Task
from .fit import check_memory
from .imageset import ImageSet


def load(root: Path, task: Task | None) -> ImageSet:
    """The set in `root`, in the task's size and channels; without a task RGB, in the size of the first image.

    Sub-folders are classes: by the task's class names where it has them, else in sorted order. Unreadable
    images are skipped and counted in `notes`, up to MAX_SKIPPED_SHARE. Raises DataError.
    """
    folders = _class_folders(root)
    names = _class_names(root, folders, task)
    files = [(path, names.index(name)) for name, folder in folders.items() for path in _image_files(folder)]
    if not files:
        raise DataError(_no_images(root, folders))
    images = np.empty((0, 0, 0, 0), np.uint8)  # made at the first image, whose size counts without a task
    labels: list[int] = []
    remarks: Counter[str] = Counter()
    skipped: list[str] = []
    for path, label in files:
        try:
            picture, said = decode(path, task.shape if task else None)
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
        remarks.update(said)
    _check_skipped(root, skipped, len(files))
    notes = [f"{n} of {len(files)} images: {what}" for what, n in sorted(remarks.items())]
    notes += [f"{len(skipped)} of {len(files)} images skipped, the first is {skipped[0]}"] if skipped else []
    empty = sorted(set(range(len(names))) - set(labels))
    notes += [f"no images of {len(empty)} class(es), the first is '{names[empty[0]]}'"] if empty else []
    return ImageSet(images[: len(labels)], np.array(labels, np.int64), names, str(root), tuple(notes))


def _class_folders(root: Path) -> dict[str, Path]:
    """Class name -> folder, sorted. Names are composed (NFC), because some file systems store accents apart."""
    try:
        folders = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError as fault:
        raise DataError(f"{root}: cannot be listed ({fault.strerror})") from None
    if not folders:
        raise DataError(f"{root}: expected one sub-folder per class, found none")
    named = dict(sorted((unicodedata.normalize("NFC", path.name), path) for path in folders))
    if len(named) != len(folders):
        raise DataError(f"{root}: two sub-folders have the same name but for how accents are stored; rename one")
    return named


def _class_names(root: Path, folders: dict[str, Path], task: Task | None) -> tuple[str, ...]:
    """The names in the order of their numbers."""
    if task is None:
        return tuple(folders)
    if not task.class_names:
        if len(folders) != task.classes:
            raise DataError(
                f"{root}: {len(folders)} sub-folders, but the task has {task.classes} classes without names. "
                "Give the task class_names, or one sub-folder for each class"
            )
        return tuple(folders)
    names = tuple(unicodedata.normalize("NFC", name) for name in task.class_names)
    for name in folders:
        if name not in names:
            raise DataError(
                f"{root}: sub-folder '{name}' is no class of the task. {did_you_mean(name, names[:50])}"
                + _deeper(folders)
            )
    return names


def _image_files(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as fault:
        raise DataError(f"{folder}: cannot be listed ({fault.strerror})") from None
    # is_file, because a pipe named like an image would block for ever
    return [
        path
        for path in entries
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not path.name.startswith(".")
    ]


def _no_images(root: Path, folders: dict[str, Path]) -> str:
    return f"{root}: no image files ({', '.join(IMAGE_SUFFIXES)}) in its {len(folders)} sub-folder(s)" + _deeper(
        folders
    )


def _deeper(folders: dict[str, Path]) -> str:
    """Advice where the classes seem to lie one level further down."""
    for path in folders.values():
        if not _image_files(path) and any(entry.is_dir() for entry in path.iterdir()):
            return f" '{path.name}' holds sub-folders itself: did you mean {path}?"
    return ""


def _check_skipped(root: Path, skipped: list[str], files: int) -> None:
    if len(skipped) > MAX_SKIPPED_SHARE * files or len(skipped) == files:
        raise DataError(
            f"{root}: {len(skipped)} of {files} images cannot be read, more than {MAX_SKIPPED_SHARE:.0%}: "
            + "; ".join(skipped[:3])
        )
