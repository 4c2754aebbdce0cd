"""ExecuTorch programs, where the library is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import make_module, make_task

from sansdata.deploy.export import export, load_exported


@pytest.mark.long  # its import and its lowering take half a minute
def test_a_program_answers_like_the_module(tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    module = make_module()
    report = export(module, make_task(), tmp_path / "net.pte", "executorch")
    assert report.inputs >= 256
    assert report.max_abs_difference < 1e-4
    images = torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        expected = module((images - 0.5) / 0.25)
    torch.testing.assert_close(
        load_exported(tmp_path / "net.pte", "executorch", [])(images), expected, atol=1e-4, rtol=0
    )
