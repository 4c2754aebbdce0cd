"""Writing whole or not at all, reading only what is a file of its own, names sorted by their numbers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sansdata import files
from sansdata.errors import ConfigError
from sansdata.reproduce.teachers import cache
from sansdata.synthesis.voices import store
from sansdata.teachers.service.journal import journal_path


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    (tmp_path / "canary").write_text("mine")
    return tmp_path / "canary"


def test_a_link_is_replaced_and_never_written_through(tmp_path: Path, canary: Path):
    (tmp_path / "link").symlink_to(canary)
    files.write_atomic(tmp_path / "link", "ours")
    assert (tmp_path / "link").read_text() == "ours"
    assert canary.read_text() == "mine"


def test_a_new_file_takes_nobody_elses_place(tmp_path: Path, canary: Path):
    (tmp_path / "link").symlink_to(canary)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for path in (canary, tmp_path / "link", tmp_path / "dangling"):
        with pytest.raises(FileExistsError):
            files.write_synced(path, b"ours")
    assert canary.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_only_a_file_of_its_own_is_appended_to(tmp_path: Path, canary: Path):
    with files.open_in_place(tmp_path / "log") as log:
        log.write(b"one\n")
    with files.open_in_place(tmp_path / "log") as log:
        log.write(b"two\n")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"
    (tmp_path / "link").symlink_to(canary)
    (tmp_path / "hard").hardlink_to(canary)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "hard", "pipe"):
        with pytest.raises(OSError, match=name):
            files.open_in_place(tmp_path / name)
    assert canary.read_text() == "mine"


def test_only_regular_files_within_the_bound_are_read(tmp_path: Path, canary: Path):
    assert files.read_regular(canary, 4) == b"mine"
    (tmp_path / "link").symlink_to(canary)
    os.mkfifo(tmp_path / "pipe")
    for path, most, why in ((canary, 3, "larger than 3 bytes"), (tmp_path / "link", 9, "a link"),
                            (tmp_path / "pipe", 9, "no regular file"), (tmp_path, 9, "no regular file")):  # fmt: skip
        with pytest.raises(OSError, match=why):
            files.read_regular(path, most)


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a": ' + b"9" * 5_000 + b"}", b'""' + b',""' * 600_000, b"{"])
def test_json_that_is_built_to_hurt_is_a_value_error(data: bytes):
    with pytest.raises(ValueError):
        files.parse_json(data)


def test_steps_are_numbers(tmp_path: Path):
    for name in (
        "step-000000002",
        "step-000000002-999",
        "step-000000002-1000",
        "step-1000000000",
        "step-x",
        "step-1.npz",
    ):
        (tmp_path / name).mkdir()
    assert [path.name for _, path in files.by_step(tmp_path)] == [
        "step-000000002", "step-000000002-999", "step-000000002-1000", "step-1000000000",
    ]  # fmt: skip
    assert [step for step, _ in files.by_step(tmp_path, ".npz")] == [1]
    (tmp_path / "link").symlink_to(tmp_path)
    assert files.by_step(tmp_path / "link") == []


def test_removing_goes_through_no_link(tmp_path: Path, canary: Path):
    (tmp_path / "doomed" / "inner").mkdir(parents=True)
    (tmp_path / "doomed" / "inner" / "link").symlink_to(canary)
    (tmp_path / "doomed" / "folder").symlink_to(tmp_path)
    files.remove(tmp_path / "doomed")
    assert not (tmp_path / "doomed").exists()
    assert canary.read_text() == "mine"


@pytest.mark.parametrize("text", ["", '{"audits": 3}', "{", "\x00"])
def test_a_torn_record_is_set_aside_and_that_is_said(tmp_path, text, capsys):
    path = tmp_path / "audit.json"
    path.write_text(text)
    assert files.read_record(path, "audits") == {"audits": []}
    (aside,) = tmp_path.iterdir()
    assert aside.name.startswith("audit.json.damaged-")
    assert aside.read_text() == text
    assert aside.name in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["%PDF-1.7 my thesis", "[1]", '{"notes": [1]}', '{"audits": [' + '"",' * 600_000 + '""]}', "large"]
)
def test_a_record_that_is_whole_and_too_large_or_none_of_ours_stays_where_it_is(tmp_path, text):
    path = tmp_path / "audit.json"
    path.write_text(text)
    if text == "large":
        os.truncate(path, files.MAX_JSON_BYTES + 1)
    before = path.stat()
    with pytest.raises(OSError, match=r"more than|larger than|no record of sansdata's"):
        files.read_record(path, "audits")
    assert os.listdir(tmp_path) == ["audit.json"]
    assert path.stat() == before


def test_nothing_is_written_that_could_not_be_read_again_and_numbers_stand_in_a_line(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"matrix": [[1, 2.5], [None, -3e-9]], "names": ["[\n1\n]"], "empty": []})
    assert files.read_json(path) == {"matrix": [[1, 2.5], [None, -3e-9]], "names": ["[\n1\n]"], "empty": []}
    assert "[1,2.5]" in path.read_text()
    before = path.read_text()
    for value in ("x" * files.MAX_JSON_BYTES, [""] * files.MAX_JSON_PARTS):
        with pytest.raises(OSError, match="not read again"):
            files.write_json(path, value)
    assert path.read_text() == before
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_record_keeps_what_it_holds_beside_its_lists(tmp_path):
    path = tmp_path / "record.json"
    assert files.read_record(path, "rows") == {"rows": []}
    path.write_text('{"rows": [{"a": 1}, 2], "more": 3}')
    assert files.read_record(path, "rows") == {"rows": [{"a": 1}], "more": 3}


@pytest.mark.parametrize("path", [None, 5, b"run", "", "a\0b", "r\udcff", Path("r\udcff")])
def test_what_is_no_path_is_refused_by_name(path):
    with pytest.raises(ConfigError, match="out: "):
        files.user_path(path)


def test_a_users_path_has_their_home_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.user_path("~/run") == files.user_path(Path("~/run")) == tmp_path / "run"
    assert files.user_path("run/~") == Path("run/~")
    monkeypatch.chdir(tmp_path)
    assert files.absolute(Path("a/../run")) == tmp_path / "a" / ".." / "run"  # 'a' may be a link: nothing is shortened


@pytest.mark.parametrize("named", ["", "caches", "./caches", "~/caches"])
def test_a_cache_lies_in_the_home_folder_where_nothing_whole_is_named(named, tmp_path, monkeypatch):
    """An empty XDG_CACHE_HOME put paid answers into the folder that one was in, where no other run found them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    assert {files.cache_root(), journal_path("x").parents[1], store().parent, cache().parent} == {
        tmp_path / ".cache" / "sansdata"
    }


def test_a_cache_needs_no_home_where_it_is_named_and_says_so_where_it_does(tmp_path, monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda user: {}[user])  # as of a container's user without an entry
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert {journal_path("x").parents[1], store().parent, cache().parent} == {tmp_path / "sansdata"}
    monkeypatch.delenv("XDG_CACHE_HOME")
    with pytest.raises(ConfigError, match="set HOME, or XDG_CACHE_HOME"):
        files.cache_root()
