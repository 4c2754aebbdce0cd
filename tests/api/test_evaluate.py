"""A caller's module is asked, and is as it was afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from real_life import TASK, Head, flattened, seen
from torch import nn

import sansdata
from sansdata.errors import StudentError


@pytest.fixture
def data(tmp_path: Path) -> str:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", x=images, y=np.arange(12) % 4)
    return str(tmp_path / "data.npz")


@pytest.fixture
def in_double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def looks(module: nn.Module) -> list[object]:
    tensors = [*module.named_parameters(), *module.named_buffers()]
    hooks = [(len(part._forward_hooks), len(part._forward_pre_hooks), part.training) for part in module.modules()]
    return [(n, id(v), v.data_ptr(), v.stride(), v.dtype, v.requires_grad, v.sum().item()) for n, v in tensors] + hooks


@pytest.mark.parametrize("change", [lambda x: x.mean((2, 3)), flattened])
def test_the_module_is_as_it_was(change, data: str) -> None:
    module = seen(Head(change=change)).train()
    module.stem.weight.requires_grad_(False)
    before = looks(module)
    found = sansdata.evaluate(module, data, TASK)
    assert looks(module) == before
    module(torch.zeros(2, 3, 8, 8))  # a view of channels-last memory would raise
    images = torch.from_numpy(np.load(data)["x"]).permute(0, 3, 1, 2).contiguous().float().div(255)
    with torch.no_grad():
        answers = module.eval()((images - 0.5) / 0.25).argmax(1)
    assert found.accuracy == pytest.approx(float((answers == torch.arange(12) % 4).float().mean()))


def test_a_module_that_fails_is_said_in_a_sentence(data: str) -> None:
    with pytest.raises(StudentError, match="the model fails on a batch of 12 inputs"):
        sansdata.evaluate(nn.Conv2d(1, 4, 8), data, TASK)
    with pytest.raises(StudentError, match="has no shape yet"):
        sansdata.evaluate(nn.Sequential(nn.Flatten(), nn.LazyLinear(4)), data, TASK)


@pytest.mark.usefixtures("in_double")
@pytest.mark.filterwarnings("ignore")
def test_a_caller_whose_default_type_is_float64(data: str, tmp_path: Path) -> None:
    module = seen(Head())
    assert module.stem.weight.dtype == torch.float64
    teacher = sansdata.Teacher.from_module(module, TASK)
    assert sansdata.check(teacher, student="shrink:0.5")["faults"] == []
    result = sansdata.distill(
        teacher, Head(), "dafl", "1steps", tmp_path / "run",
        options={"width": 8, "student_steps": 1, "activation": 0.0, "transfer": {"batch": 4}},
        settings={"engine": {"snapshots": 1, "sample_grids": 1, "images": 8}, "threads": 1},
    )  # fmt: skip
    assert 0 <= sansdata.evaluate(result, data).accuracy <= 1
    assert 0 <= sansdata.evaluate(module.float(), data, TASK, teacher=teacher).accuracy <= 1
    assert sansdata.quantize(result, result, 8, 8).agreement > 0.5
    assert sansdata.export(result, "pt2").passed
    assert result.model(torch.zeros(2, 3, 8, 8, dtype=torch.float32)).shape == (2, 4)
    assert torch.get_default_dtype() == torch.float64
