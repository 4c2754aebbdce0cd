"""Labelled images in memory, from a known name, a folder or an .npz file."""

from __future__ import annotations

from pathlib import Path

from ..decoding.images import Background
from ..errors import DataError, did_you_mean
from ..tasks import ImageTask, Task, load_task
from . import folder, known, npz
from .fit import fit, fit_shape
from .imageset import ImageSet, pick
from .layout import survey

SPLITS = ("train", "test")


def load_images(
    spec: str | Path,
    task: Task | str | Path | None = None,
    split: str = "test",
    background: Background | None = None,
) -> ImageSet:
    """The set `spec`, resized (bilinear) and with its channels converted for `task`; `notes` says so.

    spec: one of known.NAMES (a name wins over a folder of that name: write ./digits for the folder), a folder
    with one sub-folder per class, or an .npz file with `x` uint8 (N, H, W) or (N, H, W, C) and `y` (N,).
    task: None leaves the images as they are. split: 'train' or 'test' of a known set; a folder or file is one
    split by itself. background: what the transparent pictures of a folder are seen on; None drops transparency.
    Raises DataError for what cannot be found or read, or does not fit the task; TaskError for a wrong task.
    """
    if split not in SPLITS:
        raise DataError(f"split '{split}' is unknown; use one of {', '.join(SPLITS)}")
    if task is not None:
        task = load_task(task)
    if background not in (None, "white", "black"):
        raise DataError(f"background '{str(background)[:40]}' is unknown; use white or black")
    if str(spec) in known.NAMES:
        _require_none(background, spec)
        return fit(known.load(str(spec), split), task)
    try:
        path = Path(spec).expanduser()
        if path.is_dir():
            return folder.load(path, task, background)
        if path.is_file() and path.suffix.lower() == ".npz":
            _require_none(background, spec)
            return fit(npz.load(path, None if task is None else task.classes), task, all_classes=False)
        present = path.exists()
    except (OSError, ValueError, RuntimeError) as fault:  # NUL in the name, too long, no permission, ~nobody
        raise DataError(
            f"'{_short(spec)}' cannot be opened ({getattr(fault, 'strerror', None) or type(fault).__name__})"
        ) from None
    if present:
        raise DataError(f"'{_short(spec)}' is neither a folder with one sub-folder per class nor an .npz file")
    raise DataError(
        f"'{_short(spec)}' is neither a known set nor an existing folder or .npz file. "
        f"{did_you_mean(str(spec), known.NAMES)}"
    )


def load_own_classes(
    spec: str | Path, shape: tuple[int, int, int], split: str = "test", background: Background | None = None
) -> ImageSet:
    """The set `spec` with the classes that it has, whatever they are, its images in the channels and size of `shape`.
    The rest as in `load_images`."""
    if str(spec) not in known.NAMES and Path(spec).expanduser().is_dir():
        names = survey(Path(spec).expanduser(), None).class_names
        scale = {"mean": (0.0,) * shape[0], "std": (1.0,) * shape[0]}
        return load_images(
            spec, ImageTask(shape=shape, classes=len(names), class_names=names, **scale), split, background
        )
    return fit_shape(load_images(spec, None, split, background), shape)


def holdout(data: ImageSet, n: int, seed: int) -> tuple[ImageSet, ImageSet]:
    """(rest, held): `n` images set apart at random, classes in the proportions of the whole.

    For choosing settings on training data. The same data, n and seed give the same split on every machine.
    Raises DataError unless 0 < n < len(data) and 0 <= seed < 2**32.
    """
    if not 0 < n < len(data):
        raise DataError(f"cannot hold out {n} of {len(data)} images; n must be from 1 to {len(data) - 1}")
    if not 0 <= seed < 2**32:
        raise DataError(f"seed must be from 0 to 2**32 - 1, got {seed}")
    rest, held = pick(data.labels, n, seed)
    return data.subset(rest, f"without {n} held out"), data.subset(held, f"{n} held out")


def _require_none(background: Background | None, spec: str | Path) -> None:
    if background is not None:
        raise DataError(f"'{_short(spec)}' has no transparency: a background is for image files in a folder")


def _short(spec: str | Path) -> str:
    text = "".join(letter if letter.isprintable() else "?" for letter in str(spec))
    return text if len(text) <= 200 else text[:197] + "..."
