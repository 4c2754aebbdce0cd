"""`sansdata.quantize`, `sansdata.prune` and `sansdata compress` on a run's own images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import Tiny, make_module, make_task
from typer.testing import CliRunner

import sansdata
from sansdata import columns
from sansdata.cli.main import app
from sansdata.compress.quantize import quantized_parts
from sansdata.datasets.images import load_images
from sansdata.engine.run import run
from sansdata.errors import ConfigError, DataError, StudentError, UserError

POOLED = {"batch": 16, "iterations": 2, "chunk": 2, "steps_per_batch": 2, "transfer": {"batch": 8}}


@pytest.fixture(scope="module")
def runs(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run with a pool, and one without."""
    folder = tmp_path_factory.mktemp("runs")
    engine = {"snapshots": 1, "sample_grids": 0, "images": 20}
    run(tiny.settings("deepinversion", POOLED, budget="4steps", engine=engine), folder / "pool")
    run(tiny.settings("noise", {"transfer": {"batch": 8}}, budget="4steps", engine=engine), folder / "fresh")
    return folder / "pool", folder / "fresh"


def test_a_run_keeps_some_of_what_it_made(runs: tuple[Path, Path]) -> None:
    for out in runs:
        with np.load(out / "images.npz") as kept:
            assert kept["x"].shape == (20, 8, 8, 1)
            assert kept["x"].dtype == np.uint8
            assert np.array_equal(kept["y"], kept["logits"].argmax(1))
        assert len(load_images(out / "images.npz", make_task())) == 20


def test_none_are_kept_where_none_are_asked_for(tiny: Tiny, tmp_path: Path) -> None:
    settings = tiny.settings("noise", {"transfer": {"batch": 8}}, budget="2steps", engine={"images": 0})
    run(settings, tmp_path / "run")
    assert not (tmp_path / "run" / "images.npz").exists()
    with pytest.raises(DataError, match=r"engine\.images above 0"):
        sansdata.quantize(tmp_path / "run", tmp_path / "run")


def test_kept_images_are_spread_evenly() -> None:
    assert columns.evenly(torch.arange(100), 5).tolist() == [0, 25, 50, 74, 99]
    assert columns.evenly(torch.arange(3), 5).tolist() == [0, 1, 2]


def test_a_compressed_student_is_read_back_as_it_was(runs: tuple[Path, Path], tiny: Tiny, tmp_path: Path) -> None:
    out, (source, _) = tmp_path / "small.safetensors", runs
    pruned = sansdata.prune(source, source, keep=0.5, steps=2)
    assert pruned.kept == pytest.approx(0.5, abs=0.01)
    small = sansdata.quantize(pruned, source, 4, 6, out=out)
    assert small.kept == pruned.kept
    assert [part.inputs for _, part in quantized_parts(small.student)][1:-1] == [6] * 6
    asked = torch.randn(8, 1, 8, 8)
    again = sansdata.quantize(str(out), source, 32, 32, task=tiny.task)  # reads the file, changes nothing
    assert torch.equal(again.student(asked), small.student(asked))
    assert again.agreement == 1.0
    with pytest.raises(StudentError, match="few bits already"):
        sansdata.quantize(str(out), source, 4, 4, task=tiny.task)
    assert sansdata.evaluate(str(out), tiny.data, task=tiny.task).count == 40


def test_a_module_and_a_tensor_will_do(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    module = make_module()
    eight = sansdata.quantize(module, images, 8, 8, task=make_task())
    two = sansdata.quantize(module, images, 2, 2, task=make_task())
    assert eight.agreement > 0.9
    assert eight.agreement > two.agreement
    assert sansdata.prune(module, images, 1.0, task=make_task()).agreement == 1.0
    with pytest.raises(StudentError, match="module in Python"):
        sansdata.quantize(module, images, task=make_task(), out=tmp_path / "x.safetensors")


def test_wrong_input_is_named(runs: tuple[Path, Path]) -> None:
    source = runs[0]
    with pytest.raises(ConfigError, match="2 to 8 bits"):
        sansdata.quantize(source, source, 1)
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        sansdata.prune(source, source, 0.0)
    with pytest.raises(ConfigError, match="0 or more steps"):
        sansdata.prune(source, source, 0.5, -1)
    with pytest.raises(DataError, match=r"uint8 \(N, 1, 8, 8\)"):
        sansdata.quantize(source, torch.zeros(4, 3, 8, 8, dtype=torch.uint8))


def test_a_place_that_cannot_be_written_is_named(
    runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="its folder is not there"):
        sansdata.quantize(runs[0], runs[0], out=tmp_path / "none" / "x.safetensors")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sansdata.api.compress.write_model", full)
    with pytest.raises(ConfigError, match=r"x\.safetensors: cannot be written \(No space left on device\)"):
        sansdata.prune(runs[0], runs[0], 0.5, out=tmp_path / "x.safetensors")


def test_the_command_prunes_then_quantizes(runs: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "small.safetensors"
    asked = ["compress", str(runs[0]), "--keep", "0.5", "--bits", "4", "--out", str(out)]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "50.0" in done.output
    assert "weights 4 bits, inputs 4 bits" in done.output
    assert out.is_file()
    for wrong, message in (
        (["compress", str(runs[0]), "--out", str(out)], "nothing to do"),
        ([*asked[:-1], str(tmp_path / "x.pt")], "student file ends in"),
        (asked, "is there already"),
    ):
        failed = CliRunner().invoke(app, wrong)
        assert isinstance(failed.exception, UserError), failed.output
        assert message in str(failed.exception)


# -- what was written goes on as it is


@pytest.mark.parametrize(
    "settings",
    [{}, {"update": "retain"}, {"defence": "retrospect", "retrospect": {"share": 0.5, "rounds": 1}}, {"bits": "w1"}],
    ids=["plain", "retain", "retrospect", "bits"],
)
def test_a_pruned_student_keeps_its_zeros_whatever_takes_the_step(
    runs: tuple[Path, Path], tiny: Tiny, tmp_path: Path, settings: dict, capsys: pytest.CaptureFixture[str]
) -> None:
    """80 % zeros became 0 % in a run that said nothing."""
    sansdata.prune(runs[0], runs[0], keep=0.2, out=tmp_path / "pruned.safetensors")
    asked = tiny.settings(
        "noise", {"transfer": {"batch": 8, "weight_decay": 0.01}}, budget="6steps",
        student=str(tmp_path / "pruned.safetensors"), **settings,
    )  # fmt: skip
    before = sansdata.load(run(asked, tmp_path / "run")).student
    pruned = sansdata.prune(runs[0], runs[0], keep=0.2).student
    for (name, now), then in zip(before.named_parameters(), pruned.parameters()):
        if now.ndim > 1:
            assert torch.equal(now == 0, then == 0), name
            assert not torch.equal(now, then), name  # it did learn
    assert "the student was pruned: 80.0 % of its weights are 0, and stay 0" in capsys.readouterr().err


def test_what_compress_wrote_is_exported_with_its_bits_and_zeros(runs: tuple[Path, Path], tmp_path: Path) -> None:
    """From the file by the command, and from Python; the command asked for a run, Python raised a TypeError."""
    onnx = pytest.importorskip("onnx")
    file = tmp_path / "small.safetensors"
    small = sansdata.quantize(sansdata.prune(runs[0], runs[0], keep=0.3), runs[0], 4, 32, out=file)
    done = CliRunner().invoke(app, ["export", str(file), "--to", "onnx"])
    assert done.exit_code == 0, done.output
    assert sansdata.export(small, "pt2").file == str(tmp_path / "small.pt2")
    initial = map(onnx.numpy_helper.to_array, onnx.load(tmp_path / "small.onnx").graph.initializer)
    kernels = {weight.shape: weight for weight in initial if weight.ndim == 4 and weight.shape[1] > 1}
    assert len(kernels) > 2
    for path, part in quantized_parts(small.student):
        ours = part.layer.weight.detach().numpy()
        if (weight := kernels.get(ours.shape)) is not None and path.endswith("conv2"):
            assert max(len(np.unique(channel)) for channel in weight) <= 15
            assert np.mean(weight == 0) == np.mean(ours == 0) > 0.3


def test_a_student_file_says_its_own_task(runs: tuple[Path, Path], tiny: Tiny, tmp_path: Path) -> None:
    sansdata.prune(runs[0], runs[0], keep=0.5, out=tmp_path / "pruned.safetensors")
    assert sansdata.evaluate(tmp_path / "pruned.safetensors", tiny.data).count == 40
    report = sansdata.export(str(tmp_path / "pruned.safetensors"), "pt2")
    assert Path(report.file) == tmp_path / "pruned.pt2"


def test_a_compressed_network_without_a_file_needs_a_place_for_its_export(runs: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match=r"say where the export goes \(path="):
        sansdata.export(sansdata.quantize(runs[0], runs[0], 8, 8))


def test_what_compress_wrote_has_few_bytes_and_is_what_was_returned(runs: tuple[Path, Path], tmp_path: Path) -> None:
    plain = sansdata.prune(runs[1], runs[1], keep=1.0, out=tmp_path / "plain.safetensors")
    weights = sum(p.numel() for p in plain.student.parameters() if p.ndim > 1)
    sizes = {}
    for name, keep, bits in (("w4", 1.0, 4), ("pruned", 0.2, 32), ("both", 0.2, 4)):
        pruned = sansdata.prune(runs[1], runs[1], keep=keep)
        file = tmp_path / f"{name}.safetensors"
        small = sansdata.quantize(pruned, runs[1], bits, 32, out=file)
        images = torch.rand(4, 1, 8, 8)
        assert torch.equal(sansdata.quantize(str(file), runs[1], 32, 32).student(images), small.student(images))
        header = int.from_bytes(file.read_bytes()[:8], "little")
        sizes[name] = 8 * (file.stat().st_size - header - (plain.file or file).stat().st_size) / weights + 32
    assert sizes["both"] < sizes["w4"] < 12, sizes
    assert sizes["both"] < sizes["pruned"] < 12, sizes
