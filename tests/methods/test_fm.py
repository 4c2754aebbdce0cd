"""FM: the summed gradients of a round, the images it keeps, warm-up, and the first layer made anew."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny import CLASSES, make_student, make_task, make_teacher
from torch import Tensor

from sansdata.engine.session import Session
from sansdata.methods import fm as module
from sansdata.methods.fm import FM
from sansdata.methods.index import method_config
from sansdata.runtime import Runtime

OPTIONS = {
    "k": 2, "latent": 6, "width": 4, "batch": 8, "warmup_rounds": 0, "steps_per_round": 2, "pool": 40, "view": "none",
    "bn": 0.0, "reset_round": 0, "transfer": {"batch": 8},
}  # fmt: skip
CODES = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(8) % CLASSES


class Watched(Runtime):
    """Keeps the gradients that a step is taken on."""

    def step(self, optimizer: torch.optim.Optimizer, clip: float | None = None) -> None:
        self.gradients = [p.grad.clone() for p in optimizer.param_groups[0]["params"]]
        super().step(optimizer, clip)


def session(runtime: Runtime | None = None, **more: Any) -> Session:
    config = method_config("fm", "default", OPTIONS | more)
    return Session(FM, config, make_teacher(), make_student(), make_task(), runtime or Runtime(), 7, 10)


def method(one: Session) -> FM:
    assert isinstance(one.method, FM)
    return one.method


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same latents and labels in every round."""
    monkeypatch.setattr(module, "latents", lambda count, size, context: CODES.clone())
    monkeypatch.setattr(module, "random_targets", lambda count, task, stream: LABELS)


def written_out(
    one: Session, k: int, rate: float, latent_rate: float
) -> tuple[list[Tensor], list[Tensor], list[float]]:
    """A round in float64: the gradients at each of its weights summed, the images and the loss of each step."""
    generator, teacher = (copy.deepcopy(m).double() for m in (method(one).generator, one.context.teacher.module))
    codes, task = CODES.double().requires_grad_(), one.context.task
    inner = torch.optim.Adam(
        [{"params": generator.parameters(), "lr": rate}, {"params": [codes], "lr": latent_rate}], betas=(0.5, 0.999)
    )
    sums, images, losses = [torch.zeros_like(p) for p in generator.parameters()], [], []
    for _ in range(k):
        made = generator.train()(codes)
        loss = 0.5 * F.cross_entropy(teacher.eval()((made - task.mean[0]) / task.std[0]), LABELS)
        inner.zero_grad()
        loss.backward()
        sums = [total + p.grad for total, p in zip(sums, generator.parameters())]
        images.append(made.detach())
        losses.append(float(loss.detach()))
        inner.step()
    return sums, images, losses


def test_the_initialisation_gets_the_sum_of_the_inner_gradients(known: None) -> None:
    runtime = Watched()
    one = session(runtime, k=5, adversarial=0.0)
    sums, _, _ = written_out(one, 5, *module.RATES[5])
    one.move()
    scale = max(float(total.abs().max()) for total in sums)
    for gradient, total in zip(runtime.gradients, sums, strict=True):
        assert torch.allclose(gradient.double(), total, atol=2e-3 * scale)
    assert method(one).optimizer.param_groups[0]["lr"] == pytest.approx(5 * 3e-3)  # k times the inner rate, as released


@pytest.mark.parametrize("rate", [1e-3, 3.0], ids=["better", "worse"])
def test_the_images_of_the_best_step_are_kept(rate: float, known: None) -> None:
    one = session(adversarial=0.0, generator_lr=rate, latent_lr=rate)
    _, images, losses = written_out(one, 2, rate, rate)
    best = losses.index(min(losses))
    assert best == (1 if rate < 1 else 0)
    one.move()
    kept = method(one).pool.inputs
    assert isinstance(kept, Tensor)
    assert (kept[:8].double() / 255 - images[best]).abs().max() < 0.51 / 255 + 1e-3


def test_without_meta_learning_every_round_starts_from_the_same_generator() -> None:
    one = session(meta=False)
    start = copy.deepcopy(method(one).generator.state_dict())
    one.advance(6)
    after = method(one).generator.state_dict()
    assert all(torch.equal(start[name], after[name]) for name in start)
    learnt = session()
    learnt.advance(1)
    assert not torch.equal(start["project.weight"], method(learnt).generator.state_dict()["project.weight"])


def test_the_warm_up_has_no_student_steps_and_no_adversary() -> None:
    one, kinds, adversaries = session(warmup_rounds=3), [], []
    for _ in range(6):
        kind, losses = one.move()
        kinds.append(kind)
        if kind == "acquire":
            adversaries.append("adversarial" in losses.terms)
    assert kinds == ["acquire"] * 4 + ["transfer"] * 2
    assert adversaries == [False] * 3 + [True]


def test_the_first_layer_is_made_anew_in_the_round_that_is_named() -> None:
    """Rounds count from 1. The weights of BatchNorm are drawn around 0 as well, as released."""
    one = session(meta=False, latent=64, reset_round=2)
    generator = method(one).generator
    start = copy.deepcopy(generator.state_dict())
    one.advance(3)
    assert torch.equal(generator.project.weight, start["project.weight"])
    one.move()
    assert not torch.equal(generator.project.weight, start["project.weight"])
    assert float(generator.project.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert 0 < generator.norm0.weight.abs().max() < 0.1
    assert float(generator.norm0.bias.abs().max() + generator.project.bias.abs().max()) == 0
    assert torch.equal(generator.conv1.weight, start["conv1.weight"])
    layer = generator.project.weight.clone()
    one.advance(6)
    assert torch.equal(generator.project.weight, layer)


def test_k_without_published_rates_asks_for_them() -> None:
    with pytest.raises(Exception, match="k=3 has no published rates"):
        method_config("fm", "default", {"k": 3})
    assert method_config("fm", "default", {"k": 3, "generator_lr": 1e-3, "latent_lr": 1e-2}).rates == (1e-3, 1e-2)
