"""Archives that are built to harm whoever unpacks them: refused by their table of contents, or at the first byte too
many. Nothing is left behind, nothing is written outside, and no answer takes long."""

from __future__ import annotations

import io
import stat
import struct
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import zipped

from sansdata.api.bundle import verify_bundle
from sansdata.errors import BundleError
from sansdata.teachers.bundle.archive import opened, pack

Build = Callable[[Path, Path], None]


def with_entry(name: str, data: bytes = b"x", mode: int = 0, compression: int = zipfile.ZIP_STORED) -> Build:
    """The bundle's own files, and one more."""

    def build(folder: Path, archive: Path) -> None:
        zipped(folder, archive)
        with zipfile.ZipFile(archive, "a") as contents:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            contents.writestr(entry, data, compression)

    return build


def in_place_of(name: str, data: bytes, compression: int = zipfile.ZIP_STORED) -> Build:
    """The bundle's own files, of which one is another."""

    def build(folder: Path, archive: Path) -> None:
        (folder / name).unlink()
        with_entry(name, data, compression=compression)(folder, archive)

    return build


def edited(change: Callable[[bytearray], None]) -> Build:
    """A plain archive whose bytes are changed."""

    def build(folder: Path, archive: Path) -> None:
        data = bytearray(zipped(folder, archive).read_bytes())
        change(data)
        archive.write_bytes(data)

    return build


def central(data: bytearray, name: bytes) -> int:
    """Where the table's line of a file begins."""
    return data.rindex(name) - 46


def size_in_the_table(name: bytes, size: int) -> Build:
    return edited(lambda data: struct.pack_into("<L", data, central(data, name) + 24, size))


def flags_in_the_table(name: bytes, at: int, value: int) -> Build:
    return edited(lambda data: struct.pack_into("<H", data, central(data, name) + at, value))


def other_name_in_front(data: bytearray) -> None:
    """The table says one name, the file itself another."""
    at = data.index(b"docs/README.md")
    data[at : at + 14] = b"docs/sbom.json"


def same_place(data: bytearray) -> None:
    """Two lines of the table lead to one file's bytes."""
    first, second = central(data, b"LICENSE"), central(data, b"docs/README.md")
    data[second + 42 : second + 46] = data[first + 42 : first + 46]


def broken_bytes(data: bytearray) -> None:
    at = data.index(b"LICENSE") + len(b"LICENSE") + 3
    data[at] ^= 0xFF


def many(folder: Path, archive: Path) -> None:
    zipped(folder, archive)
    with zipfile.ZipFile(archive, "a") as contents:
        for number in range(10_000):
            contents.writestr(f"f{number}", b"")


def some(folder: Path, archive: Path) -> None:
    zipped(folder, archive)
    with zipfile.ZipFile(archive, "a") as contents:
        for number in range(100):
            contents.writestr(f"f{number}", b"")


def with_a_nul(folder: Path, archive: Path) -> None:
    """Python's own writer would cut the name."""
    with_entry("docs/sbom.json_.txt")(folder, archive)
    archive.write_bytes(archive.read_bytes().replace(b"json_", b"json\0"))


def twice(folder: Path, archive: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        with_entry("LICENSE")(folder, archive)


def nested() -> bytes:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as contents:
        contents.writestr("a", b"x" * 1000)
    return inner.getvalue()


def lies_in_64_bits(data: bytearray) -> None:
    """The size stands in the field for large files, and is one that no disk has."""
    at = central(data, b"LICENSE")
    struct.pack_into("<LL", data, at + 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", data, at + 30, 20)
    data[at + 46 + 7 : at + 46 + 7] = struct.pack("<HHQQ", 1, 16, 2**62, 2**62)
    end = data.rindex(b"PK\x05\x06")
    struct.pack_into("<L", data, end + 12, struct.unpack_from("<L", data, end + 12)[0] + 20)


LINK = stat.S_IFLNK | 0o777
HOSTILE: dict[str, tuple[str, Build]] = {
    "a parent folder": ("zip-slip", with_entry("../evil")),
    "a parent folder deep inside": ("zip-slip", with_entry("configs/../../evil")),
    "a parent folder by backslashes": ("zip-slip", with_entry("configs\\..\\..\\evil")),
    "an absolute name": ("zip-slip", with_entry("/etc/cron.d/evil")),
    "an absolute name by a backslash": ("zip-slip", with_entry("\\evil")),
    "a drive": ("zip-slip", with_entry("C:evil")),
    "a drive with a folder": ("zip-slip", with_entry("c:/evil")),
    "a NUL": ("name", with_a_nul),
    "a line break": ("name", with_entry("docs/sbom\n.json")),
    "a dot as a folder": ("name", with_entry("./docs/sbom.json")),
    "a colon": ("name", with_entry("LICENSE:stream")),
    "a name of 300 letters": ("name", with_entry("a" * 300)),
    "another alphabet": ("name", with_entry("configs/ｍetadata.json")),
    "deep folders": ("name", with_entry("a/b/c/d/e/f")),
    "a link": ("link", with_entry("docs/sbom.json", b"/etc/passwd", LINK)),
    "a link in place of a folder": ("link", with_entry("docs", b"/etc", LINK)),
    "a device": ("link", with_entry("docs/sbom.json", b"", stat.S_IFBLK | 0o666)),
    "a pipe": ("link", with_entry("docs/sbom.json", b"", stat.S_IFIFO | 0o666)),
    "one name twice": ("twice", twice),
    "one name in two cases": ("twice", with_entry("license")),
    "10,000 files": ("count", many),
    "100 files": ("count", some),
    "1,000 to 1": ("size", in_place_of("LICENSE", bytes(5 * 10**7), zipfile.ZIP_DEFLATED)),
    "1,000 to 1 within what it may have": ("changed", in_place_of("LICENSE", bytes(10**6), zipfile.ZIP_DEFLATED)),
    "a size that its bytes cannot hold": ("bomb", size_in_the_table(b"docs/README.md", 900_000)),
    "a size that is too large": ("size", size_in_the_table(b"LICENSE", 2**31)),
    "a size that is too small": ("archive", size_in_the_table(b"docs/README.md", 3)),
    "a size in 64 bits": ("archive", edited(lies_in_64_bits)),
    "two lines for one file": ("bomb", edited(same_place)),
    "another name in front": ("archive", edited(other_name_in_front)),
    "wrong bytes (CRC)": ("archive", edited(broken_bytes)),
    "a password": ("password", flags_in_the_table(b"LICENSE", 8, 1)),
    "an unknown compression": ("compression", flags_in_the_table(b"LICENSE", 10, 95)),
    "bzip2": ("compression", in_place_of("LICENSE", b"x", zipfile.ZIP_BZIP2)),
    "an archive inside": ("added", with_entry("docs/inner.zip", nested())),
    "a pickle": ("pickle", with_entry("models/model.pt")),
    "cut in the middle": ("archive", lambda f, a: a.write_bytes(zipped(f, a).read_bytes()[:3000])),
    "nothing": ("archive", lambda f, a: a.write_bytes(b"")),
    "a page": ("archive", lambda f, a: a.write_bytes(b"<html>" * 100)),
    "an empty archive": ("missing", lambda f, a: zipped(f / "none", a) and None),
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused(what: str, bundle: Path, tmp_path: Path, own_temporary_folder: Path) -> None:
    reason, build = HOSTILE[what]
    archive = tmp_path / "bundle.zip"
    build(bundle, archive)
    before, began = set(tmp_path.iterdir()), time.perf_counter()
    with pytest.raises(BundleError) as fault:
        verify_bundle(archive)
    assert fault.value.reason == reason, str(fault.value)
    assert time.perf_counter() - began < 2
    assert set(tmp_path.iterdir()) == before
    assert not list(own_temporary_folder.iterdir())


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 20


@pytest.mark.parametrize("around", ["", "chest/", "some name 1.0/"])
def test_a_plain_archive_is_read_with_a_folder_around_it_or_without(around: str, bundle: Path, tmp_path: Path) -> None:
    archive = zipped(bundle, tmp_path / "b.zip", around)
    assert verify_bundle(archive).digest == verify_bundle(bundle).digest


def test_packing_is_the_same_bytes_every_time(bundle: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "b.zip", tmp_path / "c" / "b.zip"
    for archive in (one, other):
        archive.parent.mkdir()
        pack(bundle, archive)
        (bundle / "LICENSE").touch()
    assert one.read_bytes() == other.read_bytes()


def test_what_is_unpacked_is_private_and_gone_afterwards(bundle: Path, tmp_path: Path) -> None:
    archive = zipped(bundle, tmp_path / "b.zip")
    with opened(archive) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert (folder / "LICENSE").read_bytes() == (bundle / "LICENSE").read_bytes()
    assert not folder.exists()
