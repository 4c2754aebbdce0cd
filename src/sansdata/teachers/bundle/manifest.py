"""SHA256SUMS: the hash of every file of a bundle, in the form that `sha256sum --check` reads."""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import BundleError
from ...files import read_regular, reason, sha256, write_atomic
from . import layout

LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9_./-]{1,200})")
OUTSIDE = (layout.SUMS, layout.SIGNATURE)
"""Files that it does not name: itself, and what is made of it."""


def write_sums(folder: Path) -> bytes:
    """Writes SHA256SUMS over the files that lie in the folder, and gives its bytes. Raises OSError, BundleError."""
    names = [name for name in layout.files_in(folder) if name not in OUTSIDE]
    data = "".join(f"{sha256(folder / name)}  {name}\n" for name in names).encode()
    write_atomic(folder / layout.SUMS, data)
    return data


def checked_sums(folder: Path, names: list[str]) -> bytes:
    """The bytes of SHA256SUMS, where it names all `names` of the folder and no others and every file has its hash.
    Raises BundleError."""
    try:
        data = read_regular(folder / layout.SUMS, layout.MOST[layout.SUMS])
    except OSError as fault:
        raise BundleError(f"{folder / layout.SUMS}: cannot be read ({reason(fault)})", "missing") from None
    sums = _parsed(data, folder)
    there = {name for name in names if name not in OUTSIDE}
    for name in sorted(there - sums.keys()):
        raise BundleError(f"{folder}: {name} is not named in {layout.SUMS}; somebody added it", "added")
    for name in sorted(sums.keys() - there):
        raise BundleError(f"{folder}: {layout.SUMS} names {name}, which is missing", "missing")
    for name, expected in sums.items():
        if (digest := sha256(folder / name)) != expected:
            raise BundleError(
                f"{folder}: {name} was changed after the bundle was made: its SHA-256 begins with {digest[:12]}, "
                f"{layout.SUMS} has {expected[:12]}", "changed",
            )  # fmt: skip
    return data


def _parsed(data: bytes, folder: Path) -> dict[str, str]:
    """name -> hash."""
    sums: dict[str, str] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        match = LINE.fullmatch(line)
        if match is None or match[2] in sums:
            raise BundleError(f"{folder / layout.SUMS}: {line[:80]!r} is no line of a hash and a name, or is there "
                              "twice", "sums")  # fmt: skip
        sums[match[2]] = match[1]
    return sums
