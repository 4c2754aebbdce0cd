"""Generative replay: when it learns, what it learns from, what its codes are moved by, what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import Plain, make_student, make_task, make_teacher
from torch import Tensor, nn

import sansdata
from sansdata.contracts import Batch, Counters, Progress
from sansdata.errors import MethodError
from sansdata.method import Context
from sansdata.network import Network
from sansdata.objectives import class_priors
from sansdata.runtime import Runtime
from sansdata.settings import RetainSettings, VaccineSettings
from sansdata.streams import Streams
from sansdata.synthesis.generator import images_from
from sansdata.training.vaccine import Vaccine
from sansdata.training.vae_replay import VAEReplay, normal_moments


class World:
    """A replay memory and a way to walk through moves."""

    def __init__(self, **vae: float) -> None:
        task, counters, teacher = make_task(), Counters(), make_teacher()
        teacher.counters = counters
        self.context = Context(
            task, teacher, Network.of(make_student(), task), Streams(3), Progress(), counters, Runtime()
        )
        self.context.streams.begin(0)
        settings = {"latent": 6, "width": 4} | vae
        self.replay = VAEReplay(self.context, RetainSettings.model_validate({"share": 0.25, "vae": settings}))

    def batch(self, count: int = 16) -> Batch:
        noise = torch.Generator().manual_seed(self.context.streams.move + 5)
        patches = torch.rand(count, 1, 2, 2, generator=noise)
        return self.context.teach(nn.functional.interpolate(patches, scale_factor=4))

    def weights(self) -> list[Tensor]:
        return [p.detach().clone() for p in self.replay.vae.parameters()]

    def learns(self, move: int, batch: Batch | None = None) -> bool:
        """Whether the student's step of this move taught it anything."""
        self.context.streams.begin(move)
        before = self.weights()
        self.replay.remember(batch or self.batch(), self.replay.recall())
        return not all(torch.equal(a, b) for a, b in zip(before, self.weights()))


def test_it_learns_in_the_first_steps_after_each_acquisition() -> None:
    world = World(steps=2)
    transfers = [0, 1, 2, 3, 5, 6, 7, 9, 10]  # the moves between are acquisitions
    assert [world.learns(move) for move in transfers] == [True, True, False, False, True, True, False, True, True]


def test_a_defence_sees_whatever_takes_gradients_through_the_teacher() -> None:
    """The decoder's images come out of the teacher's gradients too: in learning, and in moving the codes."""
    world = World()
    vaccine = Vaccine(VaccineSettings(), world.context)
    world.context.defence = vaccine
    world.learns(0)
    assert vaccine.requests == 1
    world.replay.recall()
    assert vaccine.requests == 2


def test_it_replays_nothing_before_it_has_learnt_and_a_share_of_the_batch_after() -> None:
    world = World()
    assert world.replay.recall() is None
    world.learns(0)
    replayed = world.replay.recall()
    assert replayed is not None
    assert replayed.inputs.shape == (4, 1, 8, 8)
    assert not replayed.inputs.requires_grad
    with torch.no_grad():
        answers = world.context.teacher(replayed.inputs).logits
    assert replayed.teacher_outputs is not None
    assert torch.equal(replayed.teacher_outputs.logits, answers)
    assert replayed.targets is not None
    assert torch.equal(replayed.targets, answers.argmax(1))


def test_it_learns_from_half_of_the_batch_and_from_what_was_replayed() -> None:
    """The other half may be anything; of the replayed samples each counts."""

    def after(change: Tensor | None, replayed: float) -> list[Tensor]:
        world = World()
        batch, old = world.batch(), world.batch(4)
        if change is not None:
            batch.inputs = batch.inputs + change
        old.inputs = old.inputs + replayed
        world.replay.remember(batch, old)
        return world.weights()

    def same(a: list[Tensor], b: list[Tensor]) -> bool:
        return all(torch.equal(x, y) for x, y in zip(a, b))

    late, early = torch.zeros(16, 1, 1, 1), torch.zeros(16, 1, 1, 1)
    late[8:], early[:8] = 0.3, 0.3
    wanted = after(None, 0)
    assert same(after(late, 0), wanted)
    assert not same(after(early, 0), wanted)
    assert not same(after(None, 0.3), wanted)


def test_its_loss_falls_on_images_it_is_shown_again() -> None:
    world = World(lr=5e-3)
    batch, first, last = world.batch(), {}, {}
    for move in range(0, 160, 2):
        world.context.streams.begin(move)
        last = world.replay.remember(batch, None)
        first = first or last
    assert set(last) == {"vae_pixels", "vae_answers", "vae_prior"}
    assert last["vae_pixels"] < 0.8 * first["vae_pixels"]
    assert last["vae_answers"] < 0.8 * first["vae_answers"]


def test_codes_take_one_step_of_adam_towards_what_the_teacher_is_sure_of() -> None:
    world = World(code_lr=0.05, entropy=3.0)
    world.learns(0)
    world.context.streams.begin(1)
    moved = world.replay._codes(8)
    codes = torch.randn(8, 6, generator=beginning_of(world)).requires_grad_()
    decoder: nn.Module = world.replay.vae.decoder.eval()
    answers = world.context.teacher(images_from(decoder, codes, world.context)).logits  # type: ignore[arg-type]
    spread = 3.0 * class_priors.information_entropy(answers) + class_priors.one_hot(answers).mean()
    (spread + (codes.var(0) - 1).square().mean() + codes.mean(0).square().mean()).backward()
    torch.optim.Adam([codes], lr=0.05).step()
    torch.testing.assert_close(moved, codes.detach(), rtol=1e-4, atol=1e-4)


def beginning_of(world: World) -> torch.Generator:
    """The numbers its codes began with."""
    fresh = Streams(3)
    fresh.begin(world.context.streams.move)
    return fresh("vae-codes")


def test_a_replay_leaves_no_trace_in_the_networks() -> None:
    world = World()
    world.learns(0)
    before = {name: value.clone() for name, value in world.replay.vae.state_dict().items()}
    world.replay.recall()
    after = world.replay.vae.state_dict()
    assert all(torch.equal(before[name], value) for name, value in after.items())
    assert world.replay.vae.decoder.training
    assert all(p.grad is None and p.requires_grad for p in world.replay.vae.parameters())


class Blind(Plain):
    """Gives no gradient to its images."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


def remember(memory: str) -> dict[str, object]:
    return {"update": "retain", "retain": {"memory": memory}}


def test_a_teacher_without_gradients_is_refused_before_step_0(tmp_path) -> None:
    teacher = sansdata.Teacher.from_module(Blind(), make_task())
    given = {"method": "noise", "budget": "2steps", "options": {"transfer": {"batch": 8}}}
    with pytest.raises(MethodError, match=r"retain\.memory=ring"):
        sansdata.distill(teacher, make_student(), out=tmp_path / "run", settings=remember("vae"), **given)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()
    sansdata.distill(teacher, make_student(), out=tmp_path / "run", settings=remember("ring"), **given)  # type: ignore[arg-type]


def test_moments_are_those_of_the_batch() -> None:
    codes = np.random.default_rng(0).normal(1, 2, size=(7, 4))
    wanted = ((codes.var(0, ddof=1) - 1) ** 2).mean() + (codes.mean(0) ** 2).mean()
    assert normal_moments(torch.from_numpy(codes)).item() == pytest.approx(wanted, rel=1e-12)
