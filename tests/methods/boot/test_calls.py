"""BOOT with several calls and with a range of guidance: what it starts from, its target against the textbook, and what
is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import sansdata
from sansdata.engine.session import Session
from sansdata.errors import ConfigError, MethodError
from sansdata.methods.boot import BOOT
from sansdata.methods.index import method_config
from sansdata.models.diffusion.generators import PointNet
from sansdata.models.diffusion.mixture import Mixture, ring
from sansdata.models.diffusion.schedules import Cosine, Discrete, Karras, Schedule
from sansdata.models.diffusion.steerable import Steerable
from sansdata.runtime import Runtime
from sansdata.tasks import PairTask
from sansdata.teachers.base import Teacher

LABELS = 8
TASK = PairTask(
    inputs={"kind": "noise", "shape": [2], "labels": LABELS}, outputs={"kind": "field", "range": [-3, 3], "steps": 4}
)
BATCH = 64
ENDS_LATE = Discrete((1 - torch.linspace(1e-4, 0.01, 1000, dtype=torch.float64)).cumprod(0), 0, 999)


def session(options: dict[str, Any], schedule: Schedule | None = None, student: nn.Module | None = None) -> Session:
    config = method_config("boot", "default", {"transfer": {"batch": BATCH, "lr": 1e-3}, "warmup": 0, **options})
    plain = ring()
    teacher = Mixture(plain.centres.detach(), 0.15, plain.weights.detach(), schedule, labels=True)
    torch.manual_seed(0)
    student = student or PointNet(2, LABELS + 1, [16])
    return Session(BOOT, config, Teacher.from_module(teacher, TASK), student, TASK, Runtime(), 3, 20)


def taught(made: Session) -> tuple[Any, Steerable]:
    assert isinstance(made.student, Steerable)
    with torch.no_grad():  # so that it hears what it is told
        for name, value in made.student.named_parameters():
            if name.endswith("further.weight"):
                value.normal_(0, 0.3, generator=torch.Generator().manual_seed(5))
    made.streams.begin(0)
    return made.method.transfer_batch(), made.student


@pytest.mark.parametrize("schedule", [Cosine(), ENDS_LATE, Karras(last=5.0)])
def test_later_starts_are_where_the_student_walks(schedule: Schedule) -> None:
    batch, student = taught(session({"calls": 3}, schedule))
    inputs = batch.inputs
    drawn = _drawn(schedule)
    shares = inputs["start"].unique().tolist()
    assert shares == pytest.approx([1 / 3, 2 / 3, 1])
    double: Any = student
    starts = schedule.at(torch.tensor([1.0, 2 / 3, 1 / 3], dtype=torch.float64))
    alphas, sigmas, sizes = schedule.alpha(starts), schedule.sigma(starts), schedule.size(starts)
    for row in range(BATCH):
        noise, label = drawn[row : row + 1], inputs["label"][row : row + 1]
        place = round(3 * (1 - float(inputs["start"][row])))
        for step in range(place):
            begun, wanted = (torch.tensor([1 - one / 3]) for one in (step, step + 1))
            with torch.no_grad():
                signal = double(noise.float(), wanted, label, begun).double()
            rest = (sizes[step] * noise.double() - alphas[step] * signal) / sigmas[step]
            noise = (alphas[step + 1] * signal + sigmas[step + 1] * rest) / sizes[step + 1]
        assert torch.allclose(inputs["noise"][row].double(), noise[0].double(), atol=1e-4)


def _drawn(schedule: Schedule) -> Tensor:
    """The noises from which that batch began."""
    batch, _ = taught(session({"calls": 1}, schedule))
    return batch.inputs["noise"]


@pytest.mark.parametrize("schedule", [Cosine(), ENDS_LATE, Karras(last=5.0)])
@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_from_a_later_start_the_target_is_a_step_of_guided_ddim(schedule: Schedule, solver: str) -> None:
    made = session({"calls": 3, "guidance": [0.5, 2.5], "solver": solver}, schedule)
    batch, student = taught(made)
    inputs, now = batch.inputs, batch.extras["now"].double()
    assert inputs["guidance"].min() >= 0.5
    assert inputs["guidance"].max() <= 2.5
    assert inputs["guidance"].std() > 0.3
    assert bool((now <= inputs["start"] + 1e-6).all())
    assert inputs["time"].min() >= -1e-6
    exact = Mixture(ring().double().centres.detach(), 0.15, ring().double().weights.detach(), schedule, labels=True)
    exact = exact.double()
    ends = [inputs["start"].double(), now, now - 0.04]
    times = [schedule.at(one.clamp(0, 1)) for one in ends]
    alphas, sigmas = [schedule.alpha(t)[:, None] for t in times], [schedule.sigma(t)[:, None] for t in times]
    start = schedule.size(times[0])[:, None] * inputs["noise"].double()

    def seen(state: Tensor, place: int) -> Tensor:
        """f~ = f(x, none) + w (f(x, c) - f(x, none)), the card's ninth point."""
        own = exact._one(state, times[place], inputs["label"])
        none = exact._one(state, times[place], torch.full_like(inputs["label"], LABELS))
        return none + inputs["guidance"].double()[:, None] * (own - none)

    with torch.no_grad():
        condition = {name: inputs[name] for name in ("noise", "label", "start", "guidance")}
        signal = student(**condition, time=now.float()).double()
        part = [sigma / sigmas[0] for sigma in sigmas]
        here = part[1] * start + (alphas[1] - alphas[0] * part[1]) * signal
        clean = seen(here, 1)
        there = alphas[2] * clean + sigmas[2] * (here - alphas[1] * clean) / sigmas[1]
        if solver == "heun":
            again = (clean + seen(there, 2)) / 2
            there = alphas[2] * again + sigmas[2] * (here - alphas[1] * again) / sigmas[1]
        wanted = (there - part[2] * start) / (alphas[2] - alphas[0] * part[2])
        boundary = seen(start, 0)
    assert torch.allclose(batch.extras["target"].double(), wanted, atol=2e-4)
    assert torch.allclose(batch.extras["boundary"].double(), boundary, atol=1e-4)
    assert made.context.counters["teacher_forwards"] == (6 if solver == "heun" else 4) * BATCH


def test_the_boundary_is_at_each_start() -> None:
    made = session({"calls": 2, "guidance": [1.0, 3.0]})
    batch, student = taught(made)
    inputs = batch.inputs
    with torch.no_grad():
        losses = made.method.student_loss(made.student_forward, batch)
        condition = {name: inputs[name] for name in ("noise", "label", "start", "guidance")}
        away = student(**condition, time=inputs["start"]) - batch.extras["boundary"]
    assert float(losses.values()["boundary"]) == pytest.approx(float(away.square().mean()), rel=1e-5)


def test_what_does_not_go_together_is_said_before_the_first_step() -> None:
    for options, said in (
        ({"calls": 2, "anchored": False}, "anchor"), ({"calls": 8, "delta": 0.2}, "delta"),
        ({"guidance": [3.0, 1.0]}, "range"), ({"calls": 17}, "calls"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            method_config("boot", "default", options)
    with pytest.raises(MethodError, match="Linear cannot be told"):
        session({"calls": 2}, student=nn.Linear(2, 2))


def test_what_is_found_is_by_calls_and_by_guidance() -> None:
    made = session({"calls": 2, "guidance": [1.0, 2.0]})
    made.advance(3)
    by_name: dict[str, Any] = {one.name: one for one in made.method.findings()}
    calls = by_name["error by calls"].data
    assert [count for count, _ in calls["student"]] == [count for count, _ in calls["teacher"]] == [1, 2]
    assert calls["student"][-1][1] == pytest.approx(by_name["paired_error"].value)
    denoiser, student = made.context.teacher.capability("denoises"), made.method.released(made.student)
    drawn: Any = made.method.kind.draw(64, torch.Generator().manual_seed(0))  # type: ignore[attr-defined]
    noise, label = drawn["noise"], drawn["label"]
    strength = torch.full((64,), 1.5)
    with torch.no_grad():
        end = denoiser.sample(noise, label, 20, strength)
        in_two = student.sample(noise, label, 2, strength)  # type: ignore[operator]
        apart = [(one - end).square().mean().sqrt() / 6 for one in (in_two, denoiser.sample(noise, label, 2, strength))]
    assert [calls["student"][1][1], calls["teacher"][1][1]] == pytest.approx([float(one) for one in apart], rel=1e-4)
    assert [strength for strength, _ in by_name["error by guidance"].data["student"]] == [1.0, 1.25, 1.5, 1.75, 2.0]


def test_a_run_leaves_a_student_of_several_calls_at_any_strength(tmp_path: Path) -> None:
    plain = ring(labels=True)
    teacher = Teacher.from_module(plain, TASK)
    result = sansdata.distill(
        teacher, "point-net-small", "boot", "6steps", tmp_path / "run", task=TASK, strict=True,
        options={"warmup": 1, "calls": 2, "guidance": [1.0, 3.0], "transfer": {"batch": 8}},
        settings={"threads": 1, "device": "cpu"},
    )  # fmt: skip
    student: Any = sansdata.load(tmp_path / "run").student
    noise, label = torch.randn(5, 2), torch.arange(5)
    assert (student.calls, student.guided) == (2, True)
    assert torch.equal(student(noise, label=label), result.student(noise, label=label))
    weak, strong = (student(noise, label=label, guidance=torch.full((5,), one)) for one in (1.0, 3.0))
    assert not torch.equal(weak, strong)
    assert sansdata.export(tmp_path / "run", "pt2").passed
    file = sansdata.export(tmp_path / "run", "onnx").file
    network = onnxruntime.InferenceSession(file)
    assert [one.name for one in network.get_inputs()] == ["noise", "label", "guidance"]
    for strength, answer in ((1.0, weak), (3.0, strong)):
        columns = {"noise": noise, "label": label, "guidance": torch.full((5,), strength)}
        (drawn,) = network.run(None, {name: column.numpy() for name, column in columns.items()})
        assert np.abs(drawn - answer.detach().numpy()).max() < 1e-4
