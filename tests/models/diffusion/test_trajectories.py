"""A signal that is walked along is DDIM, step by step and to the last digit, on every schedule."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from sansdata.errors import TeacherError
from sansdata.models.diffusion.denoiser import Denoiser, to_clean
from sansdata.models.diffusion.mixture import Mixture, ring
from sansdata.models.diffusion.one_step import OneStep
from sansdata.models.diffusion.schedules import Cosine, Discrete, Flow, Karras, Schedule, Trajectory


def linear(first: float = 1e-4, last: float = 0.02, count: int = 1000) -> Discrete:
    """What diffusers calls the linear schedule; alpha is 0.006 at its end."""
    kept = (1 - torch.linspace(first, last, count, dtype=torch.float64)).cumprod(0)
    return Discrete(kept, 0, count - 1)


ENDS_LATE = linear(last=0.01)
"""alpha is 0.078 at its end: there is still some signal in the noise."""
SCHEDULES = {
    "cosine": Cosine(), "linear": linear(), "ends late": ENDS_LATE, "flow": Flow(),
    "flow in thousandths": Flow(last=1000.0), "karras": Karras(),
}  # fmt: skip


def exact(schedule: Schedule) -> Mixture:
    """The ring's denoiser in float64."""
    plain = ring().double()
    return Mixture(plain.centres.detach(), 0.15, plain.weights.detach(), schedule).double()


def ddim(denoiser: Denoiser, start: Tensor, times: Tensor) -> Tensor:
    """The state at the last of `times`, by the textbook."""
    schedule, state = denoiser.schedule, start
    for now, then in itertools.pairwise(times):
        clean = denoiser.clean(state, now.expand(len(state)))
        noise = (state - schedule.alpha(now[None]) * clean) / schedule.sigma(now[None])
        state = schedule.alpha(then[None]) * clean + schedule.sigma(then[None]) * noise
    return state


def walked(denoiser: Denoiser, start: Tensor, times: Tensor, anchored: bool = True) -> Tensor:
    path, signal = Trajectory.of(denoiser.schedule, anchored), torch.zeros_like(start)
    signal = denoiser.clean(start, times[:1].expand(len(start)))
    for now, then in itertools.pairwise(times):
        here, there = now.expand(len(start)), then.expand(len(start))
        seen = denoiser.clean(path.state(start, signal, here), here)
        kept = path.kept(here, there)[:, None]
        signal = kept * signal + (1 - kept) * seen
    return path.state(start, signal, times[-1:].expand(len(start)))


def way(schedule: Schedule, steps: int = 40) -> Tensor:
    return schedule.at(torch.linspace(1, 0, steps + 1, dtype=torch.float64))


@pytest.mark.parametrize("name", SCHEDULES)
def test_walking_the_signal_is_ddim(name: str) -> None:
    schedule = SCHEDULES[name]
    start = schedule.scale * torch.randn(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    denoiser, times = exact(schedule), way(schedule)
    with torch.no_grad():
        assert (walked(denoiser, start, times) - ddim(denoiser, start, times)).abs().max() < 1e-10


@pytest.mark.parametrize(("name", "same"), [("cosine", True), ("ends late", False), ("karras", True)])
def test_the_papers_form_wants_a_schedule_that_ends_in_noise(name: str, same: bool) -> None:
    """EDM's ends where the signal is an eightieth of the noise: nearly nothing."""
    schedule = SCHEDULES[name]
    start = schedule.scale * torch.randn(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    denoiser, times = exact(schedule), way(schedule)
    with torch.no_grad():
        apart = (walked(denoiser, start, times, anchored=False) - ddim(denoiser, start, times)).abs().max()
    assert (apart < (0.1 if name == "karras" else 1e-10)) == same
    assert same or apart > 0.5


def test_the_sampler_ends_where_its_last_look_does() -> None:
    denoiser = exact(Cosine())
    start = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        made, times = denoiser.sample(start, steps=10), way(Cosine(), 10)
        assert torch.allclose(made, denoiser.clean(ddim(denoiser, start, times[:-1]), times[-2].expand(50)), atol=1e-12)
        assert torch.equal(denoiser.sample(start, steps=1), denoiser.clean(start, torch.ones(50, dtype=torch.float64)))
        signals = denoiser.signals(start, steps=10)
    assert len(signals) == 11
    assert torch.equal(signals[0], signals[1])  # nothing is known at the anchor but what is seen there


def test_what_a_network_predicts_is_told_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(9, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    alpha, sigma = torch.tensor(0.6, dtype=torch.float64), torch.tensor(0.8, dtype=torch.float64)
    state = alpha * clean + sigma * noise
    assert torch.allclose(to_clean("epsilon", noise, state, alpha, sigma), clean)
    assert torch.allclose(to_clean("v_prediction", alpha * noise - sigma * clean, state, alpha, sigma), clean)
    assert torch.equal(to_clean("sample", clean, state, alpha, sigma), clean)
    flowing = 0.2 * clean + 0.8 * noise
    assert torch.allclose(to_clean("flow", noise - clean, flowing, torch.tensor(0.2), sigma), clean)
    spread, total = 0.5, sigma**2 + 0.25
    loud = clean + sigma * noise
    answer = (clean - 0.25 / total * loud) * total.sqrt() / (sigma * spread)
    assert torch.allclose(to_clean("edm", answer, loud, torch.tensor(1.0), sigma, spread), clean)


class Said(nn.Module):
    """Notes what it was called with, and answers with its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.3))
        self.heard: list[tuple[Tensor, Tensor]] = []

    def forward(self, state: Tensor, time: Tensor) -> Tensor:
        self.heard.append((state, time))
        return state * 0 + self.weight


@pytest.mark.parametrize("prediction", ["sample", "v_prediction", "flow", "edm"])
def test_a_copy_in_one_step_begins_with_what_the_teacher_sees_in_noise(prediction: str) -> None:
    schedule = {"flow": Flow(), "edm": Karras()}.get(prediction, ENDS_LATE.kept)
    teacher = Denoiser(Said(), schedule, prediction)  # type: ignore[arg-type]
    noise = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    student = OneStep.copying(teacher)
    assert student.starts_at_teacher
    last = torch.full((5,), float(teacher.schedule.last))
    seen = teacher.clean(noise * teacher.schedule.scale, last)
    assert torch.allclose(student(noise, torch.ones(5)), seen)
    assert torch.allclose(student(noise), seen), "it has no other answer at other times, having learned none"
    (_, at_last), (_, at_first) = (student.of.network.heard[place] for place in (0, 1))  # type: ignore[attr-defined]
    expected = [teacher.schedule.last, teacher.schedule.first]
    if prediction == "edm":
        expected = [math.log(value) / 4 for value in expected]
    assert [float(at_last[0]), float(at_first[0])] == pytest.approx(expected)


def test_a_network_that_gives_the_noise_is_read_as_one_that_gives_the_sample() -> None:
    student = OneStep.copying(Denoiser(Said(), ENDS_LATE.kept, "epsilon"))
    assert not student.starts_at_teacher
    assert torch.allclose(student(torch.randn(3, 2)), torch.full((3, 2), 0.3))


class ByLabel(nn.Module):
    """One value for each label, the last one for none."""

    def forward(self, state: Tensor, time: Tensor, label: Tensor) -> Tensor:
        return torch.tensor([1.0, 2.0, 10.0])[label][:, None].expand_as(state)


def test_guidance_pushes_away_from_the_answer_without_a_label() -> None:
    teacher = Denoiser(ByLabel(), Cosine(), "sample", labels=2, null=2)
    state, time, label = torch.zeros(2, 3), torch.full((2,), 0.5), torch.tensor([0, 1])
    assert teacher.clean(state, time, label)[:, 0].tolist() == [1, 2]
    pushed = teacher.clean(state, time, label, guidance=torch.tensor([3.0, 0.0]))
    assert pushed[:, 0].tolist() == [10 + 3 * (1 - 10), 10]
    with pytest.raises(TeacherError, match="none"):
        Denoiser(ByLabel(), Cosine(), "sample", labels=2, guidance=2.0)
    with pytest.raises(TeacherError, match="predicts"):
        Denoiser(ByLabel(), Cosine(), "wave")  # type: ignore[arg-type]


def test_a_clean_sample_is_bound() -> None:
    teacher = Denoiser(Said(), ENDS_LATE.kept, "epsilon", clip=0.5)
    assert teacher.sample(torch.randn(7, 2), steps=3).abs().max() <= 0.5
