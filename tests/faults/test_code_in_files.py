"""A file may name code; it is imported only where the user names it too."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from memory_limit import memory_within
from tiny import CLASSES, make_module, make_student, make_task, zoo
from typer.testing import CliRunner

import sansdata
from sansdata.api.federate import FederatedRun
from sansdata.cli.main import app
from sansdata.compress.rebuild import rebuild
from sansdata.errors import StudentError, TeacherError, UnsafeFileError, UserError
from sansdata.models.saved import read_model, write_model
from sansdata.settings import resolve_settings
from sansdata.teachers.specs import load_teacher

TASK = make_task()
CODE = "payload:make"
FACTORY = {"kind": "factory", "name": CODE, "args": {"task": TASK.model_dump(mode="json")}}
SIZE = {"shape": [1, 8, 8], "classes": CLASSES}
HIDDEN = {
    "factory": FACTORY,
    "decoy": {**FACTORY, "of": zoo()},
    "shrink": {"kind": "shrink", "ratio": 0.5, "of": FACTORY, **SIZE},
    "quantized": {"kind": "quantized", "weights": 4, "inputs": 4, "of": FACTORY, **SIZE},
    "group-norm": {"kind": "group-norm", "of": FACTORY},
    "shared-classifier": {
        "kind": "shared-classifier", "of": FACTORY, "stage": "0", "head": "1", "classes": 4, "width": 1, "features": 1,
        "factor": 1,
    },
    "twice": {"kind": "shrink", "ratio": 0.5, "of": {"kind": "shrink", "ratio": 0.5, "of": FACTORY, **SIZE}, **SIZE},
}  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch) -> Iterator[Path]:
    """A folder with code that leaves a trace when it is imported, and a run that looks finished."""
    (tmp_path / "payload.py").write_text(
        "from pathlib import Path\n"
        "from torch import nn\n"
        "Path('imported').touch()\n"
        "def make():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))\n"
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps({"status": "done", "method": "fm"}))
    np.savez("set.npz", x=np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8), y=np.arange(20) % CLASSES)
    yield tmp_path
    sys.modules.pop("payload", None)


def forge(path: str, architecture: dict) -> None:
    write_model(path, torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4)), architecture, TASK, {})


@pytest.mark.parametrize("name", HIDDEN)
def test_the_builder_imports_nothing_that_was_not_named(here, name):
    with pytest.raises((UnsafeFileError, StudentError)):
        rebuild(HIDDEN[name])
    assert not (here / "imported").exists()


VERBS = {
    "load": lambda: sansdata.load("run"),
    "evaluate": lambda: sansdata.evaluate("run", "set.npz"),
    "export": lambda: sansdata.export("run"),
    "quantize": lambda: sansdata.quantize("run", "set.npz"),
    "prune": lambda: sansdata.prune("run", "set.npz"),
    "report": lambda: sansdata.report("run", data="set.npz"),
    "check": lambda: sansdata.check("run", TASK.model_dump(mode="json")),
    "student": lambda: sansdata.check(load_teacher("good.safetensors", TASK), student="run"),
    "decoy": lambda: sansdata.check("resnet8@run/student.safetensors", TASK.model_dump(mode="json")),
    "federated": lambda: FederatedRun(Path("run"), TASK).student,
}


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_imports_it(here, verb, name):
    forge("run/student.safetensors", HIDDEN[name])
    write_model("good.safetensors", make_module(), zoo(), TASK, {})
    with pytest.raises(UserError):
        VERBS[verb]()
    assert not (here / "imported").exists()


@pytest.mark.parametrize("command", ["evaluate run --data set.npz", "export run --to pt2", "report run --data set.npz"])
def test_commands_say_how_to_trust_it(here, command):
    forge("run/student.safetensors", FACTORY)
    done = CliRunner().invoke(app, command.split())
    assert isinstance(done.exception, UnsafeFileError)
    assert f"say so: {CODE}@run" in str(done.exception)


def test_what_the_user_names_is_imported(here):
    forge("run/student.safetensors", FACTORY)
    assert sansdata.evaluate(f"{CODE}@run", "set.npz").count == 20
    assert (here / "run" / "evaluation.json").is_file()
    assert isinstance(sansdata.load("run", student=CODE).student[1], torch.nn.Linear)
    assert isinstance(sansdata.load(f"{CODE}@run").student[1], torch.nn.Linear)
    assert isinstance(load_teacher(f"{CODE}@run/student.safetensors", TASK).module[1], torch.nn.Linear)
    with pytest.raises(UnsafeFileError):
        sansdata.load("payload:other@run")


def test_a_settings_file_names_code_only_beside_the_user(here):
    (here / "c.yaml").write_text(f"student: {CODE}\nteacher: {CODE}@w.pt\nhelpers: [a:b]\n")
    with pytest.raises(UserError, match=f"add --teacher {CODE}@w.pt"):
        resolve_settings("c.yaml", {})
    with pytest.raises(UserError, match="add --helper a:b"):
        resolve_settings("c.yaml", {"student": CODE})
    done = resolve_settings("c.yaml", {"student": CODE}, ["helpers=[a:b]"])
    assert (done.teacher, done.helpers) == (f"{CODE}@w.pt", ("a:b",))
    (here / "f.yaml").write_text(f"network: {CODE}\ndata: set.npz\n")
    done = CliRunner().invoke(app, ["federate", "--config", "f.yaml", "--out", "f"])
    assert f"add --network {CODE}" in str(done.exception)


# -- and no file chooses how much memory its network takes


BIG = {
    "scale": {"kind": "zoo", "name": "resnet34", "args": {"channels": 1, "classes": CLASSES, "scale": 8.0}},
    "shrunk": {"kind": "shrink", "ratio": 0.01, **SIZE, "of": {"kind": "group-norm", "of": {
        "kind": "zoo", "name": "resnet34", "args": {"channels": 1, "classes": CLASSES, "scale": 8.0}}}},
    "projector": {"kind": "shared-classifier", "of": zoo(), "stage": "layer3", "head": "linear", "classes": 65_536,
                  "width": 65_536, "features": 65_536, "factor": 1},
    "classes": {"kind": "zoo", "name": "wrn-40-2", "args": {"channels": 1, "classes": 100_000, "scale": 8.0}},
}  # fmt: skip


@pytest.mark.parametrize("name", BIG)
def test_a_small_file_takes_little_memory(here, name, monkeypatch):
    monkeypatch.setattr("sansdata.compress.rebuild.ROOM_OF_ORIGIN", 4 * 1024**2)  # quicker; else it is half a GB
    write_model("run/student.safetensors", make_student(), BIG[name], TASK, {})
    with pytest.raises(StudentError, match="asks for more than"), memory_within(300):
        sansdata.load("run")
    with pytest.raises(TeacherError, match="asks for more than"):
        load_teacher("run", TASK)


@pytest.mark.parametrize("kind", [[], {}, 3, None, "x" * 5000])
@pytest.mark.parametrize("field", ["kind", "name", "args"])
def test_malformed_parts_are_one_sentence(here, field, kind):
    """Hypothesis found the kind that is a list, inside of another architecture."""
    of = {**zoo(), field: kind}
    for whole in (of, {"kind": "shrink", "ratio": 0.5, "of": of, **SIZE}, {"kind": "group-norm", "of": of}):
        with pytest.raises(StudentError) as fault:
            rebuild(whole, elements=10**6)
        assert len(str(fault.value)) < 1000  # the zoo, by name


@pytest.mark.parametrize("shape", [[1, 8], [1, 8, 10**9], [1.5, 8, 8], ["a", "b", "c"], [1, 8, float("inf")], None, {}])
@pytest.mark.parametrize("kind", ["shrink", "quantized"])
def test_malformed_shapes_are_one_sentence(here, kind, shape):
    of = {"kind": kind, "ratio": 0.5, "weights": 4, "inputs": 4, "classes": CLASSES, "of": zoo(), "shape": shape}
    with pytest.raises(StudentError, match="shape"):
        rebuild(of)


def test_a_file_of_ours_is_within_its_room(here):
    for scale in (0.25, 1.0):
        module = rebuild(zoo(scale=scale))
        write_model("run/student.safetensors", module, zoo(scale=scale), TASK, {})
        saved = read_model("run/student.safetensors")
        loaded = sansdata.load("run").student
        assert all(torch.equal(value, saved.tensors[name]) for name, value in loaded.state_dict().items())
