"""The student's file: what is written comes back, and nothing else is read."""

from __future__ import annotations

import json
import os

import pytest
import safetensors.torch
import torch
from torch import nn

from sansdata.compress.rebuild import rebuild
from sansdata.errors import StudentError, TeacherError
from sansdata.models.build import architecture_of, build
from sansdata.models.saved import read_model, write_model
from sansdata.tasks import load_task

CIFAR = load_task("cifar10")
ARCHITECTURE = architecture_of("resnet8", CIFAR)


def test_round_trip(tmp_path):
    net, path = build(ARCHITECTURE), tmp_path / "student.safetensors"
    write_model(path, net, ARCHITECTURE, CIFAR, {"seed": 3})
    saved = read_model(path)
    assert (saved.architecture, saved.task, saved.provenance) == (ARCHITECTURE, CIFAR, {"seed": 3})
    again = rebuild(saved.architecture)
    again.load_state_dict(saved.tensors)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values()))
    assert os.listdir(tmp_path) == ["student.safetensors"]


def test_channels_last_tied_and_sliced_tensors(tmp_path):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
            self.b.weight = self.a.weight
            whole = torch.arange(100.0)
            self.register_buffer("slice", whole[10:20])
            self.register_buffer("across", whole.view(10, 10)[:, 3])
            self.register_buffer("wide", torch.ones(1).expand(5))
            self.register_buffer("empty", torch.zeros(0))
            self.register_buffer("count", torch.tensor(3))

    net, path = Odd(), tmp_path / "odd.safetensors"
    write_model(path, net, None, CIFAR, {})
    tensors = read_model(path).tensors
    assert tensors.keys() == net.state_dict().keys()
    assert all(torch.equal(tensors[k], v) for k, v in net.state_dict().items())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "student.safetensors"
    write_model(path, build(ARCHITECTURE), ARCHITECTURE, CIFAR, {"which": "old"})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_model(path, build(ARCHITECTURE), ARCHITECTURE, CIFAR, {"which": "new"})
    assert read_model(path).provenance == {"which": "old"}
    assert os.listdir(tmp_path) == ["student.safetensors"]


def test_provenance_must_be_json(tmp_path):
    with pytest.raises(StudentError, match="JSON"):
        write_model(tmp_path / "s.safetensors", nn.Linear(1, 1), None, CIFAR, {"when": object()})
    assert not list(tmp_path.iterdir())


GOOD = {
    "format": 1,
    "architecture": ARCHITECTURE,
    "task": CIFAR.model_dump(mode="json"),
    "preprocessing": {"mean": [0.5] * 3, "std": [0.5] * 3},
    "provenance": {},
}


@pytest.mark.parametrize(
    "change",
    [
        {"format": 4},
        {"format": "1"},
        {"task": {"kind": "image"}},
        {"task": "cifar10"},
        {"task": CIFAR.model_dump(mode="json") | {"classes": 1}},
        {"architecture": "resnet8"},
        {"architecture": []},
        {"provenance": None},
        {"preprocessing": {"mean": [0.5], "std": [0.5]}},
        {"preprocessing": {"mean": [0.5] * 3, "std": [0.5, 0.5, 0]}},
        {"preprocessing": {"mean": [0.5] * 3}},
        {"extra": 1},
    ],
)
def test_metadata_is_strict(tmp_path, change):
    path = tmp_path / "s.safetensors"
    safetensors.torch.save_file({"w": torch.zeros(1)}, path, {"sansdata": json.dumps(GOOD | change)})
    with pytest.raises(TeacherError) as fault:
        read_model(path)
    assert str(path) in str(fault.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "[" * 5000, '{"format": NaN}'])
def test_metadata_is_json(tmp_path, text):
    path = tmp_path / "s.safetensors"
    safetensors.torch.save_file({"w": torch.zeros(1)}, path, {"sansdata": text})
    with pytest.raises(TeacherError):
        read_model(path)


def test_the_files_preprocessing_counts(tmp_path):
    path = tmp_path / "s.safetensors"
    safetensors.torch.save_file({"w": torch.zeros(1)}, path, {"sansdata": json.dumps(GOOD)})
    assert read_model(path).task.mean == (0.5, 0.5, 0.5)


def test_a_foreign_safetensors_file_is_named(tmp_path):
    path = tmp_path / "s.safetensors"
    safetensors.torch.save_file({"w": torch.zeros(1)}, path)
    with pytest.raises(TeacherError, match="not one that sansdata wrote"):
        read_model(path)
