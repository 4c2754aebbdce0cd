"""Volumes in NIfTI-1 files, plain or gzipped, as CAMUS has them: the header's own sizes are checked before memory is
taken."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import read_regular

HEADER = 348
MAX_FILE_BYTES = 512 * 1024**2
MAX_VALUES = 2**28
TYPES = {2: np.uint8, 4: np.int16, 8: np.int32, 16: np.float32, 256: np.int8, 512: np.uint16}
"""Code in the header -> type of a value."""


def read_nifti(path: Path) -> np.ndarray:
    """The array in a .nii or .nii.gz file, its axes as they lie in it: x first. Raises DataError."""
    try:
        packed = read_regular(path, MAX_FILE_BYTES)
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) if packed[:2] == b"\x1f\x8b" else io.BytesIO(packed) as file:
            header = file.read(HEADER)
            shape, kind, start = _described(header, path)
            file.read(max(0, start - HEADER))
            content = file.read(int(np.prod(shape)) * kind.itemsize)
    except (OSError, EOFError, ValueError, zlib.error) as fault:
        raise DataError(f"{path}: cannot be read ({str(fault)[:80]})") from None
    if len(content) < int(np.prod(shape)) * kind.itemsize:
        raise DataError(f"{path}: ends before its last value")
    return np.frombuffer(content, kind).reshape(shape, order="F")


def _described(header: bytes, path: Path) -> tuple[tuple[int, ...], np.dtype, int]:
    """(shape, type, where the values begin)."""
    if len(header) < HEADER or header[344:347] not in (b"n+1", b"ni1"):
        raise DataError(f"{path}: no NIfTI-1 file; convert the volume to one (.nii or .nii.gz)")
    order = "<" if struct.unpack_from("<i", header)[0] == HEADER else ">"
    count, *sizes = struct.unpack_from(f"{order}8h", header, 40)
    code, start = struct.unpack_from(f"{order}h", header, 70)[0], struct.unpack_from(f"{order}f", header, 108)[0]
    shape = tuple(sizes[:count]) if 1 <= count <= 7 else ()
    if not shape or min(shape) < 1 or code not in TYPES or not HEADER <= start <= MAX_FILE_BYTES:
        raise DataError(f"{path}: sizes {sizes}, type {code}: expected a plain volume")
    if int(np.prod([int(size) for size in shape])) > MAX_VALUES:
        raise DataError(f"{path}: {shape} values, more than {MAX_VALUES:,}")
    return shape, np.dtype(TYPES[code]).newbyteorder(order), int(start)
