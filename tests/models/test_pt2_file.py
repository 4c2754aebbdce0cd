"""Weights of an exported program: those of the network, bit for bit; nothing of the program is run."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import make_module, make_task

from sansdata.deploy.export import export
from sansdata.errors import TeacherError, UnsafeFileError
from sansdata.models.pt2_file import read_pt2
from sansdata.teachers.specs import load_teacher


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "net.pt2"
    export(make_module(), make_task(), path, "pt2")
    return path


def changed(program: Path, target: Path, change: Any) -> Path:
    """A copy whose description of the weights was changed."""
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("_weights_config.json"):
                tree = json.loads(data)
                change(next(iter(tree["config"].values())), tree)
                data = json.dumps(tree).encode()
            new.writestr(name, data)
    return target


def test_it_loads_as_weights_of_the_network(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.export, "load", lambda *_: pytest.fail("the program was loaded"))
    state = make_module().state_dict()
    read = read_pt2(program)
    assert all(torch.equal(read[f"module.{name}"], value) for name, value in state.items())
    teacher = load_teacher(f"resnet8@{program}", make_task())
    assert all(torch.equal(teacher.module.state_dict()[name], value) for name, value in state.items())
    with pytest.raises(TeacherError, match=r"could run code.*ARCH@FILE"):
        load_teacher(str(program), make_task())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entry, _: entry.update(use_pickle=True), "unpickled"),
        (lambda entry, _: entry.update(path_name="../../x"), "not read"),
        (lambda entry, _: entry["tensor_meta"].update(dtype=99), "not read"),
        (lambda entry, _: entry["tensor_meta"]["sizes"].append({"as_int": 2}), "sizes and"),
        (lambda entry, _: entry["tensor_meta"]["sizes"][0].update(as_int=2**39), "more than|should have"),
        (lambda entry, _: entry["tensor_meta"]["sizes"][0].update(as_int=-1), "no number"),
        (lambda entry, _: entry["tensor_meta"]["strides"][0].update(as_int=0), "repeats|should have"),
        (lambda entry, _: entry["tensor_meta"].update(sizes=[{"as_expr": "__import__('os')"}]), "cannot|can be read"),
        (lambda _, tree: tree.update(config=[]), "names no weights"),
    ],
)
def test_what_lies_is_one_error(program: Path, tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises((TeacherError, UnsafeFileError), match=message):
        read_pt2(changed(program, tmp_path / "x.pt2", change))
