"""An export that cannot be is refused before a run; one that fails after it costs neither the others nor the run."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest
from tiny import WORLDS, Tiny, make_task
from typer.testing import CliRunner

from sansdata.cli import distill
from sansdata.cli.export import Target
from sansdata.cli.main import app
from sansdata.deploy.possible import require_possible
from sansdata.errors import MissingLibraryError, SansdataError, StudentError, UserError


@pytest.mark.parametrize(
    ("target", "world", "words"),
    [
        ("diffusers", "image", "it holds a generator, noise x field"),
        ("adapters", "image", "it holds a generator"),
        ("onnx-int8", "tokens", "classifiers of images"),
        ("executorch", "tokens", "one tensor"),
    ],
)
def test_a_format_that_the_task_rules_out(
    target: str, world: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr("sansdata.deploy.possible.LIBRARIES", {})
    with pytest.raises(StudentError, match=words):
        require_possible([target], WORLDS[world].task, "auto")


def test_adapters_are_those_of_a_student_that_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task().model_copy()
    monkeypatch.setattr(type(task), "pair", ("noise", "field"))
    require_possible(["adapters"], task, "lora:8")
    with pytest.raises(StudentError, match="distil it with --student lora:8"):
        require_possible(["adapters"], task, "one-step")


@pytest.mark.parametrize(
    ("target", "library"), [("onnx", "onnxscript"), ("onnx-int8", "onnx"), ("diffusers", "diffusers")]
)
def test_a_library_that_is_not_there(target: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingLibraryError, match=f"needs .*{library}.*pip install"):
        require_possible(["pt2", target], None, "auto")


@pytest.mark.parametrize("more", [["--dry-run"], []])
def test_the_command_says_so_before_the_first_step(tiny: Tiny, tmp_path: Path, more: list[str]) -> None:
    config = tiny.config(tiny.settings("noise", budget="2steps"), folder=tmp_path)
    asked = ["distill", "--config", str(config), "--out", str(tmp_path / "run"), "--export", "adapters", *more]
    done = CliRunner().invoke(app, asked)
    assert isinstance(done.exception, UserError), done.output
    assert "it holds a generator" in str(done.exception)
    assert not (tmp_path / "run").exists()


def test_an_export_that_fails_leaves_the_others_and_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reported: list[Path] = []

    students: list[str] = []

    def write(student: str, to: str) -> str:
        students.append(student)
        if to == "onnx":
            raise SansdataError("disagrees by 3")
        if to == "onnx-int8":
            raise RuntimeError("tracing\nmany lines")
        return f"file {to}"

    monkeypatch.setattr(import_module("sansdata.api.export"), "export", write)
    monkeypatch.setattr(import_module("sansdata.api.report"), "report", reported.append)
    monkeypatch.setattr(distill, "lines_of", lambda done: [done])
    assert distill._export(tmp_path, [Target.onnx, Target.int8, Target.pt2], None) == 1
    said = capsys.readouterr()
    assert said.out == "file pt2\n"
    assert f"disagrees by 3. the student is there; try again: sansdata export {tmp_path} --to onnx" in said.err
    assert "RuntimeError: tracing" in said.err
    assert reported == [tmp_path]
    assert students == [str(tmp_path)] * 3
    distill._export(tmp_path, [Target.pt2], "package:net")
    assert students[-1] == f"package:net@{tmp_path}"
