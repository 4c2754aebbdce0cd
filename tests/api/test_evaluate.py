"""A caller's module is asked, and is as it was afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from real_life import TASK, Head, flattened, seen
from safetensors.torch import save_file
from torch import nn

import sansdata
from sansdata.errors import StudentError
from sansdata.models.build import architecture_of, build
from sansdata.models.saved import write_model
from sansdata.teachers.specs import load_teacher


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


def test_a_teacher_beside_a_run_sees_its_inputs_as_the_run_was_told(tmp_path: Path) -> None:
    """A student with a preprocessing of its own stood beside a teacher that was asked through it."""
    random = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=random.integers(0, 256, (96, 8, 8, 3), dtype=np.uint8), y=np.arange(96) % 4)
    data, spec = str(tmp_path / "data.npz"), f"resnet8@{tmp_path / 'teacher.safetensors'}"
    dim = TASK.model_copy(update={"mean": (5.0,) * 3, "std": (0.1,) * 3})
    torch.manual_seed(0)
    save_file(seen(build(architecture_of("resnet8", TASK))).state_dict(), tmp_path / "teacher.safetensors")
    module = build(architecture_of("resnet8", dim))
    write_model(tmp_path / "student.safetensors", module, architecture_of("resnet8", dim), dim, {})
    result = sansdata.distill(
        spec, str(tmp_path / "student.safetensors"), "noise", "1steps", tmp_path / "run", task=TASK,
        options={"transfer": {"batch": 4}}, settings={"engine": {"snapshots": 1, "images": 8}, "threads": 1},
    )  # fmt: skip
    assert result.task.own_preprocessing == dim.own_preprocessing
    right, wrong = (sansdata.evaluate(result, data, teacher=load_teacher(spec, task)).kl for task in (TASK, dim))
    assert right != pytest.approx(wrong, rel=0.01)
    for run in (result, tmp_path / "run"):
        assert sansdata.evaluate(run, data, teacher=spec).kl == pytest.approx(right)
