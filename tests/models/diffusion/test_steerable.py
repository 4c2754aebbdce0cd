"""Generators that are told where they start and how strongly they are guided: sampled in several calls, unchanged by
what they have not learnt yet, and built again from their file."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sansdata.errors import StudentError
from sansdata.models.build import build
from sansdata.models.diffusion.denoiser import Denoiser
from sansdata.models.diffusion.generators import DenoisingPictureNet, PictureNet, PointNet
from sansdata.models.diffusion.mixture import Mixture, ring
from sansdata.models.diffusion.one_step import OneStep
from sansdata.models.diffusion.plain_ddpm import PlainDDPM
from sansdata.models.diffusion.schedules import Cosine, Discrete, Flow, Karras, Schedule, beside
from sansdata.models.diffusion.steerable import Steerable, starts_of
from sansdata.models.saved import read_model, write_model
from sansdata.tasks import PairTask
from sansdata.teachers.student_file import restore

ENDS_LATE = Discrete((1 - torch.linspace(1e-4, 0.01, 1000, dtype=torch.float64)).cumprod(0), 0, 999)
SCHEDULES = {"cosine": Cosine(), "flow": Flow(), "ends late": ENDS_LATE, "karras": Karras(last=20.0)}
FINE = 24
"""Steps between the ends of the whole way of a generator that knows the trajectory."""


class Knowing(Steerable):
    """Walks the teacher's trajectory by textbook DDIM, in float64, from where it starts to where it is asked."""

    def __init__(self, denoiser: Mixture, schedule: Schedule) -> None:
        super().__init__()
        self.denoiser, self.schedule = denoiser, schedule

    def take_condition(self, entries: int) -> None:
        self.entries = entries

    def signal(
        self, noise: Tensor, time: Tensor, label: Tensor | None, start: Tensor | None, condition: Tensor | None
    ) -> Tensor:
        begun = 1.0 if start is None else float(start[0])
        first = noise * beside(self.schedule.size(self.schedule.at(torch.full_like(time, begun))), noise)
        return signal_of(self.schedule, first, walk(self.denoiser, self.schedule, first, begun, float(time[0])),
                         begun, float(time[0]))  # fmt: skip


def walk(denoiser: Mixture, schedule: Schedule, state: Tensor, begun: float, time: float) -> Tensor:
    """Plain DDIM on states, FINE steps for the whole way."""
    times = schedule.at(torch.linspace(begun, time, round(FINE * (begun - time)) + 1, dtype=torch.float64))
    for now, then in itertools.pairwise(times):
        clean = denoiser.clean(state, now.expand(len(state)))
        rest = (state - schedule.alpha(now[None]) * clean) / schedule.sigma(now[None])
        state = schedule.alpha(then[None]) * clean + schedule.sigma(then[None]) * rest
    return state


def signal_of(schedule: Schedule, first: Tensor, state: Tensor, begun: float, time: float) -> Tensor:
    ends = schedule.at(torch.tensor([begun, time], dtype=torch.float64))
    alpha, sigma = schedule.alpha(ends), schedule.sigma(ends)
    part = sigma[1] / sigma[0]
    return (state - part * first) / (alpha[1] - alpha[0] * part)


@pytest.mark.parametrize("calls", [1, 2, 3, 4])
@pytest.mark.parametrize("name", SCHEDULES)
def test_in_several_calls_one_comes_to_the_end_of_the_same_trajectory(name: str, calls: int) -> None:
    plain, schedule = ring().double(), SCHEDULES[name]
    denoiser = Mixture(plain.centres.detach(), 0.15, plain.weights.detach(), schedule).double()
    knowing = Knowing(denoiser, schedule)
    knowing.tell(4)
    knowing.starts.copy_(starts_of(schedule, 4))
    noise = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        start, last = noise * schedule.scale, 1 - [0, 2, 3, 3][calls - 1] / 4
        before = walk(denoiser, schedule, start, 1.0, last)
        end = signal_of(schedule, before, walk(denoiser, schedule, before, last, 0.0), last, 0.0)
        assert (knowing.sample(noise, calls=calls) - end).abs().max() < 1e-4


def test_fewer_calls_leave_starts_out_evenly() -> None:
    net = PointNet(2)
    net.tell(4)
    assert [net.places(calls) for calls in (1, 2, 3, 4)] == [[0], [0, 2], [0, 1, 3], [0, 1, 2, 3]]
    for calls in (0, 5):
        with pytest.raises(StudentError, match="1 to 4 calls"):
            net.sample(torch.zeros(1, 2), calls=calls)


def given(net: Steerable) -> dict[str, Tensor]:
    shape = (1, 4, 4) if not isinstance(net, PointNet) else (2,)
    label = {"label": torch.tensor([0, 2, 1])} if isinstance(net, (PointNet, PictureNet)) else {}
    generator = torch.Generator().manual_seed(0)
    return {"noise": torch.randn(3, *shape, generator=generator), "time": torch.tensor([0.0, 0.3, 0.9]), **label}


@pytest.mark.parametrize("make", [
    lambda: PointNet(2, 4), lambda: PictureNet(1, 4, 8), lambda: OneStep(PlainDDPM(1, (4, 4), (4, 4), 50)),
    lambda: OneStep(Denoiser(DenoisingPictureNet(1, 1, 8), "cosine", "v_prediction")),
])  # fmt: skip
def test_what_it_has_not_learnt_of_changes_nothing_and_then_it_does(make: Any) -> None:
    torch.manual_seed(0)
    net = make().eval()
    inputs = given(net)
    before = net(**inputs)
    weights = set(net.state_dict())
    net.tell(2, guided=True)
    net.strengths.copy_(torch.tensor([1.0, 3.0]))
    net.starts.copy_(starts_of(Cosine(), 2))
    assert weights < set(net.state_dict())
    condition = {"start": torch.ones(3), "guidance": torch.tensor([1.0, 2.0, 3.0])}
    assert torch.equal(net(**inputs, **condition), before)
    (layer,) = [value for name, value in net.named_parameters() if name.endswith("further.weight")]
    with torch.no_grad():
        layer.add_(torch.randn(layer.shape, generator=torch.Generator().manual_seed(1)))
    one, half, strong = (
        net(**inputs, **condition | other)
        for other in ({}, {"start": torch.full((3,), 0.5)}, {"guidance": torch.full((3,), 1.5)})
    )
    assert not torch.allclose(one, half)
    assert not torch.allclose(one, strong)
    middle = net(**inputs, start=condition["start"], guidance=torch.full((3,), 2.0))
    assert torch.equal(net(**inputs, start=condition["start"]), middle)


def test_who_was_told_once_is_not_told_other_things() -> None:
    net = PointNet(2)
    net.tell(2)
    net.tell(2)
    with pytest.raises(StudentError, match="before"):
        net.tell(3)
    with pytest.raises(StudentError, match="1 to 16"):
        PointNet(2).tell(17)


def test_a_network_that_cannot_be_told_says_so() -> None:
    with pytest.raises(StudentError, match=r"Linear.*take_condition"):
        OneStep(Denoiser(torch.nn.Linear(2, 2), Cosine(), "sample")).tell(2)


def test_its_file_says_what_it_is_told(tmp_path: Path) -> None:
    task = PairTask(inputs={"kind": "noise", "shape": [2]}, outputs={"kind": "field"})
    of = {"kind": "zoo", "name": "point-net-small", "args": {"channels": 2, "height": 1, "width": 1, "conditions": 1}}
    architecture = {"kind": "steered", "calls": 3, "guided": True, "of": of}
    net: Any = build(architecture).eval()
    net.starts.copy_(starts_of(Flow(), 3))
    with torch.no_grad():
        net.told.further.weight.normal_()
    write_model(tmp_path / "student.safetensors", net, architecture, task, {})
    again: Any = restore(read_model(tmp_path / "student.safetensors"), tmp_path / "student.safetensors").eval()
    noise = torch.randn(4, 2)
    assert again.calls == 3
    assert torch.equal(again(noise), net(noise))
    assert torch.equal(again.sample(noise, calls=2), net.sample(noise, calls=2))
    assert not torch.allclose(net(noise), net.sample(noise, calls=1))


@pytest.mark.parametrize("wrong", [
    {"calls": 10**9}, {"calls": True}, {"calls": 0}, {"guided": "yes"}, {"of": {"kind": "zoo", "name": "conv4"}},
])  # fmt: skip
def test_a_file_that_asks_for_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    of = {"kind": "zoo", "name": "point-net-small", "args": {"channels": 2, "height": 1, "width": 1, "conditions": 1}}
    with pytest.raises(StudentError):
        build({"kind": "steered", "calls": 2, "guided": False, "of": of, **wrong})
