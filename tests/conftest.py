"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # small tensors: more threads only spin, and the figures of some tests depend on the count


@pytest.fixture
def real_data() -> Path:
    """The folder of real sets and checkpoints, or a skip."""
    root = os.environ.get("SANSDATA_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("needs real data: set SANSDATA_DATA to the folder that holds it")
    return Path(root)
