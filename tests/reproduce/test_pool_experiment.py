"""The folder of images that the experiment with a pool makes, and what it reads of a finished run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tiny import Tiny

from sansdata.engine.run import run
from sansdata.reproduce.experiments.pool import chosen, export


def test_far_images_come_first_and_near_ones_are_faded(tmp_path: Path) -> None:
    sets = {"near": {"digits": 3}, "far": {"digits": 2}}
    far = export(sets | {"contrast": 0.5}, tmp_path / "pool")
    export(sets, tmp_path / "whole")
    files = sorted((tmp_path / "pool").iterdir())
    assert far == 2
    assert [file.name.split("-")[0] for file in files] == ["far"] * 2 + ["near"] * 3
    pairs = [
        [np.asarray(Image.open(at / file.name), float) for at in (file.parent, tmp_path / "whole")] for file in files
    ]
    assert all((one == other).all() for one, other in pairs[:2])
    for faded, whole in pairs[2:]:
        assert np.abs(faded - (whole.mean() + whole) / 2).max() <= 0.5


def test_the_images_of_the_last_choice_are_read_from_a_finished_run(tiny: Tiny, tmp_path: Path) -> None:
    options = {"keep": 0.25, "scan_moves": 3, "transfer": {"batch": 8}}
    run(tiny.settings("dfnd", options), tmp_path / "dfnd")
    ids = chosen(tmp_path / "dfnd")
    assert isinstance(ids, torch.Tensor)
    assert len(ids) == 12
    for name, more in (("pool-kd", {}), ("mosaickd", {"latent": 8, "width": 8, "patch_width": 4})):
        run(tiny.settings(name, {"transfer": {"batch": 8}} | more), tmp_path / name)
        assert chosen(tmp_path / name) is None
