"""The weights in a program of torch.export (.pt2), without the program.

torch.export.load is not for strangers' files: where its safe reader fails it unpickles without one, and it evaluates
text of the file as expressions. The weights are plain bytes beside a JSON that describes them, and only these are read.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import TeacherError, UnsafeFileError
from ..files import parse_json
from .limits import MAX_PICKLE_BYTES, MAX_TENSORS
from .tensor_file import open_size
from .torch_file import judge_end, judge_parts, stored_bytes

CONFIGS = ("data/weights/", "_weights_config.json")
"""Where the description of the weights begins and ends below the archive's own folder."""
DTYPES: dict[int, Any] = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16, 7: torch.float32,
    8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
"""torch's numbers for types in exported programs (torch._export.serde.schema.ScalarType)."""
MAX_AXES = 16


def read_pt2(path: Path) -> dict[str, Tensor]:
    """Name -> tensor of every weight. Raises TeacherError for a file that is missing or damaged, UnsafeFileError for
    one without weights, one that lies, or one whose weights would have to be unpickled."""
    size = open_size(path)
    try:
        with open(path, "rb") as file:
            judge_end(path, file, size)
            file.seek(0)
            with zipfile.ZipFile(file) as archive:
                return _tensors(path, archive, size)
    except TeacherError:
        raise
    except Exception as fault:  # a broken archive, JSON of another shape
        raise UnsafeFileError(f"{path}: no program of torch.export that can be read ({str(fault)[:200]})") from None


def _tensors(path: Path, archive: zipfile.ZipFile, size: int) -> dict[str, Tensor]:
    parts = {entry.filename: entry for entry in archive.infolist()}
    judge_parts(path, archive.infolist(), size, archive.namelist())
    configs = [name for name in parts if CONFIGS[0] in name and name.endswith(CONFIGS[1])]
    if len(configs) != 1:
        raise UnsafeFileError(f"{path}: a program of torch.export with {len(configs)} sets of weights; expected one")
    if parts[configs[0]].file_size > MAX_PICKLE_BYTES:
        raise UnsafeFileError(f"{path}: the description of its weights has {parts[configs[0]].file_size:,} bytes")
    entries = _entries(parse_json(stored_bytes(archive, parts[configs[0]]).numpy().tobytes()), path)
    folder = configs[0].rpartition("/")[0]
    tensors = {}
    for name, entry in entries.items():
        stored = _Stored(entry, path, name)
        part = parts.get(f"{folder}/{stored.file}")
        if part is None or part.file_size != stored.bytes:
            raise UnsafeFileError(f"{path}: '{name[:60]}' should have {stored.bytes:,} bytes, and has others")
        tensors[name] = stored.tensor(stored_bytes(archive, part))
    return tensors


def _entries(tree: Any, path: Path) -> dict[str, Any]:
    config = tree.get("config") if isinstance(tree, dict) else None
    if not isinstance(config, dict) or not config or len(config) > MAX_TENSORS:
        raise UnsafeFileError(f"{path}: its description names no weights")
    return config


class _Stored:
    """A tensor as it lies in the file: where, of what type, sizes and strides."""

    def __init__(self, entry: Any, path: Path, name: str) -> None:
        self.file = str(entry["path_name"])
        if entry.get("use_pickle"):
            raise UnsafeFileError(f"{path}: '{name[:60]}' would have to be unpickled, which runs code")
        meta = entry["tensor_meta"]
        if meta["dtype"] not in DTYPES or "/" in self.file or "\\" in self.file:
            raise UnsafeFileError(f"{path}: '{name[:60]}' is of a type, or in a place, that is not read")
        self.dtype = DTYPES[meta["dtype"]]
        self.sizes, self.strides = ([_whole(one) for one in meta[field]] for field in ("sizes", "strides"))
        self.offset = _whole(meta["storage_offset"])
        if len(self.sizes) != len(self.strides) or len(self.sizes) > MAX_AXES:
            raise UnsafeFileError(f"{path}: '{name[:60]}' has {len(self.sizes)} sizes and {len(self.strides)} strides")
        reach = sum((size - 1) * stride for size, stride in zip(self.sizes, self.strides))
        self.stored = self.offset + reach + 1 if math.prod(self.sizes) else self.offset
        if math.prod(self.sizes) > max(self.stored, 1):
            raise UnsafeFileError(f"{path}: '{name[:60]}' repeats few numbers to many")
        self.bytes = self.stored * self.dtype.itemsize

    def tensor(self, data: Tensor) -> Tensor:
        """data: uint8 (bytes,)."""
        if not self.stored:
            return torch.empty(self.sizes, dtype=self.dtype)
        return data.view(self.dtype).as_strided(self.sizes, self.strides, self.offset).contiguous()


def _whole(entry: Any) -> int:
    """A size that is written as a number, and no expression."""
    value = entry["as_int"]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**40:
        raise ValueError("a size that is no number")
    return value
