"""The folder of images that the experiment with a pool makes, and what it reads of a finished run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tiny import Tiny

from sansdata.engine.run import run
from sansdata.reproduce.experiments.pool import chosen, export


def test_far_images_come_first_and_near_ones_get_their_margin(tmp_path: Path) -> None:
    far = export({"near": {"digits": 3}, "far": {"digits": 2}, "margin": 2}, tmp_path / "pool")
    files = sorted((tmp_path / "pool").iterdir())
    assert far == 2
    assert [file.name.split("-")[0] for file in files] == ["far"] * 2 + ["near"] * 3
    sizes = [np.asarray(Image.open(file)).shape for file in files]
    assert sizes == [(8, 8)] * 2 + [(12, 12)] * 3
    near = np.asarray(Image.open(files[-1]))
    assert near[2:-2, 2:-2].max() > 0
    assert near[:2].max() == near[-2:].max() == near[:, :2].max() == near[:, -2:].max() == 0


def test_the_images_of_the_last_choice_are_read_from_a_finished_run(tiny: Tiny, tmp_path: Path) -> None:
    options = {"keep": 0.25, "scan_moves": 3, "transfer": {"batch": 8}}
    run(tiny.settings("dfnd", options), tmp_path / "dfnd")
    ids = chosen(tmp_path / "dfnd")
    assert isinstance(ids, torch.Tensor)
    assert len(ids) == 12
    for name, more in (("pool-kd", {}), ("mosaickd", {"latent": 8, "width": 8, "patch_width": 4})):
        run(tiny.settings(name, {"transfer": {"batch": 8}} | more), tmp_path / name)
        assert chosen(tmp_path / name) is None
