"""MUSE: turns of sizes, what a key region asks, who is moved by the student's feature, and NAYER where both are off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import Tiny, differing, make_student, make_task, make_teacher
from torch import nn

from sansdata.decoding.arrays import read_array
from sansdata.engine.run import run
from sansdata.engine.session import Session
from sansdata.errors import ConfigError, MethodError
from sansdata.methods.index import method_config
from sansdata.methods.muse import MUSE, shapes_of
from sansdata.methods.nayer import NAYER
from sansdata.models.modes import fixed
from sansdata.runtime import Runtime
from sansdata.teachers.base import Teacher
from sansdata.testing.contract import assert_same_state, frozen_state, restore

OPTIONS = {
    "iterations": 4, "chunk": 2, "latent": 6, "width": 4, "batch": 8, "warmup_rounds": 1, "warmup_calls": 3,
    "calls": 1, "generator_life": 100, "steps_per_round": 2, "pool": 40, "sizes": [6, 8], "transfer": {"batch": 8},
}  # fmt: skip
PLAIN = {"key": 0.0, "diversity": 0.0, "attraction": 0.0}


def session(**more: Any) -> Session:
    config = method_config("muse", "default", OPTIONS | more)
    return Session(MUSE, config, make_teacher(), make_student(), make_task(), Runtime(), 7, 10)


def method(one: Session) -> MUSE:
    assert isinstance(one.method, MUSE)
    return one.method


@pytest.mark.parametrize(
    ("sizes", "shape", "expected"),
    [
        ((), (3, 224, 224), [(3, 160, 160), (3, 128, 128), (3, 96, 96)]),
        ((), (3, 32, 32), [(3, 32, 32), (3, 26, 26), (3, 20, 20)]),
        ((96, 112), (1, 224, 112), [(1, 112, 56), (1, 96, 48)]),
    ],
)
def test_sizes_are_named_or_follow_the_task(sizes: Any, shape: Any, expected: Any) -> None:
    assert shapes_of(sizes, shape) == expected


def test_calls_take_turns_and_each_size_has_its_own() -> None:
    one, sides = session(), []
    for _ in range(12):
        if one.move()[0] == "acquire":
            sides.append(method(one).canvas.shape[1])
    assert sides == [8, 8, 6, 6, 8, 8, 6, 6, 8, 8]  # two moves a call; the fourth is the first after the warm-up
    pools = {canvas.shape[1]: canvas.pool for canvas in method(one).canvases}
    assert {side: len(pool) for side, pool in pools.items()} == {8: 20, 6: 16}  # of 24 and of 16
    assert {side: tuple(pool.inputs.shape[1:]) for side, pool in pools.items()} == {8: (1, 8, 8), 6: (1, 6, 6)}


def test_batches_are_of_one_size_each_and_larger_ones_come_more_often() -> None:
    one, counts = session(sizes=[4, 8]), {4: 0, 8: 0}
    while one.context.progress.steps < 3:
        one.move()
    for _ in range(300):
        counts[method(one).transfer_batch().images.shape[2]] += 1
    assert 0.13 < counts[4] / 300 < 0.27  # by pixels 16 of 80


def test_without_its_terms_at_the_size_of_the_task_it_is_nayer() -> None:
    ours, theirs = session(**PLAIN, sizes=[8]), nayer()
    while theirs.context.progress.steps < 6:
        (kind, losses), (other, others) = ours.move(), theirs.move()
        assert kind == other
        assert {name: float(v) for name, v in losses.values().items()} == {
            name: float(v) for name, v in others.values().items()
        }
    assert differing(dict(ours.student.state_dict()), dict(theirs.student.state_dict())) == []


def nayer() -> Session:
    options = {name: value for name, value in OPTIONS.items() if name != "sizes"}
    config = method_config("nayer", "default", options)
    return Session(NAYER, config, make_teacher(), make_student(), make_task(), Runtime(), 7, 10)


def test_the_region_moves_with_the_view() -> None:
    """Of an image that is bright where its region is, the view is bright where the region went."""
    one = session(view="crop+flip", sizes=[8])
    images = torch.rand(8, 1, 8, 8)
    seen: dict[str, torch.Tensor] = {}
    one.method._region = lambda given: given  # type: ignore[method-assign,attr-defined]
    one.method._off_region = lambda outputs, region: (  # type: ignore[method-assign,attr-defined]
        seen.update(region=region, view=seen["inputs"][:, 0]) or region.mean((1, 2))
    )
    ask = one.context.teacher.__class__.__call__

    def noted(self: Teacher, inputs: Any, taps: Any = ()) -> Any:
        seen["inputs"] = inputs
        return ask(self, inputs, taps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Teacher, "__call__", noted)
        method(one).loop.begin(torch.zeros(8, dtype=torch.int64))
        method(one).ask(images)
    assert seen["region"].equal(seen["view"])
    assert not seen["region"].equal(images[:, 0])


def test_asked_for_it_the_teacher_sees_the_class_in_the_region() -> None:
    """Calls with the key region end nearer to it than calls without."""
    off = {}
    for key in (0.0, 10.0):
        one = session(key=key, iterations=80, chunk=80, view="none", bn=0.0)
        one.move()
        images = method(one).canvases[0].pool.sample(8, torch.Generator().manual_seed(0))
        judge = session(key=1.0)
        method(judge).loop.begin(images.targets)
        outputs = judge.context.teacher(images.images, (method(judge).ending.stage,))  # type: ignore[union-attr]
        off[key] = float(method(judge)._off_region(outputs, method(judge)._region(images.images)[:, 0]).mean())
    assert off[10.0] < 0.8 * off[0.0]


def test_the_generator_leaves_a_class_and_the_student_returns_to_it() -> None:
    """The first moves nothing of the student, the second nothing of the generator."""
    one = session(diversity=1.0, attraction=1.0, warmup_rounds=0)
    kinds = [one.move() for _ in range(3)]
    assert "diversity" in kinds[0][1].terms
    assert "attraction" in kinds[2][1].terms
    projecting = method(one).projecting
    assert projecting is not None
    assert all(p.grad is None for p in projecting.module.parameters())
    images = torch.rand(8, 1, 8, 8, requires_grad=True)
    with fixed(projecting.module):
        apart = method(one)._from_class(method(one)._student(images), torch.zeros(8, dtype=torch.int64))
    assert apart.shape == (8,)
    assert bool(((apart >= 0) & (apart <= 2)).all())
    apart.mean().backward()
    assert images.grad is not None
    assert float(images.grad.abs().max()) > 0
    assert all(p.grad is None for p in projecting.module.parameters())


@pytest.mark.parametrize("moves", [1, 3, 7, 9])
def test_it_goes_on_in_the_middle_of_a_call_of_either_size(moves: int) -> None:
    first, second = session(), session()
    first.advance(moves)
    restore(second, *frozen_state(first))
    first.advance(8)
    second.advance(8)
    assert_same_state(first, second, f"after {moves} moves")


def test_a_run_keeps_images_of_the_size_of_the_task(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny.settings("muse", OPTIONS, budget="6steps"), tmp_path / "run")
    assert read_array(tmp_path / "run" / "images.npz", "x").shape[1:] == (8, 8, 1)
    assert read_array(tmp_path / "run" / "samples" / "step-000000006.npz", "images").shape[1:] == (8, 8, 1)


class Flat(nn.Module):
    """A classifier of one size of image, without maps."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.BatchNorm1d(64), nn.Linear(64, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.norm(x.flatten(1)))


def test_a_teacher_of_one_size_or_without_maps_is_refused() -> None:
    teacher = Teacher.from_module(Flat(), make_task())
    for options, words in ((PLAIN, "any size. sizes=8 makes"), ({"sizes": [8]}, "leave that out with key=0")):
        config = method_config("muse", "default", OPTIONS | options)
        with pytest.raises(MethodError, match=words):
            Session(MUSE, config, teacher, make_student(), make_task(), Runtime(), 7, 10)


@pytest.mark.parametrize("sizes", [[6, 6], [2]])
def test_sizes_that_are_none_are_refused(sizes: list[int]) -> None:
    with pytest.raises(ConfigError, match="sizes are heights"):
        method_config("muse", "default", {"sizes": sizes})


def test_what_joins_older_images_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    settings = tiny.settings("muse", OPTIONS, budget="2steps").model_copy(update={"update": "retain"})
    with pytest.raises(MethodError, match="of several sizes here; give it one"):
        run(settings, tmp_path / "run")
    run(tiny.settings("muse", OPTIONS | {"sizes": [6]}, budget="2steps"), tmp_path / "run")
    assert np.isfinite(read_array(tmp_path / "run" / "images.npz", "logits")).all()
