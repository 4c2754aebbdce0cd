"""A file of integers from a network: by the command and from Python, calibrated in every way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import Plain, Tiny, make_module, make_task
from torch import nn
from typer.testing import CliRunner

import sansdata
from sansdata.api.quantize import calibration_inputs, ends_of
from sansdata.cli.main import app
from sansdata.deploy.int8 import load_int8
from sansdata.errors import ConfigError, DataError, StudentError, UserError
from sansdata.network import Network

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sansdata.api.quantize.STEPS", 20)
    monkeypatch.setattr("sansdata.api.quantize.FEW_STEPS", 20)


def test_the_command_writes_integers_and_says_what_has_no_batch_norm(tiny: Tiny, tmp_path: Path) -> None:
    out = tmp_path / "student.int8.onnx"
    asked = ["quantize", tiny.teacher, "--task", tiny.task, "--out", str(out)]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "ranges    by inputs, since BatchNorm does not tell them: linear" in done.output
    kinds = {
        tensor.data_type for tensor in onnx.load(out).graph.initializer if len(tensor.dims) == 4 and tensor.dims[0] > 1
    }
    assert kinds == {onnx.TensorProto.INT8}
    images = torch.rand(64, 1, 8, 8)
    module = make_module()
    with torch.no_grad():
        answers = module((images - 0.5) / 0.25)
    same = load_int8(out, "onnx")(images).argmax(1) == answers.argmax(1)
    assert float(same.float().mean()) > 0.85
    again = CliRunner().invoke(app, asked)
    assert isinstance(again.exception, UserError)
    assert "is there already" in str(again.exception)


@pytest.mark.parametrize("calibrate", ["zeroq", "noise", "images", "deepinversion"])
def test_it_is_calibrated_by(calibrate: str, tmp_path: Path) -> None:
    source = torch.randint(0, 256, (32, 1, 8, 8), dtype=torch.uint8) if calibrate == "images" else calibrate
    done = sansdata.to_int8(
        make_module(), tmp_path / "x.onnx", source, per="tensor", task=make_task(), budget="2steps"
    )  # fmt: skip
    assert done.agreement > 0.8
    assert len(done.by_inputs) == 8  # all of them: BatchNorm was not asked
    assert done.size == (tmp_path / "x.onnx").stat().st_size


@pytest.mark.parametrize("calibrate", ["zeroq", "dfq", "noise"])
def test_what_calibrates_is_what_images_can_be(calibrate: str) -> None:
    network = Network.of(make_module(), make_task())
    inputs, _ = calibration_inputs(calibrate, network, make_task(), "1s", 0)
    low, high = ends_of(network)
    assert low - 1e-6 <= float(inputs.min()) < float(inputs.max()) <= high + 1e-6


def test_a_file_of_integers_takes_the_ranges_that_it_was_given(tmp_path: Path) -> None:
    """The scale of the images' grid is that of 0..1 as the network takes it, not of what calibrated it."""
    sansdata.to_int8(make_module(), tmp_path / "x.onnx", "noise", task=make_task())
    model = onnx.load(tmp_path / "x.onnx")
    scales = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    first = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    assert float(scales[first.input[1]]) == pytest.approx(4 / 255)  # (0 - .5) / .25 to (1 - .5) / .25


def test_torch_computes_the_same_integers(tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    images = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 1), dtype=np.uint8)
    taken = torch.from_numpy(images).permute(0, 3, 1, 2)
    said = []
    for runtime in ("onnx", "pt2"):
        path = tmp_path / f"x.{runtime}"
        sansdata.to_int8(make_module(), path, taken, runtime=runtime, task=make_task())
        said.append(load_int8(path, runtime)(taken.float() / 255))
    assert float((said[0].argmax(1) == said[1].argmax(1)).float().mean()) > 0.9
    assert said[0].shape == said[1].shape == (64, 4)


def test_wrong_input_is_one_error(tmp_path: Path) -> None:
    task, out = make_task(), tmp_path / "x.onnx"
    with pytest.raises(StudentError, match="matches BatchNorm's statistics, and this network has none"):
        sansdata.to_int8(Plain(), out, "zeroq", task=task)
    with pytest.raises(ConfigError, match="Did you mean 'channel'"):
        sansdata.to_int8(Plain(), out, per="chanel", task=task)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="its folder is not there"):
        sansdata.to_int8(Plain(), tmp_path / "none" / "x.onnx", task=task)
    with pytest.raises(DataError):
        sansdata.to_int8(Plain(), out, "nothing-of-this-name", task=task)
    with pytest.raises(StudentError, match="cannot be traced"):
        sansdata.to_int8(Branching(), out, "noise", task=task)
    assert list(tmp_path.iterdir()) == []


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :4] if float(x.sum()) > 0 else x.flatten(1)[:, 4:8]
