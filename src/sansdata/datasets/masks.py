"""Images with a class for each pixel: three known sets, and .npz files.

Layout under SANSDATA_DATA:
- `seg_em/*.npz`, `seg_drive/*.npz`: x uint8 (N, H, W) or (N, H, W, C), y (N, H, W); the first two thirds of the images
  are for training;
- `seg_camvid/train_160x120.webp`, `val_160x120.webp`: tiles 160x120, 20 per row, row by row;
  `train_160x120_labels.npz`, `val_160x120_labels.npz`: y (N, 120, 160); class 11 is 'void' and does not count.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..arithmetic import ceil_div
from ..errors import DataError
from ..tasks import VOID, Task
from . import npz
from .fit import check_memory, to_channels
from .folder import Unreadable, decode
from .labelled import KindSet

NAMES = ("seg_em", "seg_camvid", "seg_drive")
UNCOUNTED = VOID
"""The class of pixels that are neither learnt nor scored."""
CAMVID_VOID, CAMVID_PER_ROW, CAMVID_SIZE = 11, 20, (120, 160)


@dataclass(frozen=True, eq=False)
class MaskSet:
    """images: uint8 (N, H, W, C), C 1 or 3. masks: uint8 (N, H, W), each a class 0..classes-1 or UNCOUNTED.

    source, notes: as in ImageSet. Raises DataError where the parts do not fit each other.
    """

    images: np.ndarray
    masks: np.ndarray
    classes: int
    source: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        images, masks = self.images, self.masks
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or images.size == 0:
            raise DataError(
                f"{self.source}: expected images uint8 (N, H, W, C) with 1 or 3 channels, got {images.dtype} "
                f"{images.shape}"
            )
        if masks.shape != images.shape[:3] or masks.dtype != np.uint8:
            raise DataError(f"{self.source}: images {images.shape}, but masks {masks.dtype} {masks.shape}")
        counted = masks[masks != UNCOUNTED]
        if counted.size == 0 or counted.max() >= self.classes or self.classes < 2:
            most = int(counted.max()) if counted.size else None
            raise DataError(f"{self.source}: expected 2 classes or more, 0..{self.classes - 1}; the highest is {most}")

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, index: np.ndarray | slice) -> MaskSet:
        return replace(self, images=self.images[index], masks=self.masks[index])


def load_masks(spec: str) -> tuple[MaskSet, MaskSet]:
    """(training, test) of one of NAMES, or of an .npz file with x uint8 (N, H, W) or (N, H, W, C) and y (N, H, W).

    A file's first two thirds are for training; 255 in its y does not count. Raises DataError.
    """
    if spec == "seg_camvid":
        folder = _folder(spec)
        return _camvid(folder, "train"), _camvid(folder, "val")
    return _thirds(_from_npz(_only_file(spec) if spec in NAMES else Path(spec), spec))


def load_mask_set(spec: str | Path, task: Task, split: str = "test") -> KindSet:
    """The set `spec` for a task of images and masks, cut into tiles of the task's size.

    spec: one of NAMES, of which `split` is 'train' or 'test'; or an .npz file as `load_masks` reads it, all of it.
    Raises DataError for what cannot be read, or has other classes than the task.
    """
    if split not in ("train", "test"):
        raise DataError(f"split '{split}' is unknown; use train or test")
    if str(spec) in NAMES:
        whole = load_masks(str(spec))[split == "test"]
    else:
        path = Path(spec).expanduser()
        if path.suffix.lower() != ".npz" or not path.is_file():
            raise DataError(
                f"'{str(spec)[:200]}': masks are read from {', '.join(NAMES)}, or an .npz file with x uint8 (N, H, W) "
                "or (N, H, W, C) and y (N, H, W)"
            )
        whole = _from_npz(path, str(path))
    cut = tiles(whole, task.shape, len(whole) * whole.images[0].size)
    if cut.classes > task.classes:
        raise DataError(f"{cut.source}: its masks have {cut.classes} classes and the task {task.classes}")
    if tuple(task.outputs.size) != task.shape[1:]:
        raise DataError(f"{cut.source}: its masks have the size of the images and the task's {list(task.outputs.size)}")
    packed = torch.from_numpy(np.ascontiguousarray(cut.images)).permute(0, 3, 1, 2).contiguous()
    return KindSet(task, packed, np.ascontiguousarray(cut.masks), task.class_names, cut.source, cut.notes)


def holds_masks(spec: str) -> bool:
    """Whether `spec` names a set, or an .npz file, with a class for each pixel. Raises DataError for a broken file."""
    path = Path(spec)
    return spec in NAMES or (path.suffix.lower() == ".npz" and path.is_file() and npz.read_array(path, "y").ndim == 3)


def _folder(name: str) -> Path:
    root = os.environ.get("SANSDATA_DATA")
    folder = Path(root or ".") / name
    if not root or not folder.is_dir():
        raise DataError(
            f"{name} is looked for in a folder of that name below SANSDATA_DATA ({root or 'not set'}), and is not "
            "there; give an .npz file with x uint8 (N, H, W) and y (N, H, W) instead"
        )
    return folder


def _only_file(name: str) -> Path:
    files = sorted(_folder(name).glob("*.npz"))
    if len(files) != 1:
        raise DataError(f"{_folder(name)}: expected one .npz file, found {len(files)}")
    return files[0]


def _from_npz(path: Path, source: str) -> MaskSet:
    images, masks = npz.read_array(path, "x"), npz.read_array(path, "y")
    if images.ndim == 3:
        images = images[..., None]
    return MaskSet(images, *_classes(masks, str(path)), source)


def _classes(masks: np.ndarray, where: str) -> tuple[np.ndarray, int]:
    if masks.dtype.kind not in "iub" or masks.ndim != 3 or masks.size == 0:
        raise DataError(f"{where}: 'y' must be whole numbers (N, H, W), got {masks.dtype} {masks.shape}")
    if masks.min() < 0 or masks.max() > UNCOUNTED:
        raise DataError(f"{where}: 'y' must be within 0..{UNCOUNTED}, got {masks.min()} to {masks.max()}")
    small = masks.astype(np.uint8)
    return small, int(small[small != UNCOUNTED].max(initial=0)) + 1


def _thirds(data: MaskSet) -> tuple[MaskSet, MaskSet]:
    """In order, not drawn: images that follow each other, as slices of a volume do, are alike."""
    cut = len(data) * 2 // 3
    if cut == 0 or cut == len(data):
        raise DataError(f"{data.source}: {len(data)} image(s); at least 2 are needed, to train and to test on")
    return data.subset(slice(None, cut)), data.subset(slice(cut, None))


def _camvid(folder: Path, split: str) -> MaskSet:
    stem, (height, width) = f"{split}_{CAMVID_SIZE[1]}x{CAMVID_SIZE[0]}", CAMVID_SIZE
    masks, _ = _classes(npz.read_array(folder / f"{stem}_labels.npz", "y"), str(folder / f"{stem}_labels.npz"))
    path = folder / f"{stem}.webp"
    try:
        sheet, _ = decode(path, None)
    except Unreadable as fault:
        raise DataError(f"{path}: {fault}") from None
    rows = ceil_div(len(masks), CAMVID_PER_ROW)
    if sheet.shape[:2] != (rows * height, CAMVID_PER_ROW * width):
        raise DataError(f"{path}: {sheet.shape[1]}x{sheet.shape[0]} pixels; not a sheet of {len(masks)} tiles 160x120")
    tiles = sheet.reshape(rows, height, CAMVID_PER_ROW, width, 3).swapaxes(1, 2).reshape(-1, height, width, 3)
    counted = np.where(masks == CAMVID_VOID, np.uint8(UNCOUNTED), masks)
    return MaskSet(tiles[: len(masks)], counted, CAMVID_VOID, f"seg_camvid ({split})", ("void pixels do not count",))


def tiles(data: MaskSet, shape: tuple[int, int, int], most: int) -> MaskSet:
    """`data` cut into tiles of shape (C, H, W), side by side from the top left, what is left over at the ends dropped.

    At most `most` tiles, evenly spread. Colour becomes grey, or grey three channels. Raises DataError where an image
    is smaller than a tile.
    """
    channels, height, width = shape
    count, high, wide, _ = data.images.shape
    down, across = high // height, wide // width
    if not down or not across:
        raise DataError(f"{data.source}: images of {high}x{wide} are smaller than the task's {height}x{width}")
    images, notes = data.images, list(data.notes)
    if images.shape[3] != channels:
        check_memory(count, (channels, high, wide), data.source)
        images = to_channels(images, channels)
        notes.append("colour to grey (ITU-R 601 luma)" if channels == 1 else "grey repeated to three channels")
    images = images[:, : down * height, : across * width].reshape(count, down, height, across, width, channels)
    masks = data.masks[:, : down * height, : across * width].reshape(count, down, height, across, width)
    images = images.swapaxes(2, 3).reshape(-1, height, width, channels)
    masks = masks.swapaxes(2, 3).reshape(-1, height, width)
    if (high, wide) != (height, width):
        notes.append(f"cut into {len(images):,} tiles of {height}x{width}")
    if len(images) > most:
        chosen = np.linspace(0, len(images) - 1, most).round().astype(np.int64)
        images, masks = images[chosen], masks[chosen]
        notes.append(f"{most:,} of them, evenly spread")
    return MaskSet(images, masks, data.classes, data.source, tuple(notes))
