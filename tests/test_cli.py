"""The command: help, exit codes, and errors in plain words."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from cases import CASES
from processes import Job, nursery
from safetensors.torch import save_file
from tiny import Plain, Tiny, make_module, tensors
from typer.testing import CliRunner

from sansdata.cli.main import app
from sansdata.errors import ConfigError
from sansdata.methods.index import METHODS

VERBS = ("distill", "check", "evaluate", "export", "report", "reproduce", "list", "demo", "doctor")
ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


def sansdata(folder: Path, *argv: str | Path) -> Job:
    return nursery().run(argv, folder)


def fails(job: Job, code: int, *words: str) -> None:
    assert job.code == code, job.output
    assert "Traceback" not in job.output
    for word in words:
        assert word in job.output


@pytest.fixture(scope="module")
def finished(tiny: Tiny, folder: Path) -> Path:
    """The whole story, in a real process of its own: a strict run, from the command line alone."""
    out = folder / "run"
    argv = [sys.executable, "-m", "sansdata", "distill", "--teacher", tiny.teacher, "--task", tiny.task, "--student",
            "shrink:0.25", "--method", "noise", "--out", str(out), "--budget", "6steps", "--threads", "1", "--strict",
            "transfer.batch=8", "engine.log_every=1"]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, timeout=200, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr
    assert "agreement" in done.stdout
    assert "no data of the task was seen" in done.stdout
    assert str(out / "report.html") in done.stdout
    return out


# -- help


def test_help_answers_at_once_and_without_torch() -> None:
    """Every verb, in one process; a user who asks for help should not wait for a framework."""
    script = f"""
import sys
from sansdata.cli.main import app
for verb in {VERBS!r}:
    try:
        app([verb, "--help"])
    except SystemExit as leave:
        assert not leave.code, verb
assert "torch" not in sys.modules
"""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 20
    assert done.stdout.count("Usage: ") == len(VERBS)
    assert done.stdout.count("--help") >= len(VERBS)


def test_ctrl_c_while_the_command_is_being_imported_is_no_traceback() -> None:
    """Half of a second that no handler of ours covers."""
    interrupted = (
        "import sys\n"
        "class Late:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Late())\n"
        "from sansdata.__main__ import run\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", interrupted], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_installed_command_lists_its_verbs() -> None:
    done = subprocess.run([sys.executable, "-m", "sansdata", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    for verb in VERBS:
        assert f" {verb} " in done.stdout


# -- what there is


def test_list(folder: Path) -> None:
    methods = sansdata(folder, "list", "methods")
    assert methods.code == 0
    for name in METHODS:
        assert name in methods.output
    assert "from image to classes or masks; presets small, mnist, lra" in methods.output
    models = sansdata(folder, "list", "models")
    assert models.code == 0
    assert "resnet8" in models.output
    assert "digits" in models.output
    recipes = sansdata(folder, "list", "recipes")
    assert recipes.code == 0
    assert len(recipes.output.splitlines()) >= 1
    fails(sansdata(folder, "list", "nonsense"), 2, "nonsense")


def test_doctor(folder: Path) -> None:
    job = sansdata(folder, "doctor")
    assert job.code == 0, job.output
    for word in ("python", "torch", "device", "cores", "extra"):
        assert word in job.output
    assert re.search(r"extra +dev +installed", job.output)
    ray = importlib.util.find_spec("ray")
    assert re.search(rf"extra +flower-sim +{'installed' if ray else 'missing ray'}", job.output)


def test_print_config_resolves_and_can_be_fed_back(tiny: Tiny, folder: Path) -> None:
    argv = ["distill", "--teacher", tiny.teacher, "--task", tiny.task, "--method", "dafl", "--preset", "mnist",
            "transfer.lr=3e-4", "--print-config"]  # fmt: skip
    job = sansdata(folder, *argv)
    assert job.code == 0, job.output
    tree = yaml.safe_load(job.output)
    assert tree["options"]["generator_lr"] == 0.2
    assert tree["options"]["transfer"]["lr"] == 3e-4
    assert tree["options"]["transfer"]["optimizer"] == "adam"
    file = folder / "printed.yaml"
    file.write_text(job.output)
    again = sansdata(folder, "distill", "--config", file, "--print-config")
    assert yaml.safe_load(again.output)["options"] == tree["options"]


STREAMS = {"nobody reads on": "terminal_closed", "full": "no_room_to_print", "closed": "streams_closed"}


@pytest.mark.parametrize("what", STREAMS)
def test_what_cannot_be_printed_is_no_traceback(what: str, tmp_path: Path) -> None:
    job = nursery().run(["list", "methods"], tmp_path, [(STREAMS[what],)])
    assert job.code == (0 if what == "closed" else 1)
    assert "Traceback" not in job.output
    assert "Exception ignored" not in job.output


def test_a_fault_that_is_ours_is_one_line_that_names_the_place(tmp_path: Path) -> None:
    job = nursery().run(["list", "methods"], tmp_path, [("broken", "methods.index", "method_names")])
    fails(job, 1, "error: ZeroDivisionError: ", "(listing.py, line", "-X dev")


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    fails(nursery().run(["list", "methods"], tmp_path, [("in_no_folder",)]), 2, "change to another")


def test_dry_run_plans_and_writes_nothing(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config(tiny.settings("fm", CASES["fm"].options), folder=tmp_path)
    before = set(tmp_path.iterdir())
    job = sansdata(tmp_path, "distill", "--config", config, "--dry-run", "--out", tmp_path / "run")
    assert job.code == 0, job.output
    text = job.output[job.output.index("{") :]
    plan = json.loads(text)["plan"]
    assert plan["seconds"] > 0
    assert "8 student steps in 12 moves: about " in job.output
    assert plan["steps"] == plan["moves"]["transfer"] == 8
    assert {p for p in set(tmp_path.iterdir()) - before if "job" not in p.name} == set()


# -- check


def test_check_says_what_it_found(tiny: Tiny, folder: Path) -> None:
    job = sansdata(folder, "check", "--teacher", tiny.teacher, "--task", tiny.task, "--student", "shrink:0.5")
    assert job.code == 0, job.output
    assert "verdict   ready" in job.output
    assert "1 x 8 x 8" in job.output
    for name in METHODS:
        assert f"method    {name}" in job.output


def test_check_ends_with_2_on_a_fault(tiny: Tiny, folder: Path) -> None:
    weights = {name: torch.zeros_like(value) for name, value in make_module().state_dict().items()}
    save_file(weights, folder / "blank.safetensors")
    job = sansdata(folder, "check", "--teacher", f"resnet8@{folder / 'blank.safetensors'}", "--task", tiny.task)
    fails(job, 2, "FAULT", "cannot be distilled")


# -- exit codes


DISTILL = ["distill", "--teacher", "TEACHER", "--task", "TASK", "--out", "OUT"]
WRONG = {
    "no teacher": (["distill", "--task", "TASK", "--out", "OUT"], "--teacher"),
    "no task": (["distill", "--teacher", "TEACHER", "--out", "OUT"], "--task"),
    "no out": (["distill", "--teacher", "TEACHER", "--task", "TASK"], "--out"),
    "unknown method": ([*DISTILL, "--method", "daffl"], "'dafl'"),
    "unknown preset": ([*DISTILL, "--method", "dafl", "--preset", "mnits"], "'mnist'"),
    "unknown setting": ([*DISTILL, "--method", "fm", "pol=4"], "pool"),
    "wrong budget": ([*DISTILL, "--budget", "10"], "2000steps"),
    "wrong device": ([*DISTILL, "--device", "tpu"], "cuda:N"),
    "wrong student": ([*DISTILL, "--student", "resnet9"], "'resnet8'"),
    "wrong ratio": ([*DISTILL, "--student", "shrink:2"], "ratio"),
    "no such file": (["distill", "--teacher", "resnet8@nothing.pt", "--task", "TASK", "--out", "OUT"], "nothing.pt"),
    "unknown task": (["check", "--teacher", "TEACHER", "--task", "digit"], "'digits'"),
    "unknown verb": (["destil"], "destil"),
    "unknown flag": (["distill", "--techer", "x"], "--techer"),
    "no run": (["report", "OUT"], "expected a run directory, found no directory there"),
    "no run to export": (["export", "OUT", "--to", "onnx"], "expected a run directory, found no directory there"),
    "unknown format": (["export", "OUT", "--to", "tflite"], "tflite"),
    "no data": (["evaluate", "RUN", "--data", "nothing.npz"], "nothing.npz"),
    "nothing to evaluate on": (["evaluate", "RUN"], "--transfer"),
    "unknown recipe": (["reproduce", "nothing"], "nothing"),
    "settings that are no settings": (["distill", "--config", "TEACHERFILE"], "teacher.safetensors"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input_ends_with_2_and_a_word_that_helps(what: str, tiny: Tiny, finished: Path, tmp_path: Path) -> None:
    argv, word = WRONG[what]
    out = tmp_path / "out"
    places = {
        "TEACHER": tiny.teacher, "TASK": tiny.task, "OUT": str(out), "RUN": str(finished),
        "TEACHERFILE": str(tiny.folder / "teacher.safetensors"),
    }  # fmt: skip
    job = sansdata(tmp_path, *[places.get(part, part) for part in argv])
    fails(job, 2, word.replace("OUT", str(out)))
    assert not out.exists()


@pytest.mark.parametrize("verb", [["distill", "--teacher", "x"], ["federate", "--data", "digits"], ["demo"]])
def test_a_home_folder_in_out_is_the_users(verb: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell leaves the '~' of --out=~/run as it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run").mkdir()
    task = [] if verb == ["demo"] else ["--task", "digits"]
    done = CliRunner().invoke(app, [*verb, *task, "--out=~/run"])
    assert f"{tmp_path / 'run'} already exists" in str(done.exception)
    assert isinstance(CliRunner().invoke(app, [*verb, *task, "--out", "r\udcff"]).exception, ConfigError)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_an_unsuitable_teacher_ends_with_2(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from tiny import Plain\n\n\ndef make(task):\n    return Plain()\n")
    save_file(Plain().state_dict(), tmp_path / "plain.safetensors")
    argv = ["distill", "--teacher", f"mine:make@{tmp_path / 'plain.safetensors'}", "--task", tiny.task, "--student",
            "lenet5", "--method", "fm", "--out", tmp_path / "out"]  # fmt: skip
    fails(sansdata(tmp_path, *argv), 2, "BatchNorm")
    assert not (tmp_path / "out").exists()


def test_a_fault_of_the_run_ends_with_1(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config(tiny.settings("noise", CASES["noise"].options), folder=tmp_path)
    job = nursery().run(
        ["distill", "--config", config, "--out", tmp_path / "run"], tmp_path, [("nan_in_term", "transfer/match", 2)]
    )
    fails(job, 1, "DivergedError: ")


# -- after a run


def test_evaluate_export_report(tiny: Tiny, finished: Path, folder: Path) -> None:
    pytest.importorskip("onnx")
    figures = folder / "figures.json"
    argv = ["evaluate", finished, "--data", tiny.data, "--teacher", tiny.teacher, "--json", figures]
    job = sansdata(folder, *argv)
    assert job.code == 0, job.output
    assert "teacher   100.00 %" in job.output
    assert "agreement" in job.output
    assert json.loads(figures.read_text())["count"] == 40
    assert (finished / "evaluation.json").is_file()
    argv = ["evaluate", finished, "--transfer", "digits", "--teacher", tiny.teacher, "--json", figures]
    job = sansdata(folder, *argv)
    assert job.code == 0, job.output
    assert "ceiling" in job.output
    assert json.loads(figures.read_text())["transfer"]["digits"]["test"] == 450
    assert set(json.loads((finished / "evaluation.json").read_text())) > {"accuracy", "transfer"}
    job = sansdata(folder, "export", finished, "--to", "onnx")
    assert job.code == 0, job.output
    assert "parity" in job.output
    assert (finished / "student.onnx").is_file()
    before = (finished / "report.html").read_bytes()
    job = sansdata(folder, "report", finished)
    assert job.code == 0, job.output
    assert (finished / "report.html").read_bytes() != before


def test_the_student_is_a_spec(tiny: Tiny, finished: Path, folder: Path) -> None:
    """A run directory can be checked as a teacher and evaluated with the task."""
    job = sansdata(folder, "check", "--teacher", finished, "--task", tiny.task)
    assert job.code == 0, job.output
    job = sansdata(folder, "evaluate", finished / "student.safetensors", "--task", tiny.task, "--data", tiny.data)
    assert job.code == 0, job.output


def test_what_the_run_wrote(finished: Path) -> None:
    names = {p.name for p in finished.iterdir()}
    assert {
        "config.yaml", "run.json", "plan.json", "metrics.jsonl", "events.log", "ledger.json", "checkpoints",
        "snapshots", "samples", "student.safetensors", "summary.json", "report.html",
    } <= names  # fmt: skip
    manifest = json.loads((finished / "run.json").read_text())
    assert manifest["status"] == "done"
    assert manifest["command"].startswith("sansdata distill --teacher")
    ledger = json.loads((finished / "ledger.json").read_text())
    assert ledger["mode"] == "strict"
    assert ledger["violations"] == []


def test_its_config_gives_the_same_run_again(finished: Path, folder: Path) -> None:
    job = sansdata(folder, "distill", "--config", finished / "config.yaml", "--out", folder / "again")
    assert job.code == 0, job.output
    one, two = tensors(finished / "student.safetensors"), tensors(folder / "again" / "student.safetensors")
    assert all(one[name].equal(two[name]) for name in one)
