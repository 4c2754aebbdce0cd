"""Weights as people save them."""

from __future__ import annotations

import argparse
import datetime
import io
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from sansdata.errors import UnsafeFileError
from sansdata.models.build import architecture_of, build
from sansdata.tasks import load_task
from sansdata.teachers.weights import read_weights

NET = build(architecture_of("resnet8", load_task("cifar10")))
STATE = NET.state_dict()


SHAPES = {
    "state dict": ("", STATE),
    "plain dict": ("", dict(STATE)),
    "state_dict": ("state_dict", {"state_dict": STATE, "epoch": 3, "best_prec1": 91.7, "arch": "resnet8"}),
    "model": ("model", {"model": STATE, "optimizer": torch.optim.Adam(NET.parameters()).state_dict()}),
    "net": ("net", {"net": STATE, "acc": 1.0, "rng": torch.zeros(3)}),
    "twice": ("model.state_dict", {"model": {"state_dict": STATE}}),
    "list": ("models.1", {"models": [{"w": torch.zeros(1)}, STATE]}),
    "parameters": ("", OrderedDict(NET.state_dict(keep_vars=True))),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", SHAPES)
def test_torch_files(tmp_path, name, legacy):
    key, content = SHAPES[name]
    torch.save(content, tmp_path / "w.pth.tar", _use_new_zipfile_serialization=not legacy)
    tensors = read_weights(tmp_path / "w.pth.tar")[key]
    assert tensors.keys() == STATE.keys()
    assert all(torch.equal(tensors[key], value) for key, value in STATE.items())


def test_safetensors(tmp_path):
    safetensors.torch.save_file(STATE, tmp_path / "w.safetensors")
    assert read_weights(tmp_path / "w.safetensors")[""].keys() == STATE.keys()


def test_settings_beside_the_weights_are_passed_over(tmp_path):
    settings = argparse.Namespace(lr=0.1, out=Path("runs"), began=datetime.datetime(2026, 1, 2), names={"a", "b"})
    value = {"state_dict": STATE, "args": settings, "best": np.float64(0.9), "rng": np.random.default_rng(0).random(3)}
    torch.save(value | {"seen": defaultdict(list, {"a": [np.int64(3)]})}, tmp_path / "w.ckpt")
    assert read_weights(tmp_path / "w.ckpt")["state_dict"].keys() == STATE.keys()


def test_other_code_is_refused_and_convert_is_named(tmp_path):
    torch.save({"state_dict": STATE, "optimizer": torch.optim.SGD(NET.parameters())}, tmp_path / "w.ckpt")
    with pytest.raises(UnsafeFileError, match=r"needs the code torch\.optim.*sansdata convert"):
        read_weights(tmp_path / "w.ckpt")


DTYPES = [
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.uint8,
    torch.bool,
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_types(tmp_path, dtype, suffix):
    value, path = torch.arange(6).reshape(2, 3).to(dtype), tmp_path / f"w{suffix}"
    safetensors.torch.save_file({"w": value}, path) if suffix == ".safetensors" else torch.save({"w": value}, path)
    found = read_weights(path)[""]["w"]
    assert found.dtype == dtype
    assert torch.equal(found.double(), value.double())


def test_tied_strided_and_empty(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    state = {"a": whole, "b": whole, "c": whole.T, "d": whole[1:, 1:], "e": torch.zeros(0), "f": nn.Parameter(whole)}
    torch.save(state, tmp_path / "w.pt")
    found = read_weights(tmp_path / "w.pt")[""]
    assert all(torch.equal(found[key], value) for key, value in state.items())


def test_a_large_state_is_no_bomb(tmp_path):
    torch.save({f"layer{i}.weight": torch.zeros(2, 2) for i in range(5000)}, tmp_path / "w.pt")
    assert len(read_weights(tmp_path / "w.pt")[""]) == 5000


def test_suffix_does_not_matter_for_torch_files(tmp_path):
    out = io.BytesIO()
    torch.save(STATE, out)
    for name in ("w.bin", "w.ckpt", "weights"):
        (tmp_path / name).write_bytes(out.getvalue())
        assert len(read_weights(tmp_path / name)[""]) == len(STATE)
