"""Teachers as people have them: each file gives a teacher that the engine works with, or an error that says what the
owner of the file, who may not have the code that made it, can do."""

from __future__ import annotations

import argparse
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from tiny import make_module, make_student, make_task

import sansdata
from sansdata.engine.session import Session
from sansdata.errors import TeacherError
from sansdata.methods.index import find_method
from sansdata.runtime import Runtime
from sansdata.teachers.specs import load_teacher

NET = make_module()
STATE = NET.state_dict()
OTHER = make_module(seed=5).state_dict()
HALF = {name: value.half() if value.is_floating_point() else value for name, value in STATE.items()}
SETTINGS = argparse.Namespace(seen={1, 2}, where=Path("a"), lr=np.float64(0.1))
ONNX = b"\x08\x08\x12\x07pytorch" + bytes(50)
TASK = make_task()


class Settings:
    """A class of somebody's code."""

    def __init__(self) -> None:
        self.lr = 0.1


def under(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {prefix + name: value for name, value in state.items()}


def saved(content: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path)


def lightning() -> dict[str, Any]:
    return {
        "state_dict": under("model.", dict(STATE)) | {"criterion.weight": torch.ones(4)},
        "hyper_parameters": {"lr": np.float64(0.1), "args": argparse.Namespace(depth=8)},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.9)}}, "loops": {"seen": {1, 2}},
        "optimizer_states": [torch.optim.Adam(NET.parameters()).state_dict()], "pytorch-lightning_version": "2.4.0",
    }  # fmt: skip


LOADS: dict[str, tuple[Callable[[Path], None], str]] = {
    "weights.pt": (saved(STATE), ""),
    "weights.safetensors": (lambda path: safetensors.torch.save_file(dict(STATE), path), ""),
    "checkpoint.pth.tar": (saved({"state_dict": under("module.", dict(STATE)), "best_prec1": np.float64(91.7)}), ""),
    "timm.pth": (saved({"state_dict": OTHER, "state_dict_ema": STATE, "args": argparse.Namespace(lr=0.1)}), ""),
    "raw.pth": (saved({"state_dict": STATE, "state_dict_ema": OTHER}), "#state_dict"),
    "ema_alone.pt": (saved({"ema_state_dict": STATE, "epoch": 3}), ""),
    "epoch=9.ckpt": (lambda path: torch.save(lightning(), path), ""),
    "distilled.pth": (saved({"student": OTHER, "teacher": STATE}), "#teacher"),
    "gan.pt": (saved({"netG": {"0.weight": torch.ones(3, 3)}, "netD": STATE}), ""),
    "compiled.pt": (saved({"model": under("_orig_mod.module.", dict(STATE))}), ""),
    "half.pt": (saved(HALF), ""),
    "old.pth": (lambda path: torch.save(STATE, path, _use_new_zipfile_serialization=False), ""),
    "settings.pt": (saved({"model": STATE, "opt": SETTINGS, "best": np.int64(3)}), ""),
    "profiled.pt": (saved(dict(STATE) | {"total_ops": torch.zeros(1), "total_params": torch.zeros(1)}), ""),
}  # fmt: skip
"""Name of the file -> (how it is written, the key that the owner writes)."""


def scripted(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(NET, torch.zeros(1, 1, 8, 8)), path)


CONVERTED: dict[str, Callable[[Path], None]] = {
    "whole_model.pt": saved(NET),
    "torchscript.pt": scripted,
    "settings_class.ckpt": saved({"state_dict": STATE, "config": Settings()}),
    "model_inside.pth": saved({"epoch": 3, "net": torch.nn.DataParallel(NET), "optimizer": Settings()}),
}
"""What needs code to be read: the error names `sansdata convert`, and what that writes loads."""


def archive(**parts: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            for name, content in parts.items():
                file.writestr(name.replace("__", "/"), content)

    return write


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "model.onnx": (lambda path: path.write_bytes(ONNX), r"ONNX model"),
    "nameless": (lambda path: path.write_bytes(ONNX), r"an ONNX model"),
    "program.pt2": (archive(a__exported_program__x=b"{}"), r"torch\.export.*(0 sets of weights|ARCH@FILE)"),
    "model.keras": (archive(config=b"{}"), r"Keras.*from_module"),
    "model.h5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50)), r"Keras.*from_module"),
    "model.gguf": (lambda path: path.write_bytes(b"GGUF" + bytes(50)), r"language model"),
    "model.tflite": (lambda path: path.write_bytes(bytes(4) + b"TFL3" + bytes(50)), r"TFLite.*made from"),
    "forest.pkl": (lambda path: path.write_bytes(pickle.dumps({"a": 1})), r"runs code.*skops"),
    "forest.joblib": (lambda path: path.write_bytes(pickle.dumps({"a": 1})), r"runs code.*skops"),
    "weights.npz": (lambda path: np.savez(path, w=np.ones(3)), r"NumPy archive"),
    "page.pth": (lambda path: path.write_bytes(b"<!DOCTYPE html><title>404</title>"), r"[Dd]ownload it again"),
    "pointer.pth": (lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), r"git lfs pull"),
    "packed.pt": (lambda path: path.write_bytes(b"\x1f\x8b" + bytes(50)), r"gzip.*[Uu]npack"),
    "cut.pt": (lambda path: (torch.save(STATE, path), path.write_bytes(path.read_bytes()[:-200])), r"Copy it again"),
    "optimizer.pt": (saved({"optimizer": {"param_groups": [{"lr": 0.1}]}}), r"no tensors.*optimizer.*holds no weights"),
    "two.pt": (saved({"student": OTHER, "teacher": STATE}), r"Name one, .*#student.*#teacher"),
    "other.pt": (saved({"model": {"a.weight": torch.ones(2, 2)}}), r"do not fit 'resnet8'.*missing.*not expected"),
}  # fmt: skip


def moved(spec: str) -> None:
    """One move of the engine with this teacher."""
    method = find_method("noise")
    config = method.Config.model_validate({"transfer": {"batch": 4}})
    session = Session(method, config, load_teacher(spec, TASK), make_student(), TASK, Runtime(), steps=2)
    session.advance(1)
    assert session.moves == 1


def holds_the_network(spec: str) -> bool:
    module = load_teacher(spec, TASK).module
    return all(torch.allclose(value, STATE[name], atol=2e-3) for name, value in module.state_dict().items())


def test_there_are_enough():
    assert len(LOADS) + len(CONVERTED) + len(REFUSED) >= 30


@pytest.mark.parametrize("name", LOADS)
def test_loads_and_moves(name: str, tmp_path: Path):
    write, key = LOADS[name]
    write(tmp_path / name)
    spec = f"resnet8@{tmp_path / name}{key}"
    assert holds_the_network(spec)
    moved(spec)


@pytest.mark.parametrize("name", CONVERTED)
def test_converts_and_moves(name: str, tmp_path: Path):
    file = tmp_path / name
    CONVERTED[name](file)
    with pytest.raises(TeacherError, match=rf"sansdata convert {file}"):
        load_teacher(f"resnet8@{file}", TASK)
    with pytest.raises(TeacherError, match="ARCH@"):
        load_teacher(str(file), TASK)
    done = sansdata.convert(file)
    spec = f"resnet8@{done.file}"
    assert holds_the_network(spec)
    moved(spec)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("named", [True, False], ids=["ARCH@FILE", "FILE"])
def test_refused_with_a_mend(name: str, named: bool, tmp_path: Path):
    write, wanted = REFUSED[name]
    write(tmp_path / name)
    with pytest.raises(TeacherError) as fault:
        load_teacher(f"resnet8@{tmp_path / name}" if named else str(tmp_path / name), TASK)
    text = " ".join(str(fault.value).split())
    assert str(tmp_path / name) in text
    assert len(text) < 700
    if named:
        with pytest.raises(AssertionError, match=wanted):
            raise AssertionError(text)
    else:
        mends = ("ARCH@", "sansdata.", "again", "git lfs", "npack", "text-classification")
        assert any(mend in text for mend in mends)


def test_a_saved_model_of_tensorflow(tmp_path: Path):
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(TeacherError, match="TensorFlow"):
        load_teacher(str(tmp_path), TASK)


def test_a_folder_with_pickled_weights_names_convert(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["ResNetForImageClassification"]}))
    torch.save(STATE, tmp_path / "pytorch_model.bin")
    with pytest.raises(TeacherError, match=r"sansdata convert .*pytorch_model\.bin --out .*model\.safetensors"):
        load_teacher(str(tmp_path), TASK)
