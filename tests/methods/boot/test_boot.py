"""BOOT: its target against the textbook, what it asks of the teacher, and what leaves."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from tiny import WORLDS
from torch import Tensor, nn

from sansdata.contracts import Batch
from sansdata.engine.session import Session
from sansdata.errors import MethodError
from sansdata.methods.boot import BOOT
from sansdata.methods.index import method_config
from sansdata.models.diffusion.denoiser import Denoiser
from sansdata.models.diffusion.generators import PointNet
from sansdata.models.diffusion.mixture import ring
from sansdata.models.diffusion.schedules import Cosine, Flow, Schedule
from sansdata.runtime import Runtime
from sansdata.settings import RetainSettings
from sansdata.tasks import PairTask
from sansdata.teachers.base import Teacher
from sansdata.teachers.preflight import unmet
from sansdata.teachers.students import load_student
from sansdata.training.parts import PARTS

WORLD = WORLDS["noise"]
PLAIN = PairTask(inputs={"kind": "noise", "shape": [2]}, outputs={"kind": "field", "range": [-3, 3], "steps": 4})
BATCH = 16


def session(options: dict[str, Any], teacher: nn.Module | None = None, task: PairTask = PLAIN, **how: Any) -> Session:
    config = method_config("boot", "default", {"transfer": {"batch": BATCH, "lr": 1e-3}, "warmup": 0, **options})
    torch.manual_seed(0)
    inputs: Any = task.inputs
    student = how.get("student") or PointNet(2, inputs.labels + 1, [16])
    return Session(BOOT, config, Teacher.from_module(teacher or ring(), task), student, task, Runtime(), 3, 20)


def boot(made: Session) -> BOOT:
    assert isinstance(made.method, BOOT)
    return made.method


def batch_of(made: Session) -> Batch:
    made.streams.begin(0)
    return made.method.transfer_batch()


class LateEnd(Cosine):
    """Some of the signal is left at its end."""

    def alpha(self, time: Tensor) -> Tensor:
        return super().alpha(0.9 * time)

    def sigma(self, time: Tensor) -> Tensor:
        return super().sigma(0.9 * time)


def textbook(made: Session, batch: Batch, schedule: Schedule, heun: bool = False) -> Tensor:
    """The target by plain DDIM on states, float64: from the student's state at t to s, read back as a signal."""
    method, exact = boot(made), copy.deepcopy(boot(made).denoiser).double()
    now, noise = batch.extras["now"].double(), batch.inputs["noise"].double()  # type: ignore[index, call-overload]
    time, earlier = schedule.at(now), schedule.at(now - method.config.delta)
    last = torch.tensor([schedule.last], dtype=torch.float64)
    alphas = [schedule.alpha(one)[:, None] for one in (time, earlier, last)]
    sigmas = [schedule.sigma(one)[:, None] for one in (time, earlier, last)]

    def state(place: int, signal: Tensor) -> Tensor:
        part = sigmas[place] / sigmas[2]
        return part * noise + (alphas[place] - alphas[2] * part) * signal

    def signal_in(place: int, there: Tensor) -> Tensor:
        part = sigmas[place] / sigmas[2]
        return (there - part * noise) / (alphas[place] - alphas[2] * part)

    with torch.no_grad():
        signal = made.student(noise.float(), now.float()).double()
        here = state(0, signal)
        seen = exact.clean(here, time)
        there = alphas[1] * seen + sigmas[1] * (here - alphas[0] * seen) / sigmas[0]
        if heun:
            again = (seen + exact.clean(there, earlier)) / 2
            there = alphas[1] * again + sigmas[1] * (here - alphas[0] * again) / sigmas[0]
    return signal_in(1, there)


@pytest.mark.parametrize("solver", ["euler", "heun"])
@pytest.mark.parametrize("schedule", [Cosine(), Flow(), LateEnd()])
def test_the_target_is_a_step_of_ddim(schedule: Schedule, solver: str) -> None:
    plain = ring()
    teacher = type(plain)(plain.centres.detach(), 0.15, plain.weights.detach(), schedule)
    made = session({"solver": solver}, teacher)
    batch = batch_of(made)
    wanted = textbook(made, batch, schedule, solver == "heun")
    assert torch.allclose(batch.extras["target"].double(), wanted, atol=2e-5)


def test_the_loss_is_what_the_card_says() -> None:
    made = session({"boundary": 0.5, "boundary_share": 0.25})
    batch = batch_of(made)
    inputs: Any = batch.inputs
    now, schedule = batch.extras["now"].double(), Cosine()
    earlier = now - 0.04
    assert torch.allclose(inputs["time"].double(), earlier, atol=1e-6)
    assert now.min() >= 0.04
    ratio = [schedule.alpha(schedule.at(one)) / schedule.sigma(schedule.at(one)) for one in (now, earlier)]
    weight = (1 - ratio[0] / ratio[1]) ** -2
    with torch.no_grad():
        losses = made.method.student_loss(made.student_forward, batch)
        away = made.student(inputs["noise"], inputs["time"]) - batch.extras["target"]
        at_start = made.student(inputs["noise"][:4], torch.ones(4)) - boot(made).denoiser.clean(
            inputs["noise"][:4], torch.ones(4)
        )
    bootstrap = (weight * away.double().square().mean(1)).mean()
    assert float(losses.total()) == pytest.approx(float(bootstrap + 0.5 * at_start.square().mean()), rel=1e-5)
    assert set(losses.terms) == {"bootstrap", "boundary"}


def test_the_times_of_a_batch_cover_the_whole_way() -> None:
    made = session({"transfer": {"batch": 4000}, "weight": "even"})
    batch = batch_of(made)
    share = batch.inputs["time"]  # type: ignore[index, call-overload]
    assert torch.histc(share, 8, 0, 0.96).sub(500).abs().max() < 100
    assert torch.equal(batch.extras["weight"], torch.ones(4000))


def test_gradients_stop_at_the_target_unless_they_are_asked_for() -> None:
    for asked in (False, True):
        made = session({"target_grad": asked, "boundary": 0.0})
        batch = batch_of(made)
        now = batch.extras["now"]
        seen: list[Tensor] = []

        def watched(inputs: Any, made: Session = made, seen: list[Tensor] = seen) -> Any:
            outputs = made.student_forward(inputs)
            outputs.value.retain_grad()
            seen.append(outputs.value)
            return outputs

        made.method.student_loss(watched, batch).total().backward()
        assert len(seen) == (2 if asked else 1)
        assert all(value.grad is not None and bool(value.grad.any()) for value in seen)
        assert ("target" in batch.extras) == (not asked)
        assert len(now) == BATCH


def test_a_warm_up_fits_what_is_seen_in_noise_at_all_times() -> None:
    made = session({"warmup": 2})
    batch = batch_of(made)
    inputs: Any = batch.inputs
    assert torch.equal(batch.extras["target"], boot(made).denoiser.clean(inputs["noise"], torch.ones(BATCH)))
    assert set(made.method.student_loss(made.student_forward, batch).terms) == {"warmup"}
    made.advance(2)
    assert set(made.move()[1].terms) == {"bootstrap", "boundary"}


class Linear(nn.Module):
    """A network of states of two numbers, which learns."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, state: Tensor, time: Tensor) -> Tensor:
        return self.layer(torch.cat([state, time[:, None].to(state.dtype)], 1))


@pytest.mark.parametrize(("prediction", "steps"), [("sample", 0), ("v_prediction", 0), ("epsilon", 500)])
def test_a_copy_of_the_teacher_is_warmed_up_where_its_answer_is_read_anew(prediction: Any, steps: int) -> None:
    kept = torch.linspace(0.999, 0.01, 50)
    teacher = Teacher.from_module(Denoiser(Linear(), kept, prediction), PLAIN)
    student = load_student("one-step", teacher, PLAIN).module
    made = session({"warmup": None}, teacher.module, student=student)
    assert boot(made).warmup == steps
    assert not any(one is other for one in student.parameters() for other in teacher.module.parameters())
    made.advance(3)


def test_every_question_to_the_teacher_is_counted() -> None:
    for options, passes in (
        ({"boundary": 0.0}, 1), ({}, 2), ({"solver": "heun"}, 3), ({"boundary_share": 0.5}, 1.5), ({"warmup": 9}, 1),
    ):  # fmt: skip
        made = session(options)
        made.move()
        assert made.context.counters["teacher_forwards"] == passes * BATCH


class ByLabel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor([1.0, 2.0, 10.0]))

    def forward(self, state: Tensor, time: Tensor, label: Tensor) -> Tensor:
        return self.values[label][:, None].expand_as(state)


def test_guidance_is_of_the_teacher_and_asks_twice() -> None:
    task = PairTask(inputs={"kind": "noise", "shape": [2], "labels": 2}, outputs={"kind": "field"})
    made = session({"guidance": 3.0, "boundary": 0.0}, Denoiser(ByLabel(), Cosine(), "sample", labels=2, null=2), task)
    batch = batch_of(made)
    inputs: Any = batch.inputs
    pushed = 10 + 3 * (torch.tensor([1.0, 2.0])[inputs["label"]] - 10)
    with torch.no_grad():
        signal = made.student(inputs["noise"], batch.extras["now"], inputs["label"])
    schedule = Cosine()
    ratios = [
        schedule.alpha(schedule.at(one.double())) / schedule.sigma(schedule.at(one.double()))
        for one in (batch.extras["now"], inputs["time"])
    ]
    kept = (ratios[0] / ratios[1]).float()[:, None]
    assert torch.allclose(batch.extras["target"], kept * signal + (1 - kept) * pushed[:, None], atol=1e-4)
    assert made.context.counters["teacher_forwards"] == 2 * BATCH
    with pytest.raises(MethodError, match="null label"):
        session({"guidance": 3.0})


def test_guidance_of_one_takes_the_place_of_the_teachers_own() -> None:
    task = PairTask(inputs={"kind": "noise", "shape": [2], "labels": 2}, outputs={"kind": "field"})
    teacher = Denoiser(ByLabel(), Cosine(), "sample", labels=2, null=2, guidance=3.0)
    seen = [
        boot(made)._clean(torch.zeros(2, 2), torch.full((2,), 0.5), {"label": torch.tensor([0, 1])})
        for made in (session({"guidance": 1.0}, teacher, task), session({}, teacher, task))
    ]
    assert torch.allclose(seen[0][:, 0], torch.tensor([1.0, 2.0]))
    assert torch.allclose(seen[1][:, 0], torch.tensor([10 - 27.0, 10 - 24.0]))


def test_what_leaves_is_the_slow_copy() -> None:
    made = session({"ema": 0.5})
    weights = []
    for _ in range(6):
        made.move()
        weights.append(copy.deepcopy(dict(made.student.named_parameters())))
    made.streams.begin(6)
    made.method.transfer_batch()
    slow = boot(made).released(made.student)
    assert slow is not made.student
    for name, value in slow.named_parameters():
        torch.manual_seed(0)
        wanted = dict(PointNet(2, 1, [16]).named_parameters())[name].detach()
        for number, taken in enumerate(weights, start=1):
            rate = min(0.5, (1 + number) / (10 + number))
            wanted = rate * wanted + (1 - rate) * taken[name].detach()
        assert torch.allclose(value, wanted, atol=1e-6)


def test_it_wants_a_teacher_that_denoises() -> None:
    task, config = WORLD.task, BOOT.Config()
    assert unmet(BOOT.requires(config), WORLD.teacher()) == []
    answers_only = Teacher.from_module(PointNet(2, 9), task)
    assert "denoises" in unmet(BOOT.requires(config), answers_only)[0]
    assert "its inputs are noise" in unmet(BOOT.requires(config), WORLDS["image"].teacher())[0]


def test_a_generator_does_not_replay() -> None:
    assert "makes itself" in PARTS["retain"].unmet(RetainSettings(), WORLD.teacher())[0]
    assert PARTS["retain"].unmet(RetainSettings(), WORLDS["image"].teacher()) == []


def test_findings_follow_the_teachers_trajectories() -> None:
    made = session({})
    figure, curve = made.method.findings()
    denoiser = boot(made).denoiser
    noise = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        away = boot(made).released(made.student)(noise, torch.zeros(64)) - denoiser.sample(noise, steps=20)
    assert figure.better == "lower"  # type: ignore[union-attr]
    assert figure.value == pytest.approx(float(away.square().mean().sqrt()) / 6, rel=1e-4)  # type: ignore[union-attr]
    points = curve.data["student"]  # type: ignore[union-attr]
    assert [share for share, _ in points] == pytest.approx([number / 20 for number in range(21)])
    assert all(math.isfinite(error) for _, error in points)


@pytest.mark.long
def test_on_the_ring_it_is_better_than_four_steps_of_its_teacher() -> None:
    """The card's check B, shortened; the recipe has it whole."""
    from sansdata.objectives.point_sets import sliced_wasserstein

    config = {"transfer": {"batch": 256, "lr": 2e-3, "clip": 5.0, "schedule": "cosine"}, "warmup": 300, "ema": 0.995}
    torch.manual_seed(0)
    teacher = ring()
    settings = method_config("boot", "default", config)
    made = Session(BOOT, settings, Teacher.from_module(teacher, PLAIN), PointNet(2), PLAIN, Runtime(), 0, 3000)
    made.advance(3000)
    noise, data = torch.randn(4000, 2, generator=torch.Generator().manual_seed(1)), teacher.data(
        4000, torch.Generator().manual_seed(2)
    )  # fmt: skip
    with torch.no_grad():
        drawn = boot(made).released(made.student)(noise)
        in_four = teacher.sample(noise, steps=4)
    assert sliced_wasserstein(drawn, data) < sliced_wasserstein(in_four, data)


def test_both_passes_of_a_step_are_of_one_network_whatever_dropout_the_student_has() -> None:
    student = nn.Sequential(PointNet(2, 1, [16]), nn.Dropout(0.5))
    student.forward = lambda **columns: student[1](student[0](**columns))  # type: ignore[method-assign]
    made = session({}, student=student)
    assert [module.p for module in made.student.modules() if isinstance(module, nn.Dropout)] == [0]
