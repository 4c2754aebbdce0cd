"""Reading weights from anyone: safetensors, and PyTorch's own files without ever running the code in them.

Before torch reads a .pt file its parts are judged here: the archive's directory, then every instruction of its pickle
against a list of what a plain dict of tensors needs. `torch.load(weights_only=True)` (torch >= 2.6) is the second wall.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ..errors import TeacherError, UnsafeFileError
from ..models.limits import (
    MAX_DIRECTORY_BYTES,
    MAX_ELEMENTS,
    MAX_PICKLE_BYTES,
    MAX_PICKLE_OPERATIONS,
    MAX_TENSORS,
)  # fmt: skip
from ..models.tensor_file import open_size, read_safetensors

WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "model_ema",
    "ema",
)
PREFIXES = ("module.", "_orig_mod.")
END_BYTES = 22 + 65535 + 20
"""The most that a zip archive's end takes: end record, comment, ZIP64 locator."""
RESAVE = "Save the weights alone and give that file: torch.save(model.state_dict(), 'weights.pt')."

LEGACY_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"
"""The first of the pickles in PyTorch's format before 1.6."""

FOREIGN = {
    b"\x89HDF": "an HDF5 file (Keras)",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"Rar!": "a RAR archive",
    b"\x93NUMPY": "a NumPy array",
    b"GGUF": "a GGUF file",
    b"<": "an HTML or XML page; the download went wrong",
    b"{": "JSON text",
    b"version https://git-lfs": "a Git LFS pointer; run git lfs pull",
}

DTYPES = (
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
    "complex64", "complex128", "float8_e4m3fn", "float8_e5m2",
)  # fmt: skip
STORAGES = (
    "Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool",
    "ComplexFloat", "ComplexDouble",
)  # fmt: skip
ALLOWED = frozenset(
    [
        "collections OrderedDict",
        "torch Size",
        "torch device",
        "torch.nn.parameter Parameter",
        "torch.storage UntypedStorage",
        "torch._utils _rebuild_tensor",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        *(f"torch {name}" for name in DTYPES),
        *(f"torch {name}Storage" for name in STORAGES),
    ]
)
"""All that a dict of tensors needs; torch's own list for weights_only is longer."""
REFUSED_OPERATIONS = frozenset(
    (
        "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "NEXT_BUFFER",
        "READONLY_BUFFER",
    )
)  # fmt: skip


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a file: name -> tensor on the CPU, out of its wrapper and without DataParallel's prefixes.

    Formats: .safetensors; .pt, .pth, .th, .pth.tar, .bin of torch.save. Raises TeacherError for a file that is missing,
    cut, holds no tensors or weights that are not finite; UnsafeFileError for one that would have to run code, or lies.
    """
    path = Path(path)
    size = open_size(path)
    if path.suffix.lower() == ".safetensors":
        found: Any = read_safetensors(path)[0]
    else:
        _judge(path, size)
        found = _torch_load(path)
    tensors = _state_dict(path, found)
    _check_tensors(path, tensors, size)
    return tensors


def _judge(path: Path, size: int) -> None:
    """Refuses what is no plain PyTorch file before anything decodes it."""
    with open(path, "rb") as file:
        start = file.read(300)
        if start.startswith(b"PK"):
            _judge_archive(path, file, size)
        elif start.startswith(LEGACY_MAGIC):
            file.seek(0)
            _judge_pickles(path, file.read(MAX_PICKLE_BYTES), size, count=5, partial=size > MAX_PICKLE_BYTES)
        elif LEGACY_MAGIC.startswith(start):
            raise TeacherError(f"{path}: {size} bytes only; the file is truncated. Copy it again")
        else:
            raise UnsafeFileError(
                f"{path}: {_what_is(start)}. Expected a safetensors file or one of torch.save. {RESAVE}"
            )


def _what_is(start: bytes) -> str:
    for magic, name in FOREIGN.items():
        if start.startswith(magic):
            return f"this is {name}"
    if start[257:262] == b"ustar":
        return "this is a tar archive, PyTorch's format of before 2018, which cannot be read without running code"
    if start[:1] == b"\x80":
        return "this is a plain pickle, which cannot be read without running code"
    if re.match(rb"[\(\]\}cI-]", start) and b"\n" in start:
        return "this looks like a text pickle, which cannot be read without running code"
    return f"not a format of weights we know (it begins with {start[:8]!r})"


# -- the two kinds of torch.save


def _judge_archive(path: Path, file: BinaryIO, size: int) -> None:
    _judge_end(path, file, size)
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            _judge_entries(path, entries, size)
            pickles = [e for e in entries if e.filename.endswith("/data.pkl") and e.filename.count("/") == 1]
            if len(pickles) != 1:
                raise UnsafeFileError(
                    f"{path}: a zip archive, but not one of torch.save (no single data.pkl in it). {RESAVE}"
                )
            if pickles[0].file_size > MAX_PICKLE_BYTES:
                raise UnsafeFileError(
                    f"{path}: {pickles[0].file_size:,} bytes of pickle, more than {MAX_PICKLE_BYTES:,}"
                )
            with archive.open(pickles[0]) as part:
                content = part.read(MAX_PICKLE_BYTES)
    except zipfile.BadZipFile as fault:
        raise TeacherError(f"{path}: a damaged or truncated PyTorch file ({fault}). Copy it again") from None
    # NotImplementedError is zipfile's word for a compression that it does not know.
    except (NotImplementedError, RuntimeError, ValueError, OSError, EOFError, struct.error, UnicodeError) as fault:
        raise UnsafeFileError(f"{path}: an archive that cannot be read ({str(fault)[:200]})") from None
    _judge_pickles(path, content, size, count=1)


def _judge_end(path: Path, file: BinaryIO, size: int) -> None:
    """Accepts one table of contents that ends where the archive's end record begins, and nothing behind it.

    Python's and torch's zip readers could otherwise be led to different tables: one judged, the other used.
    """
    tail = min(size, END_BYTES)
    file.seek(size - tail)
    end = file.read(tail)
    if not end[-22:].startswith(b"PK\x05\x06"):
        if b"PK\x05\x06" in end:
            raise UnsafeFileError(f"{path}: an archive with something behind its end")
        raise TeacherError(
            f"{path}: a damaged or truncated PyTorch file (its table of contents is gone). Copy it again"
        )
    length, start = struct.unpack("<II", end[-10:-2])
    finish = size - 22
    if end[-42:-38] == b"PK\x06\x07":  # ZIP64, as torch writes: a longer record with the same fields before this one
        finish = int.from_bytes(end[-34:-26], "little")
        file.seek(min(size, finish))
        record = file.read(56)
        long_length, long_start = struct.unpack("<QQ", record[40:56]) if len(record) == 56 else (0, 0)
        known = length in (long_length, 0xFFFFFFFF) and start in (long_start, 0xFFFFFFFF)
        if not known or record[:4] != b"PK\x06\x06" or finish + 56 != size - 42:
            raise UnsafeFileError(f"{path}: an archive with two tables of contents that differ")
        length, start = long_length, long_start
    if start + length != finish:
        raise UnsafeFileError(f"{path}: an archive whose table of contents is not where it should be")
    if length > MAX_DIRECTORY_BYTES:
        raise UnsafeFileError(f"{path}: its table of contents is larger than {MAX_DIRECTORY_BYTES:,} bytes")


def _judge_entries(path: Path, entries: list[zipfile.ZipInfo], size: int) -> None:
    names = [entry.filename for entry in entries]
    if any("/code/" in name or name.endswith(("/constants.pkl", "bytecode.pkl")) for name in names):
        raise UnsafeFileError(f"{path}: a TorchScript archive; it carries code and its layers cannot be read. {RESAVE}")
    if any("exported_program" in name or "/models/" in name for name in names):
        raise UnsafeFileError(f"{path}: a torch.export program (.pt2), not weights. {RESAVE}")
    if any(name.endswith(".npy") for name in names):
        raise UnsafeFileError(f"{path}: a NumPy archive (.npz), not weights of PyTorch. {RESAVE}")
    if len(set(names)) != len(names):
        raise UnsafeFileError(f"{path}: an archive that holds one name twice")
    for name in names:
        if name.startswith(("/", "\\")) or ".." in name.split("/") or "\\" in name or ":" in name.split("/")[0]:
            raise UnsafeFileError(f"{path}: an archive with the path {name[:80]!r}, which leads outside it")
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
        raise UnsafeFileError(f"{path}: an archive with compressed or encrypted parts; torch.save never makes them")
    if sum(entry.file_size for entry in entries) > size or any(e.file_size != e.compress_size for e in entries):
        raise UnsafeFileError(f"{path}: an archive whose parts claim more bytes than the file has")


def _judge_pickles(path: Path, content: bytes, size: int, count: int, partial: bool = False) -> None:
    """Walks through `count` pickles in a row without building anything; refuses what plain tensors do not need."""
    stream, operations, last_number = io.BytesIO(content), 0, 0
    try:
        for _ in range(count):
            for code, argument, _ in pickletools.genops(stream):
                operations += 1
                if operations > MAX_PICKLE_OPERATIONS:
                    raise UnsafeFileError(f"{path}: its pickle has more than {MAX_PICKLE_OPERATIONS:,} instructions")
                if code.name == "GLOBAL" and argument not in ALLOWED:
                    raise UnsafeFileError(
                        f"{path}: needs the code {_dotted(argument)} to be read, which is not run here. {RESAVE}"
                    )
                if code.name in REFUSED_OPERATIONS:
                    raise UnsafeFileError(
                        f"{path}: its pickle has the instruction {code.name}, which can run code. {RESAVE}"
                    )
                if isinstance(argument, int) and code.name.startswith(("BININT", "LONG", "INT")):
                    last_number = argument
                if code.name == "BINPERSID" and not 0 <= last_number <= size:
                    raise UnsafeFileError(
                        f"{path}: a tensor claims {last_number:,} elements in a file of {size:,} bytes"
                    )
    except UnsafeFileError:
        raise
    except Exception as fault:  # pickletools raises many kinds for what is no pickle
        if partial:
            raise UnsafeFileError(f"{path}: more than {MAX_PICKLE_BYTES:,} bytes of pickle, or a damaged one") from None
        raise TeacherError(f"{path}: a damaged or truncated PyTorch file ({str(fault)[:120]}). Copy it again") from None


def _dotted(argument: Any) -> str:
    return str(argument).replace(" ", ".", 1)[:120]


def _torch_load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as fault:
        raise UnsafeFileError(
            f"{path}: cannot be read without running code ({_first_sentence(fault)}). {RESAVE}"
        ) from None
    except MemoryError:
        raise UnsafeFileError(f"{path}: asks for more memory than there is") from None
    except Exception as fault:  # a damaged file raises nearly anything
        raise TeacherError(
            f"{path}: a damaged or truncated PyTorch file ({_first_sentence(fault)}). Copy it again"
        ) from None


def _first_sentence(fault: BaseException) -> str:
    return f"{type(fault).__name__}: {' '.join(str(fault).split())[:160]}"


# -- what was in the file


def _state_dict(path: Path, found: Any) -> dict[str, Tensor]:
    """The dict of tensors, out of at most three wrappers."""
    for _ in range(4):
        if not isinstance(found, Mapping):
            raise TeacherError(f"{path}: holds {type(found).__name__}, not a state dict (names and tensors). {RESAVE}")
        tensors = {k: v for k, v in found.items() if isinstance(k, str) and isinstance(v, Tensor)}
        inner = next((found[key] for key in WRAPPERS if isinstance(found.get(key), Mapping)), None)
        if inner is None or len(tensors) > len(inner):
            break
        found = inner
    if not tensors:
        keys = ", ".join(str(key)[:40] for key in list(found)[:6])
        raise TeacherError(f"{path}: no tensors found in it (its keys: {keys or 'none'}). {RESAVE}")
    others = [str(key) for key in found if key not in tensors]
    if others and len(others) >= len(tensors):
        raise TeacherError(f"{path}: not a state dict: '{others[0][:60]}' is no tensor. {RESAVE}")
    return _without_prefixes(path, tensors)


def _without_prefixes(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes that DataParallel and torch.compile put on every name."""
    values = {name: value for name, value in tensors.items() if name != "n_averaged"}  # torch's AveragedModel counts
    names = list(values)
    while prefix := next((p for p in PREFIXES if names and all(n.startswith(p) for n in names)), None):
        names = [name.removeprefix(prefix) for name in names]
    if not names or not all(names):
        raise TeacherError(f"{path}: no named weights are left once 'module.' is taken off")
    return dict(zip(names, values.values()))


def _check_tensors(path: Path, tensors: Mapping[str, Tensor], size: int) -> None:
    if len(tensors) > MAX_TENSORS:
        raise UnsafeFileError(f"{path}: {len(tensors):,} tensors, more than {MAX_TENSORS:,}")
    total = 0
    for name, value in tensors.items():
        where = f"{path}: weight '{name[:100]}'"
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise TeacherError(f"{where} is sparse, quantised or without contents; give plain dense weights")
        total += value.numel()
        # strides of 0 can claim any number of elements over a few bytes
        if value.numel() * value.element_size() > value.untyped_storage().nbytes() or total > MAX_ELEMENTS:
            raise UnsafeFileError(f"{where} claims {value.numel():,} elements; the file has {size:,} bytes")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            bad = int((~torch.isfinite(value)).sum())
            raise TeacherError(
                f"{where} is not finite in {bad:,} of {value.numel():,} places; the training that made it diverged"
            )
