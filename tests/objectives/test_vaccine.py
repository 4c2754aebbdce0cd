"""The terms of shuffling vaccine against sums written out, and where their gradients must be nought."""

from __future__ import annotations

import math

import pytest
import torch

from sansdata.objectives.vaccine import divergence, outliers, suspicious, trusted, vaccine

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 3.0, 1.0], [1.0, 0.5, 0.0]], dtype=torch.float64)
SHUFFLED = torch.tensor([[1.0, 0.5, 0.0], [2.0, 0.0, 1.0], [0.5, 0.2, 0.1]], dtype=torch.float64)
"""The class of the first and the third survives."""


def row(i: int) -> float:
    p, q = ([math.exp(v) / sum(map(math.exp, x)) for v in x] for x in (LOGITS[i].tolist(), SHUFFLED[i].tolist()))
    return sum(a * math.log(a / b) for a, b in zip(p, q)) / 3


def test_what_keeps_its_class_is_suspicious() -> None:
    assert suspicious(LOGITS, SHUFFLED).tolist() == [True, False, True]


def test_the_term_is_the_mean_divergence_of_the_suspicious() -> None:
    assert divergence(LOGITS, SHUFFLED).tolist() == pytest.approx([row(0), row(1), row(2)])
    assert float(vaccine(LOGITS, SHUFFLED)) == pytest.approx(-(row(0) + row(2)) / 2)
    assert float(vaccine(LOGITS[1:2], SHUFFLED[1:2])) == 0


def test_only_suspicious_samples_get_a_gradient_and_both_networks_give_one() -> None:
    logits, shuffled = LOGITS.clone().requires_grad_(), SHUFFLED.clone().requires_grad_()
    vaccine(logits, shuffled).backward()
    for tensor in (logits, shuffled):
        assert tensor.grad is not None
        assert tensor.grad[1].abs().sum() == 0
        assert (tensor.grad[[0, 2]].abs().sum(1) > 0).all()


def test_suspicious_samples_count_against_up_to_the_cap() -> None:
    loss = torch.tensor([1.0, 2.0, 3.0, 100.0], requires_grad=True)
    distrusted = torch.tensor([False, False, True, True])
    value = trusted(loss, distrusted, weight=0.1, cap=4.0)
    assert value.item() == pytest.approx(1.5 - 0.1 * (3 + 6) / 2)
    value.backward()
    assert loss.grad is not None
    assert loss.grad.tolist() == pytest.approx([0.5, 0.5, -0.05, 0.0])


def test_weights_count_in_both_means() -> None:
    loss, distrusted = torch.tensor([1.0, 3.0, 2.0, 4.0]), torch.tensor([False, False, True, True])
    value = trusted(loss, distrusted, 0.5, 10.0, torch.tensor([1.0, 3.0, 3.0, 1.0]))
    assert value.item() == pytest.approx(10 / 4 - 0.5 * 10 / 4)


def test_a_batch_of_one_kind_only_is_no_division_by_nought() -> None:
    loss = torch.tensor([1.0, 2.0], requires_grad=True)
    assert trusted(loss, torch.tensor([False, False]), 0.1, 2.0).item() == pytest.approx(1.5)
    nothing = trusted(loss, torch.tensor([True, True]), 0.1, 2.0)
    nothing.backward()
    assert nothing.item() == 0
    assert loss.grad is not None
    assert loss.grad.abs().sum() == 0


def test_outliers_are_three_deviations_below_on_a_logarithmic_scale() -> None:
    close = 10 ** torch.linspace(-0.1, 0.1, 99)
    assert int(outliers(close).sum()) == 0
    assert outliers(torch.cat([close, torch.tensor([1e-6])])).tolist() == [False] * 99 + [True]
    assert int(outliers(torch.cat([close, torch.tensor([1e6])])).sum()) == 0
