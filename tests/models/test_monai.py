"""MONAI's networks of masks as people bring them: a teacher, a student half as wide, and a file for the edge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import sansdata

nets = pytest.importorskip("monai.networks.nets")
TASK = sansdata.load_task(
    {"kind": "segmentation", "shape": [1, 32, 32], "classes": 2, "preprocessing": {"mean": [0.5], "std": [0.25]}}
)
SIDES = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "UNet": lambda: nets.UNet(**SIDES, channels=(8, 16, 32), strides=(2, 2), num_res_units=1, norm="batch"),
    "UNet, its own norm": lambda: nets.UNet(**SIDES, channels=(8, 16, 32), strides=(2, 2)),
    "BasicUNet": lambda: nets.BasicUNet(**SIDES, features=(8, 8, 16, 32, 64, 8)),
    "SegResNet": lambda: nets.SegResNet(**SIDES, init_filters=8),
    "AttentionUnet": lambda: nets.AttentionUnet(**SIDES, channels=(8, 16, 32), strides=(2, 2)),
}
SMALL = {"transfer": {"batch": 4}}
ROUNDS = {"batch": 4, "warmup_rounds": 0, "steps_per_round": 2}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_monais_teaches_one_half_as_wide(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = NETWORKS[name]().eval()
    method = "fm" if any(isinstance(part, nn.BatchNorm2d) for part in module.modules()) else "noise"
    run = sansdata.distill(
        sansdata.Teacher.from_module(module, TASK), "shrink:0.5", method, "2steps", tmp_path / "run",
        options=SMALL | (ROUNDS if method == "fm" else {}), settings={"threads": 1, "engine": {"images": 0}},
    )  # fmt: skip
    assert parameters(run.student) < 0.5 * parameters(module)
    if name == "UNet":
        assert Path(sansdata.export(run, "onnx").file).is_file()


def parameters(module: nn.Module) -> int:
    return sum(part.numel() for part in module.parameters())
