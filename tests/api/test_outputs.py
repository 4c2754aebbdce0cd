"""What stands where a verb is to write may be the user's: only an earlier file of the same verb gives way."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import real_run
from typer.testing import CliRunner

import sansdata
from sansdata.api.outputs import require_free
from sansdata.cli.main import app
from sansdata.errors import ConfigError, DataError, TeacherError

WRITE: dict[str, tuple[str, Callable[[Path, Path], Any]]] = {
    "pt2": ("x.pt2", lambda run, out: sansdata.export(run, "pt2", out)),
    "onnx": ("x.onnx", lambda run, out: sansdata.export(run, "onnx", out)),
    "onnx-int8": ("x.onnx", lambda run, out: sansdata.export(run, "onnx-int8", out)),
    "to_int8": ("x.onnx", lambda run, out: sansdata.to_int8(run, out)),
    "prune": ("x.safetensors", lambda run, out: sansdata.prune(run, run, out=out)),
    "quantize": ("x.safetensors", lambda run, out: sansdata.quantize(run, run, out=out)),
    "card": ("x.md", lambda run, out: sansdata.write_card(run, out)),
    "evaluate": ("x.json", lambda run, out: _evaluate(run, out)),
}
"""Verb -> the name of its file, and the verb."""


def _evaluate(run: str | Path, out: str | Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", str(run), "--data", str(real_run.tiny().data), "--json", str(out)])
    if done.exception is not None:
        raise done.exception


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(real_run.finished(real_run.IMAGE), tmp_path_factory.mktemp("outputs") / "run"))


@pytest.mark.parametrize("verb", WRITE)
def test_a_file_of_the_users_stays(verb: str, run: Path, tmp_path: Path) -> None:
    name, write = WRITE[verb]
    beside = {"pt2": ["x.pt2.json"], "onnx": ["x.onnx.json", "x.selftest.npz"]}.get(verb, [])
    for taken in (name, *beside):
        (tmp_path / taken).write_text('{"name": "mine"}')
        with pytest.raises(ConfigError, match=f"{taken}: is there already"):
            write(run, tmp_path / name)
        assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {taken: '{"name": "mine"}'}
        (tmp_path / taken).unlink()


@pytest.mark.parametrize("verb", ["pt2", "onnx", "card", "evaluate"])
def test_an_earlier_file_of_the_verb_gives_way(verb: str, run: Path, tmp_path: Path) -> None:
    name, write = WRITE[verb]
    for _ in range(2):
        write(run, tmp_path / name)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes().replace(b"sansdata", b"SANSDATA"))
    if verb in ("card", "evaluate"):
        (tmp_path / name).write_text("---\nlibrary_name: other\n---\n" if verb == "card" else '{"count": 40}')
    with pytest.raises(ConfigError, match="is there already"):
        write(run, tmp_path / name)


@pytest.mark.parametrize(("verb", "name"), [("evaluate", "run.json"), ("evaluate", "evaluation.json"),
                                            ("card", "summary.json"), ("pt2", "student.safetensors")])  # fmt: skip
def test_a_file_of_the_run_stays(verb: str, name: str, run: Path) -> None:
    sansdata.evaluate(run, str(real_run.tiny().data))
    before = (run / name).read_bytes()
    with pytest.raises(ConfigError, match="is there already"):
        WRITE[verb][1](run, run / name)
    assert (run / name).read_bytes() == before


def test_an_export_in_its_run_is_renewed_and_a_readme_of_the_users_is_not(run: Path) -> None:
    for _ in range(2):
        sansdata.export(run, "pt2")
    (run / "README.md").write_text("my notes")
    with pytest.raises(ConfigError, match=r"README\.md: is there already"):
        sansdata.write_card(run)


def test_a_student_file_has_its_ending(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.safetensors"):
        sansdata.prune(run, run, out=tmp_path / "x.pt")


def test_a_place_that_is_none_is_said_with_the_flag(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name another with --json"):
        require_free(tmp_path / "none" / "x.json", flag="--json")
    with pytest.raises(ConfigError, match="names no file; name one with --json"):
        _evaluate("run", "")


def test_an_empty_name_of_images_is_not_the_run_itself(run: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "x.safetensors")
    done = CliRunner().invoke(app, ["compress", str(run), "--keep", "0.5", "--images", "", "--out", out])
    assert isinstance(done.exception, DataError)
    with pytest.raises(ConfigError, match="names no file"):
        sansdata.export(run, "onnx", Path())
    with pytest.raises(TeacherError, match="names no file"):
        sansdata.convert(Path())
