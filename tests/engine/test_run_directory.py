"""What a run directory lets in, and what it takes away again: only what this process made."""

from __future__ import annotations

from pathlib import Path

import pytest

from sansdata.engine.run_directory import RunDirectory
from sansdata.errors import ConfigError, RunDirectoryError


@pytest.mark.parametrize("beside", ["thesis.tex", "samples", "run.json.bak"])
def test_a_folder_with_a_lock_and_something_else_is_no_run(tmp_path: Path, beside: str):
    (tmp_path / "lock").write_text("123")
    (tmp_path / beside).write_text("mine")
    with pytest.raises(RunDirectoryError, match="holds no run"):
        RunDirectory(tmp_path).open(resume=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["lock", beside])


def test_a_lock_that_is_none_of_ours_is_no_run(tmp_path: Path):
    (tmp_path / "lock").write_text("chapter one")
    with pytest.raises(RunDirectoryError, match="holds no run"):
        RunDirectory(tmp_path).open(resume=True)
    assert (tmp_path / "lock").read_text() == "chapter one"


def test_a_run_that_had_only_begun_begins_again(tmp_path: Path):
    (tmp_path / "lock").write_text("123")
    directory = RunDirectory(tmp_path)
    assert directory.open(resume=True) is False
    directory.release()
    assert (tmp_path / "lock").read_text() == ""


def test_discarding_takes_what_this_process_made_and_no_more(tmp_path: Path):
    out = tmp_path / "out"
    directory = RunDirectory(out)
    directory.open(resume=False)
    directory.write_text("config.yaml", "seed: 1")
    directory.folder("samples")
    (out / "thesis.tex").write_text("put there meanwhile")
    directory.discard()
    directory.release()
    assert [p.name for p in out.iterdir()] == ["thesis.tex"]
    empty = RunDirectory(tmp_path / "empty")
    (tmp_path / "empty").mkdir()
    empty.open(resume=False)
    empty.discard()
    empty.release()
    assert (tmp_path / "empty").is_dir()


def test_the_kind_of_a_run_is_asked(tmp_path: Path):
    directory = RunDirectory(tmp_path / "out", "federated")
    directory.open(resume=False)
    directory.write_json("run.json", {"kind": "federated", "status": "interrupted"})
    directory.release()
    with pytest.raises(RunDirectoryError, match="sansdata federate"):
        RunDirectory(tmp_path / "out").open(resume=True)
    assert RunDirectory(tmp_path / "out", "federated").open(resume=True) is True


def test_a_path_is_whole_and_of_letters_that_other_libraries_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    directory = RunDirectory(Path("out"))
    monkeypatch.chdir("/")
    assert directory.path == tmp_path / "out"
    with pytest.raises(ConfigError, match="is no UTF-8"):
        RunDirectory(tmp_path / "r\udcff").open(resume=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert RunDirectory(tmp_path / "out").path == tmp_path / "out"
    with pytest.raises(RunDirectoryError, match="no longer there"):
        RunDirectory(Path("out"))
