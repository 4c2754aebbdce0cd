"""A record of which no line can be changed, removed or moved unseen."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sansdata.engine.seal import chain
from sansdata.errors import SealError

Lines = list[bytes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "summary.json").write_text("{}")
    for number in range(5):
        chain.append(tmp_path, "SEALED", f"step-{number}", {"number": number, "text": 'ä\n"'}, ["summary.json", "none"])
    return tmp_path


def swap(lines: Lines) -> Lines:
    lines[1], lines[2] = lines[2], lines[1]
    return lines


def as_json(change: Callable[[dict], None], line: int = 2, hashed: bool = False) -> Callable[[Lines], Lines]:
    """Changes a record; hashed: gives it the hash of what it says now."""

    def edit(lines: Lines) -> Lines:
        fields = json.loads(lines[line])
        change(fields)
        if hashed:
            own = {name: value for name, value in fields.items() if name != "hash"}
            fields["hash"] = hashlib.sha256(canonical(own)).hexdigest()
        lines[line] = canonical(fields) + b"\n"
        return lines

    return edit


def canonical(fields: dict) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


EDITS: dict[str, tuple[str, Callable[[Lines], Lines]]] = {
    "a value": ("line 3: was changed", as_json(lambda one: one["facts"].update(number=9))),
    "a value, and its hash": ("line 4: does not follow", as_json(lambda one: one["facts"].update(number=9), 2, True)),
    "the time": ("line 3: was changed", as_json(lambda one: one.update(when="2020-01-01T00:00:00Z"))),
    "the hash of a file": ("line 3: was changed", as_json(lambda one: one["files"].update({"summary.json": "0" * 64}))),
    "another hash": ("line 3: was changed", as_json(lambda one: one.update(hash="0" * 64))),
    "a phase": ("line 3: was changed", as_json(lambda one: one.update(phase="REPORT"))),
    "the first line": ("line 2: does not follow", as_json(lambda one: one.update(event="x"), 0, True)),
    "a line removed": ("line 3: does not follow", lambda lines: [*lines[:2], *lines[3:]]),
    "the first removed": ("line 1: does not follow", lambda lines: lines[1:]),
    "two swapped": ("line 2: does not follow", swap),
    "a line twice": ("line 3: does not follow", lambda lines: [*lines[:2], lines[1], *lines[2:]]),
    "a space": ("line 2: was changed", lambda lines: [lines[0], lines[1].replace(b":", b": ", 1), *lines[2:]]),
    "an empty line": ("line 3: is no record", lambda lines: [*lines[:2], b"\n", *lines[2:]]),
    "another field": ("line 3: is no record", as_json(lambda one: one.update(extra=1), 2, True)),
    "a number as a text": ("line 3: is no record", as_json(lambda one: one.update(n="2"), 2, True)),
    "a file elsewhere": ("line 3: is no record", as_json(lambda one: one.update(files={"../x": "0"}), 2, True)),
    "no JSON": ("line 3: is no record", lambda lines: [*lines[:2], b"{\n", *lines[3:]]),
    "a bit": ("line 1: ", lambda lines: [bytes([*lines[0][:60], lines[0][60] ^ 1, *lines[0][61:]]), *lines[1:]]),
    "nested without end": ("line 1: is no record", lambda lines: [b"[" * 10_000 + b"\n", *lines[1:]]),
    "cut": ("its last line is cut", lambda lines: [*lines[:-1], lines[-1][:-5]]),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_is_seen_and_nothing_is_put_on_top_of_it(what: str, folder: Path) -> None:
    said, edit = EDITS[what]
    path = folder / chain.CHAIN
    path.write_bytes(b"".join(edit(path.read_bytes().splitlines(keepends=True))))
    before = path.read_bytes()
    with pytest.raises(SealError, match=said):
        chain.read(folder)
    with pytest.raises(SealError, match=said):
        chain.append(folder, "LOCAL", "evaluated")
    assert path.read_bytes() == before


def test_what_was_written_is_read_and_follows_by_plain_sha256(folder: Path) -> None:
    """Against a computation of our own, as an auditor does it."""
    records = chain.read(folder)
    assert [record.event for record in records] == [f"step-{number}" for number in range(5)]
    assert records[0].files == {"summary.json": hashlib.sha256(b"{}").hexdigest()}
    previous = "0" * 64
    for line in (folder / chain.CHAIN).read_bytes().splitlines():
        fields = json.loads(line)
        own = fields.pop("hash")
        assert fields["previous"] == previous
        assert hashlib.sha256(canonical(fields)).hexdigest() == own
        previous = own


def test_every_bit_counts(folder: Path) -> None:
    path = folder / chain.CHAIN
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(SealError):
            chain.read(folder)


def test_files_are_those_that_were_recorded_last(folder: Path) -> None:
    assert chain.changed_files(folder, chain.read(folder)) == []
    (folder / "summary.json").write_text("{ }")
    assert chain.changed_files(folder, chain.read(folder)) == ["summary.json was changed after it was recorded"]
    chain.append(folder, "LOCAL", "evaluated", files=["summary.json"])
    assert chain.changed_files(folder, chain.read(folder)) == []
    (folder / "summary.json").unlink()
    assert chain.changed_files(folder, chain.read(folder)) == ["summary.json is missing"]


@pytest.mark.parametrize("how", ["link", "hard link", "folder", "pipe"])
def test_a_chain_that_is_no_plain_file_is_neither_read_nor_written(how: str, folder: Path) -> None:
    path, other = folder / chain.CHAIN, folder / "other"
    shutil.move(path, other)
    make = {"link": lambda: path.symlink_to(other), "hard link": lambda: os.link(other, path), "folder": path.mkdir,
            "pipe": lambda: os.mkfifo(path)}  # fmt: skip
    make[how]()
    before = other.read_bytes()
    with pytest.raises(SealError):
        chain.append(folder, "LOCAL", "evaluated")
    assert other.read_bytes() == before


def test_many_at_once_make_one_chain(tmp_path: Path) -> None:
    children = []
    for number in range(4):
        if (child := os.fork()) == 0:
            try:
                for _ in range(10):
                    chain.append(tmp_path, "REPORT", f"by-{number}")
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    assert len(chain.read(tmp_path)) == 40
