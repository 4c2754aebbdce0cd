"""Images that the user gives instead of a generator: unrelated to the teacher's data, without labels (`--pool`)."""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..decoding.arrays import read_images
from ..decoding.images import Unreadable, decode, require_size
from ..decoding.limits import IMAGE_SUFFIXES, MAX_POOL_SKIPPED_SHARE, MAX_SET_BYTES
from ..decoding.shape import resize, to_channels
from ..errors import DataError
from ..files import sha256
from . import pixels

NAMED = 3
"""Skipped files that are named one by one."""


@dataclass(frozen=True, eq=False)
class ImagePool:
    """Unlabelled images of one shape in memory, in an order that depends on nothing but their names.

    images: uint8 (N, C, H, W). files: images that were found. skipped: those that could not be read.
    sha256: over names and bytes of all that was read. size: bytes on disk. notes: what was done, in plain words.
    """

    path: Path
    images: Tensor
    files: int
    skipped: int
    sha256: str
    size: int
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def at(self, ids: Tensor) -> Tensor:
        """The images at ids (B,) in unit space, (B, C, H, W) float32."""
        return pixels.unpack(self.images[ids])

    def describe(self) -> dict[str, Any]:
        """What manifest, ledger and report say of it."""
        return {
            "path": str(self.path), "images": len(self), "files": self.files, "skipped": self.skipped,
            "sha256": self.sha256, "bytes": self.size,
        }  # fmt: skip


def load_pool(path: str | Path, shape: tuple[int, int, int]) -> ImagePool:
    """Every image below the folder `path`, or the array `x` of an .npz file, as the task's shape (C, H, W).

    Links are not followed, and files that cannot be read are skipped and counted, both up to MAX_POOL_SKIPPED_SHARE.
    Images are squeezed to the shape (bilinear), not cropped. Raises DataError where nothing is found, too much is
    broken, or the images are more than memory is given to them (MAX_SET_BYTES).
    """
    try:
        root = Path(path).expanduser().resolve()
        if root.is_dir():
            return _from_folder(root, shape)
        if root.is_file() and root.suffix.lower() == ".npz":
            return _from_archive(root, shape)
        present = root.exists()
    except (OSError, ValueError, RuntimeError) as fault:  # NUL in the name, too long, no permission, ~nobody
        reason = getattr(fault, "strerror", None) or type(fault).__name__
        raise DataError(f"--pool {str(path)[:200]!r} cannot be opened ({reason})") from None
    what = "is neither a folder nor an .npz file" if present else "does not exist"
    raise DataError(f"--pool {str(path)[:200]!r} {what}; give a folder of image files, or an .npz file with 'x'")


def _from_folder(root: Path, shape: tuple[int, int, int]) -> ImagePool:
    paths = sorted(_image_files(root), key=lambda path: path.relative_to(root).as_posix())
    if not paths:
        raise DataError(f"--pool {root}: no image files ({', '.join(IMAGE_SUFFIXES)}) in it or below")
    channels, height, width = shape
    _require_room(len(paths), shape, root)
    images = np.empty((len(paths), channels, height, width), np.uint8)
    digest, size, kept = hashlib.sha256(), 0, 0
    remarks: Counter[str] = Counter()
    skipped: list[str] = []
    for path in paths:
        name = path.relative_to(root).as_posix()
        try:
            data = _bytes_of(path)
            picture, own = decode(io.BytesIO(data), shape)
        except (Unreadable, OSError) as fault:
            skipped.append(f"{_shown(name)}: {fault if isinstance(fault, Unreadable) else fault.strerror}")
            continue
        images[kept] = picture.transpose(2, 0, 1)
        digest.update(f"{len(name)} {name} {len(data)} ".encode(errors="surrogateescape") + data)
        size, kept = size + len(data), kept + 1
        remarks.update(own)
    _require_enough(root, skipped, len(paths))
    notes = [f"pool: {n} of {len(paths)} images: {what}" for what, n in sorted(remarks.items())]
    if skipped:
        notes.append(f"pool: {len(skipped)} of {len(paths)} files skipped: " + "; ".join(skipped[:NAMED]))
    pixels = torch.from_numpy(images[:kept])
    return ImagePool(root, pixels, len(paths), len(skipped), digest.hexdigest(), size, tuple(notes))


def _shown(name: str) -> str:
    """A file's name as a note may carry it."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in name)
    return plain if len(plain) <= 100 else "..." + plain[-97:]


def _image_files(root: Path) -> Iterator[Path]:
    """Files named like images, at any depth; hidden ones and what lies behind linked folders apart."""

    def fail(fault: OSError) -> None:
        raise DataError(f"--pool: {fault.filename} cannot be listed ({fault.strerror})")

    for folder, below, names in os.walk(root, onerror=fail):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in names:
            if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith("."):
                yield Path(folder, name)


def _bytes_of(path: Path) -> bytes:
    """The whole file. Raises Unreadable for what is no plain file of a sensible size."""
    if path.is_symlink():
        raise Unreadable("a link, which is not followed")
    if not path.is_file():  # a pipe named like an image would block for ever
        raise Unreadable("no plain file")
    require_size(path)
    return path.read_bytes()


def _from_archive(path: Path, shape: tuple[int, int, int]) -> ImagePool:
    images, notes = read_images(path), []
    if not len(images):
        raise DataError(f"--pool {path}: 'x' has no images")
    channels, height, width = shape
    _require_room(len(images), shape, path)
    if images.shape[3] != channels:
        images = to_channels(images, channels)
        notes.append("pool: colour to grey (ITU-R 601 luma)" if channels == 1 else "pool: grey repeated to colour")
    if images.shape[1:3] != (height, width):
        notes.append(f"pool: resized from {images.shape[1]}x{images.shape[2]} to {height}x{width} (bilinear)")
        images = resize(images, height, width)
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return ImagePool(path, pixels, len(pixels), 0, sha256(path), path.stat().st_size, tuple(notes))


def _require_room(count: int, shape: tuple[int, int, int], root: Path) -> None:
    need = count * shape[0] * shape[1] * shape[2]
    if need > MAX_SET_BYTES:
        raise DataError(
            f"--pool {root}: {count:,} images of {shape[1]}x{shape[2]}x{shape[0]} take {need / 2**30:.1f} GiB; at most "
            f"{MAX_SET_BYTES / 2**30:.0f} GiB is kept in memory. Give a folder with fewer images"
        )


def _require_enough(root: Path, skipped: list[str], files: int) -> None:
    if len(skipped) > MAX_POOL_SKIPPED_SHARE * files:
        raise DataError(
            f"--pool {root}: {len(skipped)} of {files} image files cannot be read, more than "
            f"{MAX_POOL_SKIPPED_SHARE:.0%}: " + "; ".join(skipped[:NAMED])
        )
