"""Files of ours, and files that somebody else may have put in their place.

Written so that a crash leaves either the old one or the new one, under a fresh name that no link can stand in for; read
only where they are regular files of a bounded size. Links in a path that the user gave are the user's; of what lies in
a run directory none is followed. Also: hashes, and the time as our files say it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any

from .errors import ConfigError, RunDirectoryError

CHUNK = 1 << 20
MAX_JSON_BYTES = 64_000_000
MAX_JSON_PARTS = 1_000_000
"""Marks in a file that begin a list or a mapping, or begin or end a text: each costs many times its byte in memory."""
NUMBERS = re.compile(r"\[\n[\w\s.,+-]*\]")
"""A list of plain numbers, as it is written with a line for each."""
STEP = re.compile(r"step-(\d{1,15})(?:-(\d{1,15}))?")

# -- where files lie


def user_path(path: Any, name: str = "out") -> Path:
    """A path as the user gave it, with their home folder for '~'. name: of the argument.

    Raises ConfigError for what is neither text nor path, for an empty text, for a NUL, and for a name that is no
    UTF-8: libraries that we write by cannot open it.
    """
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str) or not text:
        raise ConfigError(f"{name}: expected a path as a text or a Path, got {path!r:.80}")
    require_utf8(text, name)
    return Path(os.path.expanduser(text))


def require_utf8(path: str | Path, name: str = "out") -> None:
    """Raises ConfigError for a path that no other library could open: with a NUL, or of other letters than UTF-8's."""
    try:
        whole = b"\0" not in str(path).encode()
    except UnicodeEncodeError:
        whole = False
    if not whole:
        raise ConfigError(f"{name}: {str(path)[:80]!a} holds a NUL, or is no UTF-8; give another name")


def absolute(path: Path) -> Path:
    """A path that leads to the same place after a change of folder; no link in it is resolved. Raises RunDirectoryError
    where the folder that it is relative to is no longer there."""
    try:
        return path.absolute()
    except FileNotFoundError:
        raise RunDirectoryError(
            f"{path}: the folder that this was started in is no longer there; give the whole path, from / on"
        ) from None


def cache_root() -> Path:
    """The folder of all our caches, below XDG_CACHE_HOME or ~/.cache; it need not be there yet. As the XDG Base
    Directory Specification has it, a value that is empty or relative counts as not set. Raises ConfigError where there
    is neither such a value nor a home folder."""
    folder = os.environ.get("XDG_CACHE_HOME", "")
    root = folder if os.path.isabs(folder) else os.path.expanduser("~/.cache")
    if not os.path.isabs(root):
        raise ConfigError("there is no home folder to keep caches in: set HOME, or XDG_CACHE_HOME, to a whole path")
    return Path(root) / "sansdata"


# -- writing


def write_synced(path: Path, data: bytes | Iterable[bytes | memoryview]) -> None:
    """Writes a file that is not there yet, from data or its parts one after another, and waits until the disk has it.
    Raises OSError, also where anything stands at `path`: a link would lead the bytes elsewhere."""
    with open(path, "xb") as file:
        for part in [data] if isinstance(data, bytes) else data:
            view = memoryview(part)
            for start in range(0, len(view), CHUNK):
                file.write(view[start : start + CHUNK])
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Waits until the directory's own entries are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def temporary_name(path: Path) -> Path:
    """A name beside `path` that nobody can guess, and that start-up can recognise and sweep."""
    return path.with_name(f".tmp-{os.getpid()}-{os.urandom(8).hex()}-{path.name}")


def write_atomic(path: Path, data: bytes | str) -> None:
    """Replaces `path` as a whole. Raises OSError, and then the old file stands."""
    temporary = temporary_name(path)
    try:
        write_synced(temporary, data.encode() if isinstance(data, str) else data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Replaces `path` as a whole; a list of numbers stands in one line. Raises OSError, also for what `read_json` would
    not read again: the old file stands then."""
    text = NUMBERS.sub(lambda found: "".join(found[0].split()), json.dumps(value, indent=1)) + "\n"
    data = text.encode()
    require_readable(path, data)
    write_atomic(path, data)


def require_readable(path: Path, data: bytes) -> None:
    """Raises OSError where `read_json` would not read `data` of JSON again: it must not be written at `path` then."""
    if fault := _too_large(data):
        raise OSError(errno.EFBIG, f"it would hold {fault}, which is not read again", str(path))


def open_in_place(path: Path) -> FileIO:
    """A file for reading, and for writing at its end; made where it is missing. Not buffered.

    Raises OSError for a link, also a hard one: what is written would be written to another file too.
    """
    file = os.fdopen(_open_plain(path, os.O_RDWR | os.O_APPEND | os.O_CREAT), "a+b", buffering=0)
    if os.fstat(file.fileno()).st_nlink > 1:
        file.close()
        raise OSError(errno.EMLINK, "has a second name (a hard link), which would change with it", str(path))
    return file


def own_folder(path: Path) -> Path:
    """The folder `path`, made where it is missing. Raises OSError where a link or a file has its name."""
    with contextlib.suppress(FileExistsError):
        path.mkdir()
    if not is_folder(path):
        raise NotADirectoryError(errno.ENOTDIR, "no folder, or a link to one, which is not followed", str(path))
    return path


def remove(path: Path) -> None:
    """Removes a file, a link as such, or a folder with all that is in it, never through a link. Raises OSError."""
    # Not shutil.rmtree: it opens folders by names relative to others, which the no-data guard cannot place.
    if not is_folder(path):
        path.unlink()
        return
    for inner in list(path.iterdir()):
        remove(inner)
    path.rmdir()


# -- reading


def open_regular(path: Path, most: int) -> BufferedReader:
    """A regular file of at most `most` bytes, for reading. Raises OSError for a link, a pipe, a device, a folder, a
    larger file; FileNotFoundError where there is nothing."""
    file = os.fdopen(_open_plain(path, os.O_RDONLY), "rb")
    if os.fstat(file.fileno()).st_size > most:
        file.close()
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes, not read", str(path))
    return file


def read_regular(path: Path, most: int) -> bytes:
    """What is in such a file; raises as `open_regular`."""
    with open_regular(path, most) as file:
        return file.read(os.fstat(file.fileno()).st_size)  # `read` makes room for as much as it is asked for


def is_regular(path: Path) -> bool:
    """Whether `path` is a file of its own: no link, pipe, device or folder."""
    return stat.S_ISREG(_mode(path))


def is_own(path: Path) -> bool:
    """Whether `path` is a file of its own that no other name (a hard link) leads to: it can be written in place."""
    return is_regular(path) and os.lstat(path).st_nlink == 1


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder of its own, and no link to one."""
    return stat.S_ISDIR(_mode(path))


def read_json(path: Path, most: int = MAX_JSON_BYTES) -> Any:
    """The value in a file of JSON. Raises OSError as `open_regular`, ValueError for what is no JSON of bounded size."""
    return parse_json(read_regular(path, most))


def read_record(path: Path, *lists: str) -> dict[str, Any]:
    """A file of ours that is about to grow: a mapping of JSON in which each of `lists` is a list of mappings; empty
    where there is no file. One that is torn is set aside, since it may hold what somebody needs, and stderr says so.
    Raises OSError where that cannot be done, and for a whole file that is too large, cannot be opened, or is none of
    ours: what another process recorded, or the user wrote, stays where it is."""
    try:
        data = read_regular(path, MAX_JSON_BYTES)
    except FileNotFoundError:
        data = b"{}"
    except OSError:
        if is_regular(path):
            raise
        data = b"{}"  # a link, or the like: what is written takes its place, and goes nowhere else
    if fault := _too_large(data):
        raise OSError(errno.EFBIG, f"holds {fault}; move it away to begin another", str(path))
    try:
        value = parse_json(data)
    except ValueError:
        value = None
    foreign = isinstance(value, dict) and bool(value) and bool(lists) and not set(lists) & set(value)
    if foreign or data.strip(b"\0 \t\r\n")[:1] not in (b"", b"{"):
        raise OSError(errno.EINVAL, "is there, and is no record of sansdata's; name another file", str(path))
    if not isinstance(value, dict) or not all(isinstance(value.get(name, []), list) for name in lists):
        aside = path.with_name(f"{path.name}.damaged-{os.urandom(4).hex()}")
        path.rename(aside)
        print(f"warning   {path} is damaged: set aside as {aside.name}, and begun anew", file=sys.stderr)
        value = {}
    return value | {name: [one for one in value.get(name, []) if isinstance(one, dict)] for name in lists}


def text_lines(text: str) -> list[str]:
    """The lines of a text of the user's, which end in a line feed, a carriage return, or both. `str.splitlines` ends
    them at signs that stand within a sentence too, such as U+0085 and U+2028."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def parse_json(data: bytes) -> Any:
    """Raises ValueError for what is no JSON, or is built to fill the memory or the stack of its reader."""
    if fault := _too_large(data):
        raise ValueError(fault)
    try:
        return json.loads(data.decode("utf-8", "replace"))
    except RecursionError:
        raise ValueError("nested too deep") from None


def _too_large(data: bytes) -> str:
    """What a text of JSON has more of than is read, or ''."""
    if len(data) > MAX_JSON_BYTES:
        return f"more than {MAX_JSON_BYTES:,} bytes"
    many = data.count(b"[") + data.count(b"{") + data.count(b'"')
    return f"more than {MAX_JSON_PARTS:,} lists, mappings and texts" if many > MAX_JSON_PARTS else ""


def by_step(folder: Path, suffix: str = "") -> list[tuple[int, Path]]:
    """(step, entry) of what is named 'step-000000123' + `suffix` in a folder, the oldest first; a second one of the
    same step ends in -001. Sorted as numbers: as text the thousandth would stand before the second.

    Nothing where the folder is missing, or a link. Raises OSError where it cannot be listed.
    """
    if not is_folder(folder):
        return []
    entries = []
    for path in folder.iterdir():
        match = STEP.fullmatch(path.name.removesuffix(suffix)) if path.name.endswith(suffix) else None
        if match is not None:
            entries.append((int(match[1]), int(match[2] or 0), path))
    return [(step, path) for step, _, path in sorted(entries)]


def exists(path: Path) -> bool:
    """Raises RunDirectoryError for a path that the system cannot even look up, such as one too long."""
    try:
        os.stat(path)
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as fault:  # too long, a loop of links, a NUL, half a character
        raise RunDirectoryError(f"{str(path)[:80]}: not a usable path ({reason(fault)})") from None


def reason(fault: Exception) -> str:
    """What the system says, in a few words: 'No space left on device'."""
    return " ".join(str(getattr(fault, "strerror", None) or fault).split())[:200] or type(fault).__name__


def _open_plain(path: Path, flags: int) -> int:
    """A descriptor of a regular file. O_NONBLOCK: a pipe without a writer would block the opening itself."""
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as fault:
        if fault.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a link, which is not followed", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "no regular file", str(path))
    return handle


def _mode(path: Path) -> int:
    """0 where there is nothing."""
    try:
        return os.lstat(path).st_mode
    except (OSError, ValueError):
        return 0


# -- the rest


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """One process at a time, as far as the file system of `folder` can tell: read, change and write belong together."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a network's file system may know no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def utc_now() -> str:
    """The time now as in '2026-01-02T03:04:05Z', by the clock of the machine."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
