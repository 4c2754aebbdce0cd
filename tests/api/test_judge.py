"""A generator of pictures in the features of a classifier that is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import Tiny, make_module, make_task
from torch import Tensor, nn
from typer.testing import CliRunner

import sansdata
from sansdata.api.judge import seen_by
from sansdata.cli.main import app
from sansdata.errors import ConfigError, StudentError
from sansdata.models.diffusion.steerable import Steerable
from sansdata.tasks import ImageTask, PairTask

TASK = PairTask(inputs={"kind": "noise", "shape": [1, 8, 8]}, outputs={"kind": "field", "range": [-1, 1]})


class Shown(nn.Module):
    """Its noise as a picture, wide or narrow."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, noise: Tensor) -> Tensor:
        return self.scale * noise


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """Pictures as a generator of scale 0.5 makes them."""
    images = (0.5 * torch.randn(150, 1, 8, 8, generator=torch.Generator().manual_seed(5)) / 2 + 0.5).clamp(0, 1)
    path = tmp_path / "real.npz"
    np.savez(path, x=images.mul(255).round().byte()[:, 0].numpy(), y=np.arange(150) % 4)
    return path


def judge() -> sansdata.Teacher:
    return sansdata.Teacher.from_module(make_module(), make_task())


def test_the_nearer_generator_has_the_smaller_distance(real: Path) -> None:
    good, bad = (sansdata.judge(Shown(scale), real, judge(), task=TASK, count=150) for scale in (0.5, 0.05))
    assert good.frechet_distance < bad.frechet_distance
    assert good.kernel_distance < bad.kernel_distance
    assert good.coverage > bad.coverage
    assert "judged by a module in Python (150 real images, 150 samples of 1x8x8)" in good.notes[0]


class Broken(Shown):
    """A picture of no numbers for one noise in forty."""

    def forward(self, noise: Tensor) -> Tensor:
        return torch.where((noise[:, :, :1, :1] > 2), torch.nan, self.scale * noise)


def test_samples_that_are_no_numbers_are_refused(real: Path) -> None:
    with pytest.raises(StudentError, match="the generator gives nan or infinite answers"):
        sansdata.judge(Broken(0.5), real, judge(), task=TASK, count=150)


def test_samples_are_seen_as_the_judge_takes_them() -> None:
    task = ImageTask(shape=(3, 16, 16), classes=2, mean=(0.5,) * 3, std=(0.5,) * 3)
    seen = seen_by(task, torch.tensor([-1.0, 1.0, 9.0]).view(3, 1, 1, 1).expand(-1, 1, 8, 8), (-1.0, 1.0))
    assert seen.shape == (3, 3, 16, 16)
    assert seen.amax((1, 2, 3)).tolist() == [0, 1, 1]
    kept = seen_by(make_task(), torch.zeros(2, 1, 8, 8), (-1.0, 1.0))
    assert torch.equal(kept, torch.full((2, 1, 8, 8), 0.5))


def test_what_cannot_be_judged_is_said(real: Path) -> None:
    points = PairTask(inputs={"kind": "noise", "shape": [2]}, outputs={"kind": "field"})
    for arguments, said in (
        ({"task": points}, "generators of pictures"), ({"count": 3}, "fewer than 100"),
        ({"by": "resnet8@nothing.safetensors"}, "the judge's own task"),
    ):  # fmt: skip
        given: dict[str, Any] = {"model": Shown(), "data": real, "by": judge(), "task": TASK}
        given.update(arguments)
        with pytest.raises(ConfigError, match=said):
            sansdata.judge(**given)


def test_the_command_wants_all_three(real: Path, tiny: Tiny, tmp_path: Path) -> None:
    def command(*words: str) -> str:
        done = CliRunner().invoke(app, ["evaluate", *words])
        return f"{done.exit_code} {done.output}{done.exception or ''}"

    assert "needs its own task" in command(str(tmp_path), "--data", str(real), "--judge", tiny.teacher)
    assert "needs its own task" in command(str(tmp_path), "--judge", tiny.teacher, "--judge-task", tiny.task)


class Staged(Steerable):
    """Its noise as a picture: narrow in one call, as wide as the real ones in two."""

    def take_condition(self, entries: int) -> None:
        self.entries = entries

    def signal(
        self, noise: Tensor, time: Tensor, label: Tensor | None, start: Tensor | None, condition: Tensor | None
    ) -> Tensor:
        assert start is not None
        return (0.5 if float(start[0]) < 1 else 0.05) * noise


def test_a_generator_of_several_calls_is_compared_in_fewer_and_beside_its_teacher(real: Path) -> None:
    staged = Staged()
    staged.tell(2)
    staged.starts.copy_(torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.5, 0.0, 1.0, 1.0]]))
    denoiser = sansdata.Denoiser(Shown(0.5), torch.tensor([0.9, 0.5, 0.01]), "sample")
    denoiser.network.forward = lambda state, time: 0.3 * state  # type: ignore[method-assign]
    teacher = sansdata.Teacher.from_module(denoiser, TASK)
    figures = sansdata.judge(staged, real, judge(), task=TASK, count=150, teacher=teacher)
    student, beside = figures.frechet_by_calls["student"], figures.frechet_by_calls["teacher"]
    assert [count for count, _ in student] == [count for count, _ in beside] == [1, 2]
    assert student[1][1] == pytest.approx(figures.frechet_distance)
    assert student[0][1] > 2 * student[1][1]
    assert "frechet_by_calls" not in sansdata.judge(Shown(0.5), real, judge(), task=TASK, count=150).to_dict()
