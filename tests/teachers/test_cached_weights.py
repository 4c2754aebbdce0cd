"""Of the caches of pretrained weights only the files of one network are declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from sansdata.engine.guard.no_data import NoDataGuard
from sansdata.engine.prepare import declared_inputs
from sansdata.settings import RunSettings

pytestmark = pytest.mark.usefixtures("vision")


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The caches of torch and of the hub, with a model, another one, and data."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("models--timm--resnet18.a1_in1k", "models--someone--other", "datasets--someone--cifar"):
        (tmp_path / "hub" / name / "snapshots" / "1").mkdir(parents=True)
        (tmp_path / "hub" / name / "snapshots" / "1" / "x.bin").write_bytes(b"x")
    (tmp_path / "hub" / "blobs").mkdir()
    (tmp_path / "hub" / "blobs" / "2f").write_bytes(b"x")
    folder = tmp_path / "hub" / "models--timm--resnet18.a1_in1k" / "snapshots" / "1"
    (folder / "model.safetensors").symlink_to(tmp_path / "hub" / "blobs" / "2f")
    (folder / "link.bin").symlink_to(tmp_path / "hub" / "datasets--someone--cifar" / "snapshots" / "1" / "x.bin")
    return tmp_path


@pytest.mark.parametrize(("spec", "readable"), [
    ("timm:resnet18.a1_in1k", ["hub/models--timm--resnet18.a1_in1k/snapshots/1/x.bin", "hub/blobs/2f"]),
    ("torchvision:resnet18", ["torch/checkpoints/resnet18-f37072fd.pth", "torch/checkpoints/resnet18-5c106cde.pth"]),
    ("timm:resnet18@w.safetensors", []),
    ("timm:no-such-network", []),
])  # fmt: skip
def test_only_the_files_of_the_named_network(spec: str, readable: list[str], caches: Path) -> None:
    settings = RunSettings.model_validate({"teacher": spec, "task": "cifar10", "budget": "8steps"})
    guard = NoDataGuard("strict", declared_inputs(settings, None), caches / "run")
    places = [
        *readable, "hub/models--someone--other/snapshots/1/x.bin", "hub/datasets--someone--cifar/snapshots/1/x.bin",
        "hub/blobs/3a", "torch/x.npz", "torch/checkpoints/other.pth",
    ]  # fmt: skip
    open_ones = [place for place in places if guard.role_of(str((caches / place).resolve())) == "teacher"]
    assert set(open_ones) <= set(readable)
    assert bool(open_ones) == bool(readable)
