"""Reading safetensors files from anyone: the header is judged before a byte of tensors is read."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
from torch import Tensor

from ..errors import TeacherError, UnsafeFileError
from .limits import MAX_ELEMENTS, MAX_FILE_BYTES, MAX_HEADER_BYTES, MAX_METADATA_BYTES, MAX_TENSORS

ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "F64": 8, "C64": 8, "U64": 8,
}  # fmt: skip


def open_size(path: str | Path) -> int:
    """The size of a file that can be read and is within limits. Raises TeacherError."""
    path = Path(path)
    try:
        if path.is_dir():
            raise TeacherError(f"{path}: is a folder; expected a file of weights")
        if path.exists() and not path.is_file():
            raise TeacherError(f"{path}: is no regular file; expected a file of weights")
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or str(fault)
        raise TeacherError(f"{path}: cannot be read ({reason})") from None
    if size == 0:
        raise TeacherError(f"{path}: is empty (0 bytes); copy it again")
    if size > MAX_FILE_BYTES:
        raise TeacherError(f"{path}: {size:,} bytes, more than the {MAX_FILE_BYTES:,} this version reads")
    return size


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors on the CPU, metadata). Raises TeacherError for a file that cannot be read or is cut,
    UnsafeFileError for one that lies about its contents."""
    path = Path(path)
    _, metadata = _judged(path, open_size(path))
    try:
        with safetensors.safe_open(str(path), framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118 - not a dict
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError, AttributeError) as fault:
        raise UnsafeFileError(f"{path}: not a valid safetensors file ({str(fault)[:200]})") from None


def read_metadata(path: str | Path) -> dict[str, str]:
    """Only the metadata of a safetensors file; raises as read_safetensors."""
    return _judged(Path(path), open_size(path))[1]


def has_key(path: Path, key: str) -> bool:
    """Whether a path is a safetensors file with `key` in its metadata; nothing else is judged yet."""
    if path.suffix.lower() != ".safetensors" or not os.path.isfile(path):
        return False
    try:
        return key in read_metadata(path)
    except TeacherError:  # said where the file is read
        return False


def count_elements(path: str | Path) -> int:
    """The numbers in a safetensors file, by its header; raises as read_safetensors."""
    path = Path(path)
    header, _ = _judged(path, open_size(path))
    return sum(math.prod(entry["shape"]) for entry in header.values())


def _judged(path: Path, size: int) -> tuple[dict[str, Any], dict[str, str]]:
    """(the entries of the tensors, the metadata), once length, JSON, names, shapes and offsets are judged."""
    with open(path, "rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8:
            raise TeacherError(f"{path}: {size} bytes only; the file is truncated. Copy it again")
        if length > MAX_HEADER_BYTES:
            raise UnsafeFileError(
                f"{path}: says its header has {length:,} bytes, more than {MAX_HEADER_BYTES:,}; this is no safetensors "
                "file"
            )
        if length > size - 8:
            raise TeacherError(
                f"{path}: its header of {length:,} bytes does not fit in {size:,}; the file is truncated"
            )
        raw = file.read(length)
    header = _parse(path, raw)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise UnsafeFileError(f"{path}: its metadata must be text by name")
    if sum(map(len, metadata.values())) > MAX_METADATA_BYTES:
        raise UnsafeFileError(f"{path}: more than {MAX_METADATA_BYTES:,} bytes of metadata")
    _check_tensors(path, header, size - 8 - length)
    return header, metadata


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) != len(pairs):  # which one counts would depend on the reader
            raise UnsafeFileError(f"{path}: its header names something twice")
        return fields

    if raw[:1] != b"{":
        raise UnsafeFileError(f"{path}: its header does not begin with '{{'; this is no safetensors file")
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=once)
    except UnicodeDecodeError:
        raise UnsafeFileError(f"{path}: its header is no UTF-8 text") from None
    except (ValueError, RecursionError) as fault:
        raise UnsafeFileError(f"{path}: its header is no valid JSON ({str(fault)[:100]})") from None


def _check_tensors(path: Path, header: Mapping[str, Any], room: int) -> None:
    if not header:
        raise TeacherError(f"{path}: holds no tensors")
    if len(header) > MAX_TENSORS:
        raise UnsafeFileError(f"{path}: {len(header):,} tensors, more than {MAX_TENSORS:,}")
    spans, elements = [], 0
    for name, entry in header.items():
        where = f"{path}: tensor '{name[:100]}'"
        fields: Mapping[str, Any] = entry if isinstance(entry, dict) else {}
        dtype, shape, offsets = fields.get("dtype"), _naturals(fields, "shape"), _naturals(fields, "data_offsets")
        if shape is None or offsets is None or len(offsets) != 2:
            raise UnsafeFileError(f"{where}: shape and data_offsets must be lists of numbers from 0")
        if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
            raise UnsafeFileError(f"{where}: type {str(dtype)[:40]!r} is unknown. Known: {', '.join(ITEM_BYTES)}")
        count = math.prod(shape)
        elements += count
        if count > MAX_ELEMENTS or elements > MAX_ELEMENTS:
            raise UnsafeFileError(f"{where}: shape {shape[:8]} brings the file over {MAX_ELEMENTS:,} elements")
        if offsets[1] - offsets[0] != count * ITEM_BYTES[dtype]:
            raise UnsafeFileError(
                f"{where}: shape {shape[:8]} of {dtype} needs {count * ITEM_BYTES[dtype]:,} bytes, its offsets give "
                f"{offsets[1] - offsets[0]:,}"
            )
        spans.append((offsets[0], offsets[1]))
    end = 0
    for first, last in sorted(spans):
        if first != end:
            raise UnsafeFileError(
                f"{path}: its tensors {'overlap' if first < end else 'leave a hole'} at byte {first:,}"
            )
        end = last
    if end > room:
        raise TeacherError(f"{path}: {end:,} bytes of tensors announced and {room:,} there; the file is truncated")
    if end < room:
        raise UnsafeFileError(f"{path}: {room - end:,} bytes after the last tensor that nothing names")


def _naturals(fields: Mapping[str, Any], name: str) -> list[int] | None:
    """A list of at most 64 whole numbers from 0, None where it is anything else."""
    value = fields.get(name)
    good = isinstance(value, list) and len(value) <= 64 and all(type(v) is int and v >= 0 for v in value)
    return value if good else None
