"""Files of torch.save from anyone, read without torch.load: nothing in them is imported, called or believed.

The archive's directory is judged first, then the pickle is read as plain data (models.pickles), and a tensor is made
where its storage, shape and strides agree with the bytes of the file.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ..errors import TeacherError, UnsafeFileError
from .limits import MAX_DIRECTORY_BYTES, MAX_PICKLE_BYTES
from .pickles import Foreign, Machine, Maker
from .tensor_file import open_size

END_BYTES = 22 + 65535 + 20
"""The most that a zip archive's end takes: end record, comment, ZIP64 locator."""
RESAVE = "Save the weights alone and give that file: torch.save(model.state_dict(), 'weights.pt')."
LEGACY_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"
"""The first of the pickles in PyTorch's format before 1.6."""
START_BYTES = 32
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
CHUNK = 2**20

SCRIPTED = ("/constants.pkl", "bytecode.pkl")
"""Endings of what only a TorchScript archive has."""

DTYPES = {
    f"torch.{name}": getattr(torch, name)
    for name in (
        "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "uint16",
        "uint32", "uint64", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz",
        "float8_e5m2fnuz",
    )
}  # fmt: skip
STORAGES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
}  # fmt: skip
STORAGE_TYPES = {f"{room}.{name}Storage": dtype for name, dtype in STORAGES.items() for room in ("torch", "torch.cuda")}
BYTES = ("torch.storage.UntypedStorage", "torch.storage._UntypedStorage")


@dataclass(frozen=True)
class Contents:
    """What a file of torch.save holds. tree: dicts, lists, tuples, sets, numbers, texts, tensors on the CPU, and a
    `Foreign` for everything else, to be visited by `pickles.walk`. foreign: the classes and functions it names that are
    not known here, none of which was imported."""

    tree: Any
    foreign: tuple[str, ...]


@dataclass(frozen=True)
class _Storage:
    content: Tensor
    """uint8 (bytes,)"""
    dtype: torch.dtype


def read_plain(path: str | Path, accept: Callable[[str], None] = lambda name: None, scripted: bool = False) -> Contents:
    """All of a file of torch.save (.pt, .pth, .ckpt, .bin ...), of either format, without running anything in it.

    accept: called with each name 'module.class' that is not known; may raise. scripted: a TorchScript archive is read
    as well, its code passed over. Raises TeacherError for a file that is missing, cut or damaged; UnsafeFileError for
    one that is no file of torch.save, or lies about its contents.
    """
    path = Path(path)
    size = open_size(path)
    with open(path, "rb") as file:
        start = file.read(START_BYTES)
        if start.startswith(b"PK"):
            return _read_archive(path, file, size, accept, scripted)
        if is_legacy(start):
            return _read_legacy(path, file, size, accept)
    if LEGACY_MAGIC.startswith(start):
        raise TeacherError(f"{path}: {size} bytes only; the file is truncated. Copy it again")
    raise UnsafeFileError(f"{path}: no file of torch.save (it begins with {start[:8]!r})")


def is_legacy(start: bytes) -> bool:
    """Whether the first START_BYTES of a file are of PyTorch's format of before 1.6, of any protocol of pickle."""
    return start[:1] == b"\x80" and LEGACY_MAGIC[2:14] in start[:START_BYTES]


# -- the two formats


def _read_archive(path: Path, file: BinaryIO, size: int, accept: Callable[[str], None], scripted: bool) -> Contents:
    judge_end(path, file, size)
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            _judge_entries(path, archive.infolist(), size, scripted)
            pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
            if len(pickles) != 1:
                raise UnsafeFileError(
                    f"{path}: a zip archive, but not one of torch.save (no single data.pkl in it). {RESAVE}"
                )
            if entries[pickles[0]].file_size > MAX_PICKLE_BYTES:
                raise UnsafeFileError(
                    f"{path}: {entries[pickles[0]].file_size:,} bytes of pickle, more than {MAX_PICKLE_BYTES:,}"
                )
            root = pickles[0].removesuffix("data.pkl")
            if (order := entries.get(f"{root}byteorder")) and stored_bytes(
                archive, order
            ).numpy().tobytes() != b"little":
                raise TeacherError(f"{path}: was saved on a machine of the other byte order. {RESAVE}")

            def fetch(key: str, count: int) -> Tensor:
                entry = entries.get(f"{root}data/{key}")
                if entry is None or entry.file_size != count:
                    raise TeacherError(
                        f"{path}: tensor {key[:20]} needs {count:,} bytes that are not there. Copy it again"
                    )
                return stored_bytes(archive, entry)

            content = stored_bytes(archive, entries[pickles[0]]).numpy().tobytes()
            machine = _machine(io.BytesIO(content), path, size, fetch, accept)
            return Contents(machine.read(), tuple(machine.names))
    except zipfile.BadZipFile as fault:
        raise TeacherError(f"{path}: a damaged or truncated PyTorch file ({fault}). Copy it again") from None
    # NotImplementedError is zipfile's word for a compression that it does not know.
    except (NotImplementedError, RuntimeError, ValueError, OSError, EOFError, struct.error, UnicodeError) as fault:
        raise UnsafeFileError(f"{path}: an archive that cannot be read ({str(fault)[:200]})") from None


def stored_bytes(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Tensor:
    """The bytes of a stored entry, uint8 (bytes,); its check sum is compared where the writer made one."""
    if entry.CRC == 0:  # torch.serialization.set_crc32_options(False)
        del entry.CRC
    content = torch.empty(entry.file_size, dtype=torch.uint8)
    with archive.open(entry) as part:
        _fill(content, part)
        if part.read(1):
            raise zipfile.BadZipFile(f"{entry.filename[:80]} is longer than it says")
    return content


def _fill(content: Tensor, file: Any) -> None:
    view = content.numpy().data
    for start in range(0, len(view), CHUNK):
        part = view[start : start + CHUNK]
        if file.readinto(part) != len(part):
            raise zipfile.BadZipFile("it ends too early")


def _read_legacy(path: Path, file: BinaryIO, size: int, accept: Callable[[str], None]) -> Contents:
    """Five pickles in a row (magic number, protocol, machine, contents, keys), then the storages by key."""
    file.seek(0)
    stream = io.BytesIO(file.read(MAX_PICKLE_BYTES))
    storages: dict[str, Tensor] = {}
    total = 0

    def fetch(key: str, count: int) -> Tensor:
        nonlocal total
        if (total := total + count) > size:
            raise UnsafeFileError(f"{path}: its tensors claim {total:,} bytes in a file of {size:,}")
        return storages.setdefault(key, torch.empty(count, dtype=torch.uint8))

    try:
        machine = _machine(stream, path, size, fetch, accept)
        magic, protocol, made_on, tree, keys = (machine.read() for _ in range(5))
    except UnsafeFileError:
        raise
    except TeacherError:
        if size > MAX_PICKLE_BYTES == stream.tell():
            raise UnsafeFileError(f"{path}: more than {MAX_PICKLE_BYTES:,} bytes of pickle, or a damaged one") from None
        raise
    if magic != MAGIC or protocol != PROTOCOL or not isinstance(made_on, dict) or not isinstance(keys, list):
        raise TeacherError(f"{path}: a damaged PyTorch file of before version 1.6. Copy it again")
    if made_on.get("little_endian") is not True:
        raise TeacherError(f"{path}: was saved on a machine of the other byte order. {RESAVE}")
    if sorted(map(str, keys)) != sorted(storages):
        raise TeacherError(f"{path}: a damaged or truncated PyTorch file (its tensors are not there). Copy it again")
    file.seek(stream.tell())
    for key in keys:
        content = storages[str(key)]
        file.read(8)  # the number of elements, which the pickle has said
        try:
            _fill(content, file)
        except zipfile.BadZipFile as fault:
            raise TeacherError(f"{path}: a damaged or truncated PyTorch file ({fault}). Copy it again") from None
    return Contents(tree, tuple(machine.names))


# -- tensors


def _machine(
    stream: io.BytesIO, path: Path, size: int, fetch: Callable[[str, int], Tensor], accept: Callable[[str], None]
) -> Machine:
    """The reader of the pickle; fetch: (key, bytes) -> uint8 (bytes,)."""
    storages: dict[str, _Storage] = {}

    def storage(name: Any) -> _Storage:
        match name:
            case ("storage", Foreign(name=kind), str(key), str(), int(count), *views) if views in ([], [None]):
                pass
            case _:
                raise ValueError("a tensor without a storage")
        dtype = torch.uint8 if kind in BYTES else STORAGE_TYPES[kind]
        if not 0 <= count <= size:
            raise UnsafeFileError(f"{path}: a tensor claims {count:,} elements in a file of {size:,} bytes")
        if key not in storages:
            storages[key] = _Storage(fetch(key, count * dtype.itemsize), dtype)
        if storages[key].dtype != dtype or len(storages[key].content) != count * dtype.itemsize:
            raise UnsafeFileError(f"{path}: storage {key[:20]} is of two types or sizes")
        return storages[key]

    def tensor(bytes_: Any, offset: int, shape: Any, strides: Any, *_: Any, dtype: torch.dtype | None = None) -> Tensor:
        return _tensor(path, bytes_, offset, shape, strides, dtype)

    tensors: dict[str, Maker] = {
        "torch._utils._rebuild_tensor": tensor,
        "torch._utils._rebuild_tensor_v2": tensor,
        "torch._utils._rebuild_tensor_v3": lambda *args: tensor(*args[:4], dtype=args[6]),
        "torch._utils._rebuild_parameter": lambda data, *_: data,
        "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    }
    makers: dict[str, Maker] = {
        **tensors,
        "torch._tensor._rebuild_from_type_v2": lambda maker, kind, args, state: tensors[maker.name](*args),
        "torch.Size": lambda sizes=(): tuple(sizes),
        "torch.device": lambda *parts: ":".join(map(str, parts))[:80],
        **{kind: lambda *_: None for kind in (*STORAGE_TYPES, *BYTES)},
    }
    return Machine(stream, str(path), makers, DTYPES, storage, accept)


def _tensor(path: Path, storage: Any, offset: Any, shape: Any, strides: Any, dtype: torch.dtype | None) -> Tensor:
    """A view of the storage. Raises UnsafeFileError where it would reach beyond, or claim more than there is."""
    numbers = [offset, *shape, *strides]
    if not isinstance(storage, _Storage) or len(shape) != len(strides) or len(shape) > 64:
        raise ValueError("a tensor without a storage, or of no shape")
    if not all(type(number) is int and 0 <= number < 2**62 for number in numbers):
        raise ValueError("a tensor whose shape is not of whole numbers")
    flat = storage.content.view(dtype or storage.dtype)
    count, reach = math.prod(shape), offset + sum((n - 1) * step for n, step in zip(shape, strides))
    if count and (reach >= len(flat) or count > len(flat)):
        raise UnsafeFileError(
            f"{path}: a tensor of shape {list(shape)[:8]} claims more than its {len(flat):,} elements"
        )
    return flat.as_strided(shape, strides, offset if count else 0)


# -- the archive


def judge_end(path: Path, file: BinaryIO, size: int) -> None:
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


def _judge_entries(path: Path, entries: list[zipfile.ZipInfo], size: int, scripted: bool) -> None:
    names = [entry.filename for entry in entries]
    code = [entry for entry in entries if "/code/" in entry.filename or entry.filename.endswith(SCRIPTED)]
    if code and not scripted:
        raise UnsafeFileError(
            f"{path}: a TorchScript archive, which carries code. sansdata convert {path} takes the weights out of it, "
            "for ARCH@FILE"
        )
    if not code and any("exported_program" in name or "/models/" in name for name in names):
        raise UnsafeFileError(f"{path}: a torch.export program (.pt2), not weights. {RESAVE}")
    if any(name.endswith(".npy") for name in names):
        raise UnsafeFileError(f"{path}: a NumPy archive (.npz), not weights of PyTorch. {RESAVE}")
    plain = [entry for entry in entries if entry not in code]  # code is compressed, and not read
    judge_parts(path, plain, size, names)


def judge_parts(path: Path, entries: list[zipfile.ZipInfo], size: int, names: list[str]) -> None:
    """Raises UnsafeFileError for names that lead elsewhere or are there twice, and for parts that are not plain bytes
    within the file. names: of all parts of the archive."""
    if len(set(names)) != len(names):
        raise UnsafeFileError(f"{path}: an archive that holds one name twice")
    for name in names:
        if name.startswith(("/", "\\")) or ".." in name.split("/") or "\\" in name or ":" in name.split("/")[0]:
            raise UnsafeFileError(f"{path}: an archive with the path {name[:80]!r}, which leads outside it")
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
        raise UnsafeFileError(f"{path}: an archive with compressed or encrypted parts; torch.save never makes them")
    if sum(entry.file_size for entry in entries) > size or any(e.file_size != e.compress_size for e in entries):
        raise UnsafeFileError(f"{path}: an archive whose parts claim more bytes than the file has")
