"""Sets known by name: scikit-learn's digits, and those under SANSDATA_DATA or downloaded by torchvision.

Layout under SANSDATA_DATA, a folder per set (mnist, fashion_mnist, cifar10, cifar100, pneumoniamnist), in one
of three forms:
- `train.npz`, `test.npz`: x uint8 (N, H, W) or (N, H, W, C), y (N,);
- MedMNIST's own file, named like the folder: `train_images`, `train_labels`, and the same of `test`, or else of `val`;
- lossless sheets `train_00.webp`, ..., `test_00.webp`: 32x32 tiles, 50 per row, row by row; `labels.npz`
  with an array per sheet, named like it; `classes.txt` with a name per line.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..files import cache_root
from ..tasks import KNOWN_TASKS
from . import npz
from .fit import numbers
from .folder import Unreadable, decode
from .imageset import ImageSet, pick

_TORCHVISION = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}
_MEDMNIST = ("pneumoniamnist",)
NAMES = ("digits", *_TORCHVISION, *_MEDMNIST)
TILE, PER_ROW = 32, 50
DIGITS_TEST = 450


def load(name: str, split: str) -> ImageSet:
    """The set `name` (one of NAMES). Raises DataError where it is not here and cannot be fetched."""
    if name == "digits":
        return _digits(split)
    root = os.environ.get("SANSDATA_DATA")
    folder = Path(root) / name.replace("-", "_") if root else None
    if folder is not None and folder.is_dir():
        return _medical(name, folder, split) if name in _MEDMNIST else _read(name, folder, split)
    return _download(name, split)


def _digits(split: str) -> ImageSet:
    """scikit-learn's 1,797 images of 8x8 in 17 grey levels; 450, drawn by class with seed 0, are for testing."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    labels = np.asarray(labels, dtype=np.int64)
    images = np.rint(np.asarray(pixels) * 255 / 16).astype(np.uint8).reshape(-1, 8, 8, 1)
    rest, test = pick(labels, DIGITS_TEST, seed=0)
    whole = ImageSet(images, labels, numbers(10), f"digits ({split}, scikit-learn)")
    kind = "held-out" if split == "test" else "training"
    index = test if split == "test" else rest
    return whole.subset(index, f"the {len(index):,} {kind} images of a fixed split by class (seed 0)")


def _read(name: str, folder: Path, split: str) -> ImageSet:
    source = f"{name} ({split})"
    classes = KNOWN_TASKS[name].classes
    if (folder / f"{split}.npz").is_file():
        data = npz.load(folder / f"{split}.npz")
        images, labels = data.images, data.labels
    else:
        images, labels = _sheets(folder, split)
    official = _official_size(name, split)
    notes = () if len(images) == official else (f"{len(images):,} of the {official:,} official {split} images",)
    return ImageSet(images, labels, _names(name, folder, classes), source, notes)


def _medical(name: str, folder: Path, split: str) -> ImageSet:
    """A set of MedMNIST. Where its test part is not at hand the validation part stands for it, and a note says so."""
    file, part, notes = folder / f"{folder.name}.npz", split, ()
    if not file.is_file():
        raise DataError(f"{folder}: expected MedMNIST's file {file.name}; it is not there")
    try:
        labels = npz.read_array(file, f"{part}_labels")
    except DataError:
        if split == "train":
            raise
        part, notes = "val", ("the official validation images stand for those of the test",)
        labels = npz.read_array(file, "val_labels")
    numbered = npz.whole_numbers(labels, f"{file}: '{part}_labels'")
    images = npz.read_images(file, f"{part}_images")
    return ImageSet(images, numbered, _names(name, folder, KNOWN_TASKS[name].classes), f"{name} ({split})", notes)


def _official_size(name: str, split: str) -> int:
    return 10_000 if split == "test" else 50_000 if name.startswith("cifar") else 60_000


def _names(name: str, folder: Path, classes: int) -> tuple[str, ...]:
    known = KNOWN_TASKS[name].class_names
    listing = folder / "classes.txt"
    if known or not listing.is_file():
        return known or numbers(classes)
    names = tuple(listing.read_text(encoding="utf-8").split())
    if len(names) != classes:
        raise DataError(f"{listing}: {len(names)} names for the {classes} classes of {name}")
    return names


def _sheets(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    paths = sorted(folder.glob(f"{split}_*.webp"))
    if not paths:
        raise DataError(f"{folder}: expected {split}.npz or sheets {split}_00.webp, ...; found neither")
    images, labels = [], []
    for path in paths:
        own = npz.whole_numbers(npz.read_array(folder / "labels.npz", path.stem), f"{path.stem} in labels.npz")
        images.append(cut(path, len(own)))
        labels.append(own)
    return np.concatenate(images), np.concatenate(labels)


def cut(path: Path, count: int) -> np.ndarray:
    """The first `count` tiles of a sheet, uint8 (count, 32, 32, 3). Raises DataError."""
    try:
        sheet, _ = decode(path, None)
    except Unreadable as fault:
        raise DataError(f"{path}: {fault}") from None
    rows = sheet.shape[0] // TILE
    if sheet.shape[0] % TILE or sheet.shape[1] != PER_ROW * TILE or not (rows - 1) * PER_ROW < count <= rows * PER_ROW:
        raise DataError(
            f"{path}: {sheet.shape[1]}x{sheet.shape[0]} pixels; not a sheet of {count:,} tiles 32x32, 50 per row"
        )
    tiles = sheet.reshape(rows, TILE, PER_ROW, TILE, 3).swapaxes(1, 2)
    return tiles.reshape(-1, TILE, TILE, 3)[:count]


def _download(name: str, split: str) -> ImageSet:
    if name in _MEDMNIST:
        raise DataError(
            f"{name} is not on this machine. Set SANSDATA_DATA to a folder with {name}/{name}.npz as MedMNIST gives "
            "it, or give an .npz file of your own"
        )
    try:
        import torchvision.datasets as sets  # pyright: ignore[reportMissingImports]
    except (
        ImportError,
        RuntimeError,
        OSError,
    ) as fault:  # a torchvision built for another torch raises the latter two
        raise DataError(_advice(name, f"torchvision cannot be imported: {fault}")) from None
    root = cache_root()
    try:
        source: Any = getattr(sets, _TORCHVISION[name])(root=str(root), train=split == "train", download=True)
    except Exception as fault:  # no network, no disk, a broken download: each library below has its own error
        raise DataError(_advice(name, f"torchvision could not download it: {fault}")) from None
    images = np.asarray(source.data, dtype=np.uint8)
    images = images[..., None] if images.ndim == 3 else images
    labels = np.asarray(source.targets, dtype=np.int64)
    names = KNOWN_TASKS[name].class_names or tuple(source.classes)
    data = ImageSet(images, labels, names, f"{name} ({split})")
    return replace(data, notes=(f"downloaded by torchvision to {root}",))


def _advice(name: str, reason: str) -> str:
    folder = name.replace("-", "_")
    return (
        f"{name} is not on this machine ({' '.join(reason.split())[:200]}). Set SANSDATA_DATA to a folder with "
        f"{folder}/train.npz and {folder}/test.npz (x uint8, y); or install torchvision with a network; "
        "or give a folder with one sub-folder per class, or an .npz file"
    )
