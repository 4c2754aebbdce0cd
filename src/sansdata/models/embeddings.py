"""Class embeddings: vectors at right angles, or those of a file that is not trusted."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from ..errors import ConfigError, TeacherError
from .tensor_file import read_safetensors

NAME = "embeddings"
MAX_BYTES = 512 * 1024**2
"""Of the file, and of the array in it: 20,000 classes of 4,096 float32 numbers pass."""
_BROKEN = (OSError, ValueError, EOFError, RuntimeError, KeyError, zlib.error, zipfile.BadZipFile)
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


SIZE = 512
"""Of our own embeddings: that of CLIP's text embeddings, which the papers take; more where there are more classes."""


def class_embeddings(path: str | Path | None, classes: int, generator: torch.Generator) -> Tensor:
    """(classes, D) float32: those of a file, else `orthonormal` ones of SIZE numbers. Raises as `read_embeddings`."""
    if path is not None:
        return read_embeddings(path, classes)
    return orthonormal(classes, max(SIZE, classes), generator)


def orthonormal(classes: int, size: int, generator: torch.Generator) -> Tensor:
    """(classes, size) rows of length 1 at right angles, in random directions; size at least classes."""
    directions = torch.randn(size, classes, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(directions).Q.T.float().contiguous()


def read_embeddings(path: str | Path, classes: int) -> Tensor:
    """(classes, D) float32, row i of class i, from a .npz or .safetensors file with one array, or one 'embeddings'.

    Raises ConfigError for a file that cannot be read, another shape, numbers that are not finite, or equal rows.
    """
    path = Path(path)
    if path.suffix not in (".npz", ".safetensors"):
        raise ConfigError(f"{path}: expected class embeddings in a .npz or .safetensors file")
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as fault:
        raise ConfigError(f"{path}: cannot be read ({getattr(fault, 'strerror', None) or fault})") from None
    if size > MAX_BYTES or not path.is_file():
        raise ConfigError(f"{path}: {size:,} bytes, or no regular file; at most {MAX_BYTES:,} bytes are read")
    values = _from_npz(path) if path.suffix == ".npz" else _from_safetensors(path)
    return _checked(values, path, classes)


def _checked(values: Tensor, path: Path, classes: int) -> Tensor:
    shape = tuple(values.shape)
    if values.ndim != 2 or shape[0] != classes or shape[1] < 1:
        raise ConfigError(f"{path}: expected one row per class, ({classes}, D), got {shape}")
    if not values.is_floating_point():
        raise ConfigError(f"{path}: expected floating-point numbers, got {values.dtype}")
    values = values.float()
    if not bool(torch.isfinite(values).all()):
        raise ConfigError(f"{path}: holds numbers that are not finite in float32")
    if len(values.unique(dim=0)) < classes:
        raise ConfigError(f"{path}: two classes have the same embedding; the generator could not tell them apart")
    return values


def _only(names: list[str], path: Path) -> str:
    """The name to read where there are several."""
    if NAME in names or len(names) == 1:
        return NAME if NAME in names else names[0]
    have = ", ".join(sorted(name[:40] for name in names)[:20]) or "nothing"
    raise ConfigError(f"{path}: expected one array, or one named '{NAME}'; it has: {have}")


def _from_safetensors(path: Path) -> Tensor:
    try:
        tensors, _ = read_safetensors(path)
    except TeacherError as fault:
        raise ConfigError(str(fault)) from None
    return tensors[_only(list(tensors), path)]


def _from_npz(path: Path) -> Tensor:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            with archive.open(f"{_only(names, path)}.npy") as member:
                data = member.read(MAX_BYTES + 1)
        return _from_npy(data, path)
    except _BROKEN as fault:
        reason = " ".join(str(fault).split())[:200] or type(fault).__name__
        raise ConfigError(f"{path}: cannot be read as a .npz file ({reason})") from None


def _from_npy(data: bytes, path: Path) -> Tensor:
    """The array in the bytes of a .npy file, at most MAX_BYTES of them read."""
    file = io.BytesIO(data)
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ConfigError(f"{path}: .npy version {version[0]}.{version[1]}; save it again with numpy.savez")
    shape, by_columns, dtype = _HEADERS[version](file)
    if dtype.kind not in "fiu":
        raise ConfigError(f"{path}: holds {dtype}; expected floating-point numbers")
    body = data[file.tell() :]
    if len(data) > MAX_BYTES or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(body):
        raise ConfigError(f"{path}: its array is larger than {MAX_BYTES:,} bytes, or not as large as it says")
    values = np.frombuffer(body, dtype).reshape(shape, order="F" if by_columns else "C")
    if dtype.kind != "f":
        raise ConfigError(f"{path}: holds {dtype}; expected floating-point numbers")
    return torch.from_numpy(values.astype(np.float64))
