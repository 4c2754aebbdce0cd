"""Weights of texts: slopes against gradients, and wrong labels that lose theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from framed_texts import framed_task

from sansdata.engine.session import Session
from sansdata.kinds.index import input_kind
from sansdata.methods.index import find_method, method_config
from sansdata.methods.zerogen.pilot import Pilot, slopes_along
from sansdata.methods.zerogen.weighing import Reweigh, Weighing
from sansdata.models.build import architecture_of, build
from sansdata.runtime import Runtime
from sansdata.teachers.base import Teacher


def pilot_of(name: str, folder: Path) -> Pilot:
    """A copy of a student before 40 random texts of two classes."""
    task = framed_task(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        networks = [build(architecture_of(name, task)) for _ in range(2)]
    config = method_config("noise", "default", {"transfer": {"batch": 4}})
    teacher = Teacher.from_module(networks[0].eval(), task)
    session = Session(find_method("noise"), config, teacher, networks[1], task, Runtime(), 3, 20)
    texts = input_kind(task).draw(40, torch.Generator().manual_seed(0))
    return Pilot.of(session.context, texts, torch.arange(40) % 2)


def test_slopes_are_those_of_each_samples_own_gradient() -> None:
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 3, generator=draw, dtype=torch.float64, requires_grad=True)
    inputs, way = torch.randn(7, 5, generator=draw, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])

    def values() -> torch.Tensor:
        return torch.nn.functional.cross_entropy(inputs @ weight, labels, reduction="none")

    expected = [float((torch.autograd.grad(one, weight, retain_graph=True)[0] * way).sum()) for one in values()]
    before = weight.detach().clone()
    found = slopes_along([way], [weight], values)
    assert torch.allclose(found.detach(), torch.tensor(expected, dtype=torch.float64), rtol=1e-3, atol=1e-4)
    assert torch.equal(weight.detach(), before)


def test_a_student_with_dropout_is_one_network_to_both_sides_of_a_slope(tmp_path: Path) -> None:
    """A reader found two masks in one central difference: two looks at the same slopes agreed at r = 0.6."""
    pytest.importorskip("tokenizers")
    pilot = pilot_of("gru", tmp_path)
    assert any(isinstance(part, torch.nn.Dropout) and part.p > 0 for part in pilot.student.modules())
    pilot.teach(torch.arange(40), 10, 1e-2)
    way = torch.autograd.grad(pilot.losses(torch.arange(20)).mean(), pilot.parameters)
    slopes = pilot.slopes(way)
    assert torch.equal(pilot.slopes(way), slopes)
    exact = torch.autograd.grad(pilot.losses(torch.tensor([7]))[0], pilot.parameters)
    assert float(slopes[7]) == pytest.approx(float(sum((a * b).sum() for a, b in zip(exact, way))), rel=0.2)


@pytest.mark.parametrize("move", [3, 7])
def test_the_gradient_of_the_weights_goes_through_one_plain_step_to_the_texts_of_high_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, move: int
) -> None:
    """Beside autograd through the step itself; whichever move it is, the same texts are judged."""
    pytest.importorskip("tokenizers")
    pilot, gradients = pilot_of("bag", tmp_path), list[torch.Tensor]()
    monkeypatch.setattr(Weighing, "step", lambda self, gradient, rate: gradients.append(gradient))
    pilot.context.streams.begin(move)
    logits = torch.randn(40, generator=torch.Generator().manual_seed(1)).requires_grad_()
    weighing = Weighing()
    weighing["logits"] = logits.detach().clone()
    loss = weighing.round(pilot, Reweigh(rounds=1, judged=30, batch=4), 0.02)

    drawn = torch.randperm(40, generator=torch.Generator().manual_seed(3))[:30].tolist()
    low = logits.argsort()[:4].tolist()
    chosen = torch.tensor([place for place in drawn if place not in low])
    assert len(chosen) < 30
    shares = pilot.logits(chosen).softmax(1)
    outer = 4 * (1 - shares[torch.arange(len(chosen)), pilot.labels[chosen]]).mean()
    assert loss == pytest.approx(float(outer.detach()), rel=1e-5)
    theta = logits.sigmoid()
    inner = (theta * pilot.losses(torch.arange(40))).sum()
    steps = torch.autograd.grad(inner, pilot.parameters, create_graph=True)
    stepped = [weight - step for weight, step in zip(pilot.parameters, steps)]
    exact = torch.autograd.grad(stepped, logits, torch.autograd.grad(outer, pilot.parameters))[0]
    assert float(torch.cosine_similarity(gradients[0], exact, dim=0)) > 0.99
    assert float(gradients[0].norm() / exact.norm()) == pytest.approx(1, rel=0.1)


def test_steps_are_adams_and_later_texts_count_as_the_mean() -> None:
    weighing, logits = Weighing(), torch.zeros(4, requires_grad=True)
    assert weighing.weights(3).tolist() == [1, 1, 1]
    weighing.values |= {"logits": torch.zeros(4), "mean": torch.zeros(4), "square": torch.zeros(4)}
    adam = torch.optim.Adam([logits], lr=0.1)
    for _ in range(5):
        logits.grad = torch.tensor([1.0, -0.5, 0.0, 0.2])
        weighing.step(logits.grad.clone(), 0.1)
        adam.step()
    assert torch.allclose(weighing["logits"], logits.detach(), atol=1e-6)
    weights = weighing.weights(6)
    assert torch.allclose(weights[4:], weights[:4].mean().expand(2))
    renewed = weighing.weights(4, added=5)  # the fifth text lies in the place of the first
    assert torch.allclose(renewed[1:], weights[1:4])
    assert float(renewed[0]) == pytest.approx(float(weights[:4].mean()))
    assert torch.allclose(weighing.weights(4, added=9), weights[:4].mean().expand(4))
