"""The library: distill, load, evaluate, export, report from Python."""

from __future__ import annotations

import functools
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from cases import CASES, IMAGE_ROWS
from tiny import ENGINE, Plain, Tiny, differing, make_module, make_student, make_task, method_of, needs_pool

import sansdata
from sansdata.errors import ConfigError, DataError, MethodError, RunDirectoryError, StudentError, TaskError, UserError
from sansdata.teachers.base import fingerprint

OPTIONS = CASES["noise"].options


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run with modules on both sides, and what it left of them."""
    teacher, student, seen = make_module(), make_student(), []
    student.train()
    student.bn1.eval()
    before = {"teacher": fingerprint(teacher), "student": fingerprint(student), "random": random.getstate()}
    before["torch"] = torch.get_rng_state()
    modes = [part.training for part in student.modules()]
    result = sansdata.distill(
        sansdata.Teacher.from_module(teacher, make_task()), student, "noise", "6steps",
        out=tmp_path_factory.mktemp("api") / "run", on_step=lambda step, losses: seen.append((step, losses)),
        strict=True, options=OPTIONS, settings={"engine": ENGINE, "threads": 1},
    )  # fmt: skip
    after = {"teacher": fingerprint(teacher), "student": fingerprint(student), "random": random.getstate()}
    after["torch"] = torch.get_rng_state()
    return {
        "teacher": teacher, "student": student, "result": result, "seen": seen, "before": before, "after": after,
        "modes": (modes, [part.training for part in student.modules()]),
    }  # fmt: skip


def test_the_modules_are_left_as_they_were(made: dict[str, Any]) -> None:
    for what in ("teacher", "student", "random"):
        assert made["before"][what] == made["after"][what]
    assert torch.equal(made["before"]["torch"], made["after"]["torch"])
    assert made["modes"][0] == made["modes"][1]
    assert all(p.grad is None and p.requires_grad for p in made["student"].parameters())
    assert made["result"].student is not made["student"]


def test_the_result_learnt_and_is_in_eval_mode(made: dict[str, Any]) -> None:
    result = made["result"]
    assert not any(part.training for part in result.student.modules())
    assert fingerprint(result.student) != made["before"]["student"]


def test_student_takes_normalised_images_and_model_takes_unit_ones(made: dict[str, Any]) -> None:
    images = torch.rand(5, 1, 8, 8)
    result = made["result"]
    with torch.no_grad():
        inner, outer = result.student((images - 0.5) / 0.25), result.model(images)
    assert outer.shape == (5, 4)
    assert torch.allclose(inner, outer, atol=1e-5)
    with torch.no_grad():
        assert not torch.allclose(result.student(images), outer, atol=1e-3)


def test_on_step_metrics_and_cost(made: dict[str, Any]) -> None:
    result = made["result"]
    assert [step for step, _ in made["seen"]] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in result.metrics] == [1, 2, 3, 4, 5, 6]
    for (_, losses), line in zip(made["seen"], result.metrics):
        assert losses == line["losses"]
        assert set(losses) == {"transfer/match"}
    assert result.cost["samples"] == 48
    assert result.summary["steps"] == 6


def test_load_needs_the_module_and_answers_the_same(made: dict[str, Any]) -> None:
    """Its architecture is the user's code: the file cannot build it."""
    folder = made["result"].run_dir
    with pytest.raises(StudentError, match=r"student=MyModel\(\)"):
        sansdata.load(folder)
    with pytest.raises(StudentError, match="does not fit"):
        sansdata.load(folder, student=Plain())
    again = sansdata.load(folder, student=make_student(seed=99))
    images = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        assert torch.allclose(again.student(images), made["result"].student(images), atol=1e-5)
    assert differing(again.student.state_dict(), made["result"].student.state_dict()) == []
    assert again.task == make_task()


@pytest.fixture(scope="module")
def from_specs(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> sansdata.Result:
    return sansdata.distill(
        tiny.teacher, "shrink:0.25", "dafl", "6steps", tmp_path_factory.mktemp("specs") / "run", task=tiny.task,
        options=CASES["dafl"].options, settings={"engine": ENGINE, "threads": 1},
    )  # fmt: skip


def test_load_later_without_the_module(from_specs: sansdata.Result) -> None:
    """In a fresh process too, from nothing but the directory; the caller's generator is not drawn from."""
    before = torch.get_rng_state()
    again = sansdata.load(from_specs.run_dir)
    assert torch.equal(before, torch.get_rng_state())
    assert differing(again.student.state_dict(), from_specs.student.state_dict()) == []
    best = sansdata.load(from_specs.run_dir, best=True)
    images = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        expected = from_specs.model(images)
        assert torch.equal(again.model(images), expected)
        assert best.model(images).shape == expected.shape
    script = (
        "import sys, torch, sansdata\n"
        "torch.set_num_threads(1)\n"
        "torch.manual_seed(3)\n"
        "images = torch.rand(4, 1, 8, 8)\n"
        "print(sansdata.load(sys.argv[1]).model(images).flatten().tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(from_specs.run_dir)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        same = from_specs.model(torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(3)))
    assert json.loads(done.stdout) == same.flatten().tolist()


def test_evaluate_export_report(from_specs: sansdata.Result, tiny: Tiny) -> None:
    """The names stay functions although rooms have them too."""
    folder, before = from_specs.run_dir, torch.get_rng_state()
    found = sansdata.evaluate(folder, tiny.data, teacher=tiny.teacher)
    assert found.count == 40
    assert found.teacher_accuracy == 1.0
    again = sansdata.evaluate(from_specs, tiny.data)
    assert again.accuracy == found.accuracy
    module = sansdata.evaluate(from_specs.student, tiny.data, task=tiny.task)
    assert module.accuracy == found.accuracy
    assert torch.equal(before, torch.get_rng_state())
    saved = json.loads((folder / "evaluation.json").read_text())
    assert saved["accuracy"] == found.accuracy
    exported = sansdata.export(folder, "pt2")
    assert exported.argmax_agreement == 1.0
    assert Path(exported.file).stat().st_size == exported.size
    page = sansdata.report(folder, tiny.data)
    assert page == folder / "report.html"
    assert f"{100 * found.accuracy:.1f}" in page.read_text(encoding="utf-8")


def test_onnx_answers_like_the_model(from_specs: sansdata.Result, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    report = sansdata.export(from_specs, "onnx", tmp_path / "s.onnx")
    session = onnxruntime.InferenceSession(str(report.file), providers=["CPUExecutionProvider"])
    images = torch.rand(3, 1, 8, 8)
    answers = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
    with torch.no_grad():
        assert np.abs(answers - from_specs.model(images).numpy()).max() < 1e-4


def test_a_result_keeps_its_run_after_a_change_of_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """During the run, after it, and where a run of the same name lies in the new folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "a"))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()

    def run_of(out: str, budget: str, on_step: Any = None) -> sansdata.Result:
        return sansdata.distill(
            sansdata.Teacher.from_module(make_module(), make_task()), make_student(), "noise", budget, out, 0, on_step,
            options=OPTIONS, settings={"engine": ENGINE, "threads": 1},
        )  # fmt: skip

    monkeypatch.chdir(tmp_path / "b")
    other = run_of("run", "2steps")
    monkeypatch.chdir(tmp_path / "a")
    result = run_of("~/run", "3steps", lambda step, losses: monkeypatch.chdir(tmp_path / "b"))
    assert result.run_dir == tmp_path / "a" / "run"
    assert (result.summary["steps"], other.summary["steps"], len(result.metrics)) == (3, 2, 3)
    monkeypatch.chdir(tmp_path / "a")
    later = sansdata.load("run", student=make_student())
    monkeypatch.chdir(tmp_path / "b")
    assert later.summary["steps"] == 3
    sansdata.export(later, "pt2")
    assert (tmp_path / "a" / "run" / "student.pt2").is_file()
    assert not (tmp_path / "b" / "run" / "student.pt2").exists()


def test_an_export_says_nothing_of_this_machines_folders(from_specs: sansdata.Result, tmp_path: Path) -> None:
    done = sansdata.export(from_specs, "onnx", tmp_path / "sent.onnx")
    record = json.loads((tmp_path / "sent.onnx.json").read_text())
    assert (record["file"], record["self_test"]) == ("sent.onnx", "sent.selftest.npz")
    assert str(tmp_path) not in json.dumps(record)
    assert done.file == str(tmp_path / "sent.onnx")


def test_check(tiny: Tiny) -> None:
    before = torch.get_rng_state()
    found = sansdata.check(tiny.teacher, tiny.task, "shrink:0.5")
    assert torch.equal(before, torch.get_rng_state())
    assert found["faults"] == []
    assert found["takes"] == "normalised images, 1 x 8 x 8 (channels x height x width)"
    assert set(found["methods"]) >= {method_of(row) for row in CASES}
    lacking = {name for name in IMAGE_ROWS if found["methods"][name]}
    assert lacking == {name for name in IMAGE_ROWS if needs_pool(name)} | {"diffdfkd"}
    assert "prior.model" in found["methods"]["diffdfkd"][0]
    assert "inputs are table" in found["methods"]["tabkd"][0]
    assert "--pool" in found["methods"]["pool-kd"][0]
    plain = sansdata.check(sansdata.Teacher.from_module(Plain(), make_task()))
    assert plain["methods"]["fm"]
    assert plain["methods"]["noise"] == []
    assert "dafl" in plain["auto"]


@pytest.mark.parametrize(
    ("fault", "given"),
    [
        (ConfigError, {"budget": "soon"}),
        (ConfigError, {"seed": -1}),
        (ConfigError, {"options": {"nothing": 1}}),
        (ConfigError, {"settings": {"engine": {"logevery": 1}}}),
        (ConfigError, {"settings": {"thread": 1}}),
        (ConfigError, {"settings": {"seed": 1}}),
        (ConfigError, {"settings": {"features": {"hint": -1}}}),
        (UserError, {"method": "nothing"}),
        (UserError, {"student": "nothing"}),
        (TaskError, {"task": None}),
        (TaskError, {"task": {"kind": "image"}}),
        (TaskError, {"task": 5}),
        (ConfigError, {"out": None}),
        (ConfigError, {"out": b"run"}),
        (ConfigError, {"options": "transfer.batch=8"}),
        (ConfigError, {"options": {"transfer": {"batch": object()}}}),
        (ConfigError, {"settings": ["threads"]}),
        (ConfigError, {"settings": {1: 2}}),
        (ConfigError, {"pool": ["folder"]}),
        (ConfigError, {"sign": 5, "sealed": True}),
        (ConfigError, {"on_step": 5}),
        (ConfigError, {"on_step": lambda step: None}),
        (MethodError, {"method": None}),
        (MethodError, {"method": functools.partial(print)}),
    ],
)
def test_wrong_arguments_are_user_errors(fault: type, given: dict[str, Any], tiny: Tiny, tmp_path: Path) -> None:
    good: dict[str, Any] = {"task": tiny.task, "method": "noise", "student": "shrink:0.25", "out": tmp_path / "run"}
    with pytest.raises(fault):
        sansdata.distill(tiny.teacher, **(good | given))
    assert not (tmp_path / "run").exists()


def test_numbers_of_numpy_and_torch_are_the_numbers_that_they_are(tiny: Tiny, tmp_path: Path) -> None:
    """A sweep over an array: the settings were refused by their writer, once everything was prepared."""
    task = make_task().model_dump(mode="json") | {"classes": np.int64(4), "mean": np.array([0.5])}
    rate = torch.tensor(0.5)
    result = sansdata.distill(
        tiny.teacher, "shrink:0.25", "noise", "1steps", tmp_path / "run", np.int64(3), task=task,
        options={"transfer": {"batch": np.int64(8), "lr": rate}}, settings={"threads": 1, "engine": ENGINE},
    )  # fmt: skip
    written = yaml.safe_load((result.run_dir / "config.yaml").read_text())
    assert (written["seed"], written["task"]["classes"], written["task"]["mean"]) == (3, 4, [0.5])
    assert (written["options"]["transfer"]["batch"], written["options"]["transfer"]["lr"]) == (8, 0.5)


def test_wrong_places(tiny: Tiny, tmp_path: Path, from_specs: sansdata.Result) -> None:
    with pytest.raises(RunDirectoryError):
        sansdata.load(tmp_path)
    with pytest.raises(RunDirectoryError):
        sansdata.report(tmp_path)
    with pytest.raises(DataError):
        sansdata.evaluate(from_specs, tmp_path / "nothing.npz")
    with pytest.raises(AttributeError, match="no attribute 'destil'"):
        _ = sansdata.destil
    assert set(sansdata.__all__) <= set(dir(sansdata))
