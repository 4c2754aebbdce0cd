"""Weights of texts: slopes against gradients, and wrong labels that lose theirs."""

from __future__ import annotations

import torch

from sansdata.methods.zerogen.pilot import slopes_along
from sansdata.methods.zerogen.weighing import Weighing


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
