"""A bundle as a .zip file: judged by its table of contents before a byte is unpacked, then unpacked under limits.

What is refused: names that lead elsewhere, links and devices, two files of one name, more files or bytes than a bundle
has, sizes that a compression cannot have, files that lie over one another, passwords, bytes that are not what the table
says.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ...decoding.arrays import archive_of
from ...decoding.limits import MAX_DEFLATE_RATIO
from ...errors import BundleError, DataError
from ...files import CHUNK, reason, sync_directory, temporary_name
from . import layout

MAX_MEMBERS = 64
"""A bundle has about a dozen files."""
WHEN = (1980, 1, 1, 0, 0, 0)
"""Of every file in an archive of ours: two archives of one bundle are the same bytes."""
PLAIN = re.compile(r"[A-Za-z0-9 ._+\-]{1,100}(/[A-Za-z0-9 ._+\-]{1,100}){0,2}")
ENCRYPTED = 0x1
# NotImplementedError is zipfile's word for a compression that it does not know.
_FAULTS = (OSError, ValueError, EOFError, RuntimeError, NotImplementedError, zlib.error, struct.error, KeyError)


@contextlib.contextmanager
def opened(bundle: Path) -> Iterator[Path]:
    """The folder of a bundle; of a .zip file one that is there only meanwhile, and that only this user can read.

    Raises BundleError for an archive that is not one of plain files, of which nothing is then left behind.
    """
    if bundle.is_dir():
        yield bundle
        return
    folder = Path(tempfile.mkdtemp(prefix="sansdata-bundle-"))
    try:
        unpack(bundle, folder)
        yield folder
    except BundleError as fault:
        raise BundleError(str(fault).replace(str(folder), str(bundle)), fault.reason) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks into an empty folder. One folder around everything is left out. Raises BundleError."""
    try:
        with open(archive, "rb") as file, archive_of(file, str(archive), MAX_MEMBERS) as contents:
            for entry, name in _judged(contents.infolist(), archive):
                target = folder / name
                target.parent.mkdir(exist_ok=True)
                _write(contents, entry, target, archive)
    except BundleError:
        raise
    except DataError as fault:
        raise BundleError(str(fault), "count") from None
    except zipfile.BadZipFile as fault:
        raise BundleError(f"{archive}: a broken archive ({reason(fault)}); copy it again", "archive") from None
    except _FAULTS as fault:
        raise BundleError(f"{archive}: cannot be read as a .zip file ({reason(fault)})", "archive") from None


def pack(folder: Path, archive: Path) -> None:
    """Writes the files of a bundle's folder as a .zip file, in which they stand in a folder of its name. Raises
    OSError, and BundleError for a folder that is no bundle."""
    names, around = layout.files_in(folder), archive.name.removesuffix(".zip")
    draft = temporary_name(archive)
    try:
        with zipfile.ZipFile(draft, "x", zipfile.ZIP_STORED) as contents:
            for name in names:
                entry = zipfile.ZipInfo(f"{around}/{name}", WHEN)
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                entry.file_size = (folder / name).stat().st_size
                with open(folder / name, "rb") as source, contents.open(entry, "w") as target:
                    shutil.copyfileobj(source, target, CHUNK)
        draft.replace(archive)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(archive.parent)


# -- judging


def _judged(entries: list[zipfile.ZipInfo], archive: Path) -> list[tuple[zipfile.ZipInfo, str]]:
    """(entry, name in the bundle) of each file. Raises BundleError."""
    if len(entries) > MAX_MEMBERS:
        raise BundleError(f"{archive}: {len(entries):,} files, more than {MAX_MEMBERS}; this is no bundle", "count")
    for entry in entries:
        _require_plain_name(entry, archive)
        _require_plain_file(entry, archive)
    files = [entry for entry in entries if not entry.is_dir()]
    names = _without_folder_around([entry.filename for entry in files])
    if len({name.casefold() for name in names}) < len(names):
        raise BundleError(f"{archive}: two of its files have one name; which one counts would depend on the reader",
                          "twice")  # fmt: skip
    for entry, name in zip(files, names):
        layout.require_known(name, str(archive))
        _require_size(entry, name, archive)
    if sum(entry.file_size for entry in files) > layout.MAX_BYTES:
        raise BundleError(f"{archive}: more than {layout.MAX_BYTES:,} bytes together", "size")
    _require_apart(files, archive)
    return list(zip(files, names))


def _require_plain_name(entry: zipfile.ZipInfo, archive: Path) -> None:
    name = entry.orig_filename  # as it stands there: zipfile cuts a name at its first NUL
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise BundleError(f"{archive}: {name[:100]!r} leads out of the bundle's folder (zip-slip)", "zip-slip")
    if not PLAIN.fullmatch(name.rstrip("/")) or "." in name.rstrip("/").split("/"):
        raise BundleError(f"{archive}: {name[:100]!r} is no plain name of a file", "name")


def _require_plain_file(entry: zipfile.ZipInfo, archive: Path) -> None:
    sort = stat.S_IFMT(entry.external_attr >> 16)
    if sort not in (0, stat.S_IFDIR if entry.is_dir() else stat.S_IFREG):
        what = "a link" if stat.S_ISLNK(sort) else "no regular file"
        raise BundleError(f"{archive}: {entry.filename[:100]!r} is {what}; nothing is read through it", "link")
    if entry.flag_bits & ENCRYPTED:
        raise BundleError(f"{archive}: {entry.filename[:100]!r} is under a password; a bundle is not", "password")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BundleError(f"{archive}: {entry.filename[:100]!r} is compressed by a way that is not read", "compression")
    if entry.is_dir() and entry.file_size:
        raise BundleError(f"{archive}: the folder {entry.filename[:100]!r} claims to have bytes", "size")


def _require_size(entry: zipfile.ZipInfo, name: str, archive: Path) -> None:
    if entry.file_size > layout.MOST[name]:
        raise BundleError(
            f"{archive}: {name} claims {entry.file_size:,} bytes, more than the {layout.MOST[name]:,} that it may have",
            "size",
        )
    if entry.file_size > entry.compress_size * MAX_DEFLATE_RATIO:
        raise BundleError(
            f"{archive}: {name} claims {entry.file_size:,} bytes, which {entry.compress_size:,} cannot hold (a bomb)",
            "bomb",
        )


def _require_apart(files: list[zipfile.ZipInfo], archive: Path) -> None:
    """Raises BundleError where one file's bytes are another's too: so a small archive unpacks to a large one."""
    end = 0
    for entry in sorted(files, key=lambda one: one.header_offset):
        if entry.header_offset < end:
            raise BundleError(f"{archive}: {entry.filename[:100]!r} lies over another file (a bomb)", "bomb")
        end = entry.header_offset + 30 + len(entry.filename.encode()) + entry.compress_size


def _without_folder_around(names: list[str]) -> list[str]:
    """The names below the one folder that holds them all, where there is one."""
    tops = {name.partition("/")[0] for name in names}
    inside = [name.partition("/")[2] for name in names]
    return inside if len(tops) == 1 and all(inside) and tops.isdisjoint(layout.FOLDERS) else names


def _write(contents: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, archive: Path) -> None:
    """One file. zipfile reads no more than it claims, and checks its CRC at the end."""
    with contents.open(entry) as source, open(target, "xb") as file:
        shutil.copyfileobj(source, file, CHUNK)
        written = file.tell()
    if written < entry.file_size:
        raise BundleError(f"{archive}: {entry.filename[:100]!r} is shorter than it claims", "archive")
