"""Class embeddings: vectors at right angles, or those of a file that is not trusted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..decoding.arrays import listed, name_in, read_array
from ..errors import ConfigError, DataError, TeacherError
from .tensor_file import read_safetensors

NAME = "embeddings"
MAX_BYTES = 512 * 1024**2
"""Of the file, and of the array in it: 20,000 classes of 4,096 float32 numbers pass."""
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


def _from_safetensors(path: Path) -> Tensor:
    try:
        tensors, _ = read_safetensors(path)
    except TeacherError as fault:
        raise ConfigError(str(fault)) from None
    if NAME not in tensors and len(tensors) != 1:
        raise ConfigError(f"{path}: expected one array, or one named '{NAME}'; it has: {listed(list(tensors))}")
    return tensors.get(NAME, next(iter(tensors.values())))


def _from_npz(path: Path) -> Tensor:
    try:
        values = read_array(path, name_in(path, NAME), MAX_BYTES)
    except DataError as fault:
        raise ConfigError(str(fault)) from None
    if values.dtype.kind != "f":
        raise ConfigError(f"{path}: holds {values.dtype}; expected floating-point numbers")
    return torch.from_numpy(values.astype(np.float64))
