"""Arrays from .npz files that are not trusted: no pickle, no size believed before it is checked."""

from __future__ import annotations

import io
import lzma
import math
import os
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from ..errors import DataError
from .limits import MAX_ARCHIVE_MEMBERS, MAX_DEFLATE_RATIO, MAX_NPY_HEADER, MAX_SET_BYTES

_FAULTS = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    NotImplementedError,  # zipfile's word for a compression that it does not know
    MemoryError,
    KeyError,
    zlib.error,
    struct.error,
    TypeError,  # this and those below: what a damaged .npy header makes of numpy's parser
    OverflowError,
    SyntaxError,
    RecursionError,
    tokenize.TokenError,
    lzma.LZMAError,
)
END, SECOND = b"PK\x05\x06", b"PK\x06\x07"
"""How an archive's end begins, and what points from there to a table of contents in the long form."""
END_BYTES = 22 + 0xFFFF + 20
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
CHUNK = 1 << 20


def read_images(path: Path, key: str = "x") -> np.ndarray:
    """The images `key` of an .npz file as uint8 (N, H, W, C), C 1 or 3. Raises DataError for anything else."""
    images = read_array(path, key)
    if images.dtype != np.uint8:
        raise DataError(
            f"{path}: '{key}' must be uint8 (0..255), got {images.dtype}; "
            "for floats in 0..1 save (x * 255).round().astype('uint8')"
        )
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4:
        raise DataError(f"{path}: '{key}' must have shape (N, H, W) or (N, H, W, C), got {images.shape}")
    if images.shape[-1] not in (1, 3):
        raise DataError(f"{path}: '{key}' has shape {images.shape}; expected 1 or 3 channels on the last axis")
    return images


def name_in(path: Path, key: str) -> str:
    """`key` where an .npz file has an array of that name, else the name of its only one.

    Raises DataError where there is none or several to choose from, or where the file cannot be read.
    """
    try:
        with open(path, "rb") as file, archive_of(file, str(path)) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()[: MAX_ARCHIVE_MEMBERS + 1]]
    except (*_FAULTS, zipfile.BadZipFile) as fault:
        raise DataError(f"{path}: cannot be read as an .npz file ({_reason(fault)})") from None
    if key not in names and len(names) != 1:
        raise DataError(f"{path}: expected one array, or one named '{key}'; it has: {listed(names)}")
    return key if key in names else names[0]


def listed(names: list[str]) -> str:
    """The first twenty of them, of at most 40 characters each, in order; 'nothing' for none."""
    return ", ".join(sorted(name[:40] for name in names)[:20]) or "nothing"


def read_array(path: Path, key: str, most: int = MAX_SET_BYTES) -> np.ndarray:
    """The array `key`, of at most `most` bytes, of an .npz file. Raises DataError where it is missing, too large,
    broken, or of objects."""
    try:
        with open(path, "rb") as file, archive_of(file, str(path)) as archive:
            names = archive.namelist()
            if len(names) > MAX_ARCHIVE_MEMBERS:
                raise DataError(f"{path}: {len(names):,} arrays; at most {MAX_ARCHIVE_MEMBERS:,} are accepted")
            if names.count(f"{key}.npy") != 1:
                have = listed([name.removesuffix(".npy") for name in names])
                raise DataError(f"{path}: expected one array '{key}'; it has: {have}")
            return _read_member(archive, f"{key}.npy", f"{path}: '{key}'", most)
    except (*_FAULTS, zipfile.BadZipFile) as fault:
        raise DataError(f"{path}: '{key}' cannot be read from this .npz file ({_reason(fault)})") from None


def read_arrays(file: BinaryIO, where: str, most: int) -> dict[str, np.ndarray]:
    """Every array of an open .npz file by its name, of at most `most` bytes together. where: how errors name the file.

    Raises DataError where one is too large, broken, or of objects.
    """
    arrays: dict[str, np.ndarray] = {}
    try:
        with archive_of(file, where) as archive:
            names = archive.namelist()
            if len(names) > MAX_ARCHIVE_MEMBERS or len(set(names)) < len(names):
                raise DataError(f"{where}: {len(names):,} arrays of {len(set(names)):,} names")
            for name in names:
                array = _read_member(archive, name, f"{where}: '{name[:40].removesuffix('.npy')}'", most)
                arrays[name.removesuffix(".npy")] = array
                most -= array.nbytes
    except (*_FAULTS, zipfile.BadZipFile) as fault:
        raise DataError(f"{where}: cannot be read as an .npz file ({_reason(fault)})") from None
    return arrays


def archive_of(file: BinaryIO, where: str, members: int = MAX_ARCHIVE_MEMBERS) -> zipfile.ZipFile:
    """An open archive of about so many members at most. Python's reader makes an object of each line of its table of
    contents before anybody can count them, so the table's length is judged first; and it makes room for as many stored
    bytes as a part says that it has, so none may say more than the file has. Raises DataError, BadZipFile."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END_BYTES))
    tail = file.read(END_BYTES)
    last = len(tail) - 22
    end = last if tail[last : last + 4] == END and tail.endswith(b"\0\0") else tail.rfind(END)
    length = int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
    second = end >= 20 and tail[end - 20 : end - 16] == SECOND and size < 2**31  # what larger files need
    if length > members * 1_000 or second:
        raise DataError(f"{where}: its table of contents is far too long for at most {members:,} parts")
    archive = zipfile.ZipFile(file)
    if any(entry.compress_size > size for entry in archive.infolist()):
        raise zipfile.BadZipFile("a part of it says that it is longer than the file")
    return archive


def _reason(fault: BaseException) -> str:
    return " ".join(str(fault).split())[:200] or type(fault).__name__


def _read_member(archive: zipfile.ZipFile, name: str, where: str, most: int = MAX_SET_BYTES) -> np.ndarray:
    with archive.open(name) as member:
        shape, fortran, dtype = _header(member, where)
        need = math.prod(shape) * dtype.itemsize
        packed = archive.getinfo(name).compress_size
        if min(shape, default=0) < 0 or need > most:
            raise DataError(f"{where} claims shape {_short(shape)}: more than {most / 2**30:.2g} GiB or no shape")
        if need > packed * MAX_DEFLATE_RATIO:
            raise DataError(f"{where} claims shape {_short(shape)}, but its {packed:,} bytes cannot hold that")
        content = bytearray(need)
        for start in range(0, need, CHUNK):
            part = memoryview(content)[start : start + CHUNK]
            if member.readinto(part) != len(part):  # type: ignore[attr-defined]
                raise DataError(f"{where} is shorter than its shape {_short(shape)} says")
        if member.read(1):  # reading to the end also checks the archive's CRC
            raise DataError(f"{where} is longer than its shape {_short(shape)} says")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _header(member: Any, where: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, whether columns come first, type of the numbers) from the start of an array; numpy parses the text, which
    is measured before it is read. Raises DataError for what is no array of plain numbers or texts."""
    version = npy.read_magic(member)
    if version not in _HEADERS:
        raise DataError(f"{where} is in .npy version {version[0]}.{version[1]}; save it again with numpy.savez")
    size = member.read(2 if version == (1, 0) else 4)
    length = int.from_bytes(size, "little")
    if length > MAX_NPY_HEADER:
        raise DataError(f"{where} has a description of {length:,} bytes; a plain array has fewer than 200")
    shape, fortran, dtype = _HEADERS[version](io.BytesIO(size + member.read(length)))
    if dtype.hasobject:
        raise DataError(f"{where} holds Python objects, which are not read; save a plain array of numbers")
    if dtype.kind not in "biufcSU" or not dtype.itemsize:
        raise DataError(f"{where} is of type {str(dtype)[:60]}; save a plain array of numbers")
    return shape, fortran, dtype


def _short(shape: tuple[int, ...]) -> str:
    text = str(shape)
    return text if len(text) <= 80 else text[:77] + "..."
