"""What a text counts as, by its writer's scores."""

from __future__ import annotations

import math

import pytest
import torch

from sansdata.methods.zerogen.labels import balanced, best_of_each, margins, reverse_cross_entropy


def test_balanced_scores_give_every_class_the_same_share_and_keep_the_order() -> None:
    scores = torch.randn(400, 3, generator=torch.Generator().manual_seed(0)) * 3 + torch.tensor([9.0, 0.0, -2.0])
    found = balanced(scores)
    assert found.softmax(1).mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=1e-3)
    shift = found - scores
    assert torch.allclose(shift[:, 1:] - shift[:, :1], (shift[:, 1:] - shift[:, :1])[:1], atol=1e-4)


def test_margins_and_the_best_of_each_class() -> None:
    scores = torch.tensor([[3.0, 1.0], [0.0, 2.0], [5.0, 5.5], [1.0, 0.0]])
    labels = torch.tensor([0, 1, 0, 1])
    assert margins(scores, labels).tolist() == [2.0, 2.0, -0.5, -1.0]
    assert best_of_each(margins(scores, labels), labels, 0.5).tolist() == [0, 1]
    assert best_of_each(margins(scores, labels), labels, 1.0).tolist() == [0, 1, 2, 3]
    assert best_of_each(margins(scores, labels), labels, 0.01).tolist() == [0, 1]


def test_reverse_cross_entropy_is_its_sum_and_its_gradient_that_of_differences() -> None:
    logits = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    labels = torch.tensor([0, 2, 1, 1])
    shares = logits.detach().softmax(1)
    expected = [
        -sum(float(share) * (0.0 if place == label else -4.0) for place, share in enumerate(row))
        for row, label in zip(shares, labels.tolist())
    ]
    assert reverse_cross_entropy(logits, labels).tolist() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda one: reverse_cross_entropy(one, labels), logits)
    assert float(reverse_cross_entropy(torch.tensor([[-50.0, 50.0]]), torch.tensor([0]))) == pytest.approx(4.0)
    assert not math.isinf(float(reverse_cross_entropy(torch.tensor([[-500.0, 500.0]]), torch.tensor([0]))))
