"""DiffDFKD with a denoiser in closed form."""

from __future__ import annotations

import copy
import importlib
import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from priors import Gaussian
from safetensors.torch import save_file
from torch import nn

import sansdata
from sansdata.engine.session import Session
from sansdata.errors import ConfigError, MethodError, TeacherError
from sansdata.methods.diffdfkd.prior import Prior, PriorSettings
from sansdata.methods.index import find_method, method_config
from sansdata.models.build import architecture_of, build
from sansdata.runtime import Runtime
from sansdata.tasks import ImageTask, load_task
from sansdata.teachers.base import Teacher, fingerprint
from sansdata.testing.worlds import WORLDS

WORLD = WORLDS["image"]
GAUSSIAN = {"model": "priors:gaussian"}
TINY = {"prior": GAUSSIAN, "times": 6, "chunk": 4, "batch": 8, "steps_per_batch": 3, "transfer": {"batch": 8}}


def session(options: dict[str, Any], steps: int = 3, name: str = "diffdfkd") -> Session:
    config = method_config(name, "default", {**TINY, **options})
    return Session(find_method(name), config, WORLD.teacher(), WORLD.student(), WORLD.task, Runtime(), 3, steps)


def to_the_end(at_work: Session, steps: int = 1) -> Any:
    while at_work.context.progress.steps < steps:
        at_work.move()
    return at_work.method


def test_boxes_are_exchanged_between_the_parts_of_a_trajectory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the released 50 times behind the 10th, 20th, 30th and 40th: never in pure noise, and not at the end."""
    module = importlib.import_module("sansdata.methods.diffdfkd.method")
    at_work = session({"cutmix": True, "times": 50, "chunk": 1})
    exchanged = []

    def seen(states: torch.Tensor, *_: Any) -> torch.Tensor:
        exchanged.append(at_work.method.under_way.iteration)
        return states

    monkeypatch.setattr(module, "cutmix", seen)
    to_the_end(at_work)
    assert exchanged == [9, 19, 29, 39]


def prior(**settings: Any) -> Prior:
    return Prior(PriorSettings(model="priors:gaussian", **settings), WORLD.task, Runtime())


def test_a_step_back_is_the_posterior_of_ho_et_al():
    """Their equation 7 in float64, from betas and their products."""
    made, random = prior(), np.random.default_rng(0)
    times = made.times(9)
    schedule = made.denoiser.schedule
    state, clean, noise = (random.normal(size=(2, 3, 8, 8)) for _ in range(3))
    for now, then in pairwise(times):
        kept = [float(schedule.alpha(torch.tensor([t], dtype=torch.float64))) ** 2 for t in (now, then)]
        alpha = kept[0] / kept[1]
        if kept[0] < 1e-12:
            continue  # pure noise says nothing of the picture, and their formula divides by nothing
        of_clean, of_state = np.sqrt(kept[1]) * (1 - alpha), np.sqrt(alpha) * (1 - kept[1])
        mean = (of_clean * clean + of_state * state) / (1 - kept[0])
        drawn = np.sqrt((1 - kept[1]) / (1 - kept[0]) * (1 - alpha))
        ours = made.earlier(*(torch.from_numpy(x) for x in (state, clean)), now, then, torch.from_numpy(noise))
        assert np.allclose(ours.numpy(), mean + drawn * noise, atol=1e-6)


def test_a_denoiser_in_closed_form_draws_what_it_is_of():
    made, generator = prior(), torch.Generator().manual_seed(0)
    states = made.noise(400, generator)
    times = made.times(200)
    for now, then in pairwise(times):
        states = made.earlier(states, made.clean(states, now), now, then, made.noise(400, generator))
    pixels = made.clean(states, times[-1])
    assert abs(float(pixels.mean()) - 0.1) < 0.01
    assert abs(float(pixels.std()) - 0.6) < 0.03


def test_pictures_become_images_of_the_task():
    task = ImageTask(classes=2, shape=(3, 16, 16), mean=(0.0,) * 3, std=(1.0,) * 3)
    made = Prior(PriorSettings(model="priors:gaussian", shape=(1, 8, 8), low=-0.5, high=0.5), task, Runtime())
    images = made.images(torch.tensor([-0.5, 0.0, 0.5, 9.0]).view(4, 1, 1, 1).expand(4, 1, 8, 8))
    assert images.shape == (4, 3, 16, 16)
    assert torch.allclose(images[:, 1, 5, 5], torch.tensor([0.0, 0.5, 1.0, 1.0]))


@pytest.mark.parametrize(("ce", "bn", "far"), [(1.0, 0.0, 1e-4), (0.0, 1.0, 1e-3)])
def test_the_guidance_is_the_gradient_through_the_clean_picture(ce, bn, far):
    """Finite differences of the loss along a direction; a denoiser that is asked without gradient would give 0.

    far: short for the corners of ReLU, long for the statistics, which are float32.
    """
    wide = {**GAUSSIAN, "low": -4.0, "high": 4.0}  # no pixel is cut off: there the loss would have a corner
    at_work = session({"stride": None, "ce": ce, "bn": bn, "prior": wide})
    method = at_work.method
    method._begin()  # type: ignore[attr-defined]
    teacher = at_work.context.teacher
    for network in (teacher.network, teacher.folded):
        network.module.double()  # type: ignore[union-attr]
    batch, time = method.under_way, method.times[3]  # type: ignore[attr-defined]
    batch.states = batch.states.double()
    before = batch.states.clone()

    @torch.no_grad()
    def loss(states: torch.Tensor) -> float:
        return float(method._losses(method.prior.images(method.prior.clean(states, time))).total())  # type: ignore

    direction = torch.randn(before.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    slope = (loss(before + far * direction) - loss(before - far * direction)) / (2 * far)
    method._guide(time)  # type: ignore[attr-defined]
    moved = (before - batch.states) / len(before)
    assert moved.abs().max() > 0
    assert float((moved * direction).sum()) == pytest.approx(slope, rel=5e-3)
    assert not any(p.requires_grad for p in teacher.module.parameters())


def test_without_any_term_it_is_plain_sampling_bit_by_bit():
    at_work = session({"ce": 0.0, "bn": 0.0})
    method = to_the_end(at_work)
    plain = session({"ce": 0.0, "bn": 0.0})
    made, context = plain.method.prior, plain.context  # type: ignore[attr-defined]
    states, number = None, 0
    for move in range(2):
        context.streams.begin(move)
        states = made.noise(8, context.streams("noise")) if states is None else states
        for _ in range(min(4, 6 - number)):
            now = made.times(6)[number]
            clean, noise = made.clean(states, now), made.noise(8, context.streams("sampler"))
            states = clean if number == 5 else made.earlier(states, clean, now, made.times(6)[number + 1], noise)
            number += 1
    assert torch.equal(method.under_way.states, states)
    assert at_work.context.counters["prior_forwards"] == 8 * 6


def test_a_guided_time_asks_the_denoiser_twice_and_changes_nobody():
    at_work = session({})
    made, teacher = at_work.method.prior.denoiser, at_work.context.teacher  # type: ignore[attr-defined]
    before = copy.deepcopy(made.state_dict()), fingerprint(teacher.module), copy.deepcopy(at_work.student.state_dict())
    while at_work.method.next_move() == "acquire":
        at_work.move()
    assert at_work.context.counters["prior_forwards"] == 8 * (2 * 5 + 1)
    assert all(torch.equal(value, before[0][name]) for name, value in made.state_dict().items())
    assert fingerprint(teacher.module) == before[1]
    assert all(torch.equal(value, before[2][name]) for name, value in at_work.student.state_dict().items())
    everyone = (*made.parameters(), *at_work.student.parameters(), *teacher.module.parameters())
    assert all(p.grad is None for p in everyone)


def test_guidance_makes_what_the_teacher_names_so():
    hit = {}
    for ce in (0.0, 1.0):
        method = to_the_end(session({"ce": ce, "bn": 0.0, "times": 20, "batch": 40}))
        hit[ce] = next(one.value for one in method.findings() if one.name == "class_hit")
    assert hit[1.0] > hit[0.0] + 0.4


def test_the_student_is_asked_once_there_is_enough_of_each_class():
    at_work = session({"adversarial": 1.0, "batch": 80, "times": 2})
    while at_work.context.progress.steps < 3:
        _, losses = at_work.move()
        assert "adversarial" not in losses.terms
    _, losses = at_work.move()
    assert "adversarial" in losses.terms


def test_a_run_declares_its_prior_and_says_where_its_knowledge_comes_from(tmp_path):
    WORLD.save(tmp_path / "weights.safetensors")
    result = sansdata.distill(
        WORLD.spec(tmp_path / "weights.safetensors"), WORLD.network, "diffdfkd", "3steps", tmp_path / "run", 3,
        task=WORLD.task, strict=True, options=TINY,
    )  # fmt: skip
    (told,) = [one for one in result.summary["warnings"] if one["name"] == "outside_knowledge"]
    assert "priors:gaussian" in told["text"]


def test_the_file_of_a_prior_is_in_the_ledger(tmp_path):
    sides = {"inputs": {"kind": "noise", "shape": [1, 8, 8]}, "outputs": {"kind": "field", "range": [-0.5, 0.5]}}
    network, file = build(architecture_of("plain-ddpm", load_task(sides))), tmp_path / "prior.safetensors"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, file)
    task = ImageTask(classes=4, shape=(1, 8, 8), mean=(0.0,), std=(1.0,))
    teacher, student = (nn.Sequential(nn.Flatten(), nn.Linear(64, 4)) for _ in range(2))
    options = {**TINY, "bn": 0.0, "prior": {"model": f"plain-ddpm@{file}", "low": -0.5, "high": 0.5}}
    result = sansdata.distill(
        Teacher.from_module(teacher, task), student, "diffdfkd", "2steps", tmp_path / "run", 3, strict=True,
        options=options,
    )  # fmt: skip
    ledger = json.loads((result.run_dir / "ledger.json").read_text())
    roles = [entry["role"] for entry in ledger["files"] if entry["path"].endswith("prior.safetensors")]
    assert roles == ["prior (outside knowledge)"]
    assert ledger["violations"] == []


def test_another_prior_is_no_continuation():
    first, second = session({}), session({"prior": {"model": "priors:other_gaussian"}})
    second.method.prior.sha256 = "another"  # type: ignore[attr-defined]
    first.move()
    second.method.drawn.load_state_dict(first.method.drawn.state_dict())  # type: ignore[attr-defined]
    with pytest.raises(MethodError, match="not the one that this run was begun with"):
        second.method.acquire()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"prior": {}}, ConfigError, "name it, prior.model=SPEC"),
        ({"prior": {"model": "priors:nothing"}}, TeacherError, "nothing"),
        ({"prior": {"model": "priors:Gaussian", "low": 1.0, "high": 0.0}}, ConfigError, "expected low below high"),
        ({"cutmix": True, "batch": 7}, MethodError, "Give batch=8 or more"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_move(options, error, words):
    with pytest.raises(error, match=words):
        session(options)


def test_the_prior_is_exact():
    """E[x_0 | x_t] of a Gaussian, against the regression of draws."""
    denoiser, generator = Gaussian(), torch.Generator().manual_seed(0)
    clean = 0.1 + 0.6 * torch.randn(200_000, generator=generator)
    time = torch.tensor([0.4])
    alpha, sigma = float(denoiser.schedule.alpha(time)), float(denoiser.schedule.sigma(time))
    state = alpha * clean + sigma * torch.randn(200_000, generator=generator)
    slope = float(((state - state.mean()) * (clean - clean.mean())).mean() / state.var())
    seen = denoiser.clean(torch.tensor([[0.0], [1.0]]), time.expand(2))
    assert float((seen[1] - seen[0]).detach()) == pytest.approx(slope, abs=0.01)
