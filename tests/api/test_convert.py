"""Weights out of files that need code to be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn
from typer.testing import CliRunner

import sansdata
from sansdata.cli.main import app
from sansdata.errors import ConfigError, TeacherError, UnsafeFileError
from sansdata.models.limits import MAX_TENSORS


class Evil:
    def __reduce__(self):
        return os.system, ("touch canary",)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.head = self.again = nn.Linear(4, 2, bias=False)  # tied
        self.register_buffer("passing", torch.zeros(2), persistent=False)


NET = Net()
STATE = NET.state_dict()


def same(file: Path, expected: dict[str, torch.Tensor]) -> bool:
    tensors = safetensors.torch.load_file(file)
    return tensors.keys() == expected.keys() and all(torch.equal(tensors[name], expected[name]) for name in expected)


def test_a_pickled_module_gives_its_state_dict(tmp_path: Path):
    torch.save(NET, tmp_path / "net.pth.tar")
    done = sansdata.convert(tmp_path / "net.pth.tar")
    assert done.file == tmp_path / "net.safetensors"
    assert same(done.file, STATE)
    assert done.sets == {"": len(STATE)}
    assert any("Net" in name for name in done.left_out)
    assert not any(name.startswith("torch.") for name in done.left_out)


def test_nothing_runs_and_what_is_left_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": NET, "ema": {n: v + 1 for n, v in STATE.items()}, "evil": Evil(), "epoch": 3}, "c.ckpt")
    done = sansdata.convert("c.ckpt")
    assert not (tmp_path / "canary").exists()
    assert done.sets == {"model": len(STATE), "ema": len(STATE)}
    assert {"posix.system", "evil", "epoch"} <= set(done.left_out)
    assert set(safetensors.torch.load_file(done.file)) == {f"{key}.{name}" for key in done.sets for name in STATE}


def test_one_key_alone(tmp_path: Path):
    torch.save(
        {"a": {"net": STATE}, "b": {"ema": {name: value * 2 for name, value in STATE.items()}}}, tmp_path / "w.pt"
    )
    for key in ("b.ema", "ema"):
        done = sansdata.convert(tmp_path / "w.pt", key, tmp_path / f"{key}.safetensors")
        assert same(done.file, {name: value * 2 for name, value in STATE.items()})
    with pytest.raises(TeacherError, match=r"0 sets of weights under 'best'.*a\.net \(\d+\)"):
        sansdata.convert(tmp_path / "w.pt", "best", tmp_path / "o.safetensors")
    with pytest.raises(ConfigError, match="there already"):
        sansdata.convert(tmp_path / "w.pt", "ema", tmp_path / "ema.safetensors")


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    one, many = torch.zeros(100_000), {f"w{place}": torch.zeros(1) for place in range(MAX_TENSORS + 1)}
    torch.save({f"w{place}": one for place in range(4)}, tmp_path / "tied.pt")
    assert sansdata.convert(tmp_path / "tied.pt").sets == {"": 4}
    torch.save({f"w{place}": one for place in range(5)}, tmp_path / "shared.pt")
    torch.save({"w": one[:1].expand(500_000)}, tmp_path / "spread.pt")
    torch.save(dict.fromkeys(many, torch.zeros(1)), tmp_path / "many.pt")
    torch.save({"n" * 2**20 + str(place): one for place in range(9)}, tmp_path / "names.pt")
    before = set(tmp_path.iterdir())
    for name, words in (
        ("shared", "2,000,000 bytes and share 400,000"), ("spread", "claims more"), ("many", "20,001 tensors"),
        ("names", "bytes"),
    ):  # fmt: skip
        with pytest.raises((TeacherError, UnsafeFileError), match=words):
            sansdata.convert(tmp_path / f"{name}.pt")
    for out, error, words in (
        (tmp_path / "missing" / "x.safetensors", ConfigError, r"missing/x\.safetensors: its folder"),
        (tmp_path / ("x" * 250 + ".st"), TeacherError, "xxx.* cannot be written"),
    ):
        with pytest.raises(error, match=words):
            sansdata.convert(tmp_path / "tied.pt", out=out)
    assert set(tmp_path.iterdir()) == before


def test_what_has_no_weights_is_refused(tmp_path: Path):
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    with pytest.raises(TeacherError, match="holds no weights"):
        sansdata.convert(tmp_path / "none.pt")
    (tmp_path / "page.pt").write_bytes(b"<html>")
    with pytest.raises(TeacherError, match="HTML"):
        sansdata.convert(tmp_path / "page.pt")
    with pytest.raises(TeacherError, match="cannot be read"):
        sansdata.convert(tmp_path / "missing.pt")
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_module_that_holds_itself_many_times_is_stopped(tmp_path: Path):
    part: nn.Module = nn.Linear(1, 1)
    for _ in range(MAX_TENSORS.bit_length() + 2):
        part = nn.ModuleList([part, part])
    torch.save(part, tmp_path / "bomb.pt")
    with pytest.raises(UnsafeFileError, match="more than"):
        sansdata.convert(tmp_path / "bomb.pt")


def test_the_command(tmp_path: Path):
    torch.save({"student": NET, "teacher": STATE}, tmp_path / "w.pt")
    result = CliRunner().invoke(app, ["convert", str(tmp_path / "w.pt")])
    assert result.exit_code == 0, result.output
    assert f"weights   student: {len(STATE)} tensors" in result.output
    assert f"ARCH@{tmp_path}/w.safetensors#student" in result.output
