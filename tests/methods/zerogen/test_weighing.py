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
from sansdata.methods.zerogen.weighing import Weighing
from sansdata.models.build import architecture_of, build
from sansdata.runtime import Runtime
from sansdata.teachers.base import Teacher


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
    task = framed_task(tmp_path)
    networks = [build(architecture_of("gru", task)) for _ in range(2)]
    assert any(isinstance(part, torch.nn.Dropout) and part.p > 0 for part in networks[1].modules())
    config = method_config("noise", "default", {"transfer": {"batch": 4}})
    teacher = Teacher.from_module(networks[0].eval(), task)
    session = Session(find_method("noise"), config, teacher, networks[1], task, Runtime(), 3, 20)
    texts = input_kind(task).draw(40, torch.Generator().manual_seed(0))
    pilot = Pilot.of(session.context, texts, torch.arange(40) % 2)
    pilot.teach(torch.arange(40), 10, 1e-2)
    way = torch.autograd.grad(pilot.losses(torch.arange(20)).mean(), pilot.parameters)
    slopes = pilot.slopes(way)
    assert torch.equal(pilot.slopes(way), slopes)
    exact = torch.autograd.grad(pilot.losses(torch.tensor([7]))[0], pilot.parameters)
    assert float(slopes[7]) == pytest.approx(float(sum((a * b).sum() for a, b in zip(exact, way))), rel=0.2)


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
