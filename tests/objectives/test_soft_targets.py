"""ZSKD's soft labels and DeepInversion's competition, against NumPy in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sansdata.objectives import logits


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def pairs(seed: int, scale: float = 6.0):
    for i in range(20):
        rng = np.random.default_rng([seed, i])
        shape = int(rng.integers(1, 17)), int(rng.integers(2, 41))
        yield tuple((scale * rng.normal(size=shape)).astype(np.float32).astype(np.float64) for _ in range(2))


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (p * np.log(p / q)).sum(1)


def reference_jsd(s: np.ndarray, t: np.ndarray, temperature: float) -> np.ndarray:
    p, q = softmax(s / temperature), softmax(t / temperature)
    m = np.clip((p + q) / 2, 0.01, 0.99)
    p, q = np.clip(p, 0.01, 0.99), np.clip(q, 0.01, 0.99)
    return 0.5 * kl(m, p) + 0.5 * kl(m, q)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_jsd_is_that_of_the_clamped_outputs_from_their_mean(dtype, bound, temperature):
    clamped = 0
    for s, t in pairs(1):
        got = logits.jsd(torch.tensor(s, dtype=dtype), torch.tensor(t, dtype=dtype), temperature)
        wanted = reference_jsd(s, t, temperature)
        assert got.shape == wanted.shape
        assert np.abs(got.double().numpy() - wanted).max() <= bound * max(1.0, np.abs(wanted).max())
        clamped += (softmax(t / temperature) < 0.01).sum()
    assert clamped > 100  # the clamp was not idle


def test_jsd_is_symmetric_nought_on_equal_outputs_and_feels_no_shift():
    for s, t in pairs(2):
        a, b = torch.tensor(s), torch.tensor(t)
        assert torch.allclose(logits.jsd(a, b), logits.jsd(b, a))
        assert torch.allclose(logits.jsd(a + 5, b - 3), logits.jsd(a, b))
        assert logits.jsd(a, a).abs().max() == 0


def test_the_competition_clamps_the_mean_and_not_the_samples():
    """Two certain networks that disagree have a JSD above 1; a batch with one such pair must not be cut there."""
    s, t = torch.tensor([[40.0, 0.0], [3.0, 1.0]]), torch.tensor([[0.0, 40.0], [3.0, 1.0]])
    each = reference_jsd(s.double().numpy(), t.double().numpy(), 3.0)
    assert each[0] > 1
    assert logits.jsd_adversarial(s, t).item() == pytest.approx(1 - each.mean(), abs=1e-5)
    assert logits.jsd_adversarial(s[:1], t[:1]).item() == 0
    assert logits.jsd_adversarial(s, s).item() == 1


def test_descending_the_competition_drives_the_networks_apart():
    s, t = (torch.tensor(v) for v in next(pairs(3, scale=1.0)))
    s.requires_grad_()
    before = logits.jsd(s, t).mean()
    logits.jsd_adversarial(s, t).backward()
    assert s.grad is not None
    with torch.no_grad():
        assert logits.jsd(s - s.grad / s.grad.norm(), t).mean() > before


def test_soft_cross_entropy():
    for s, t in pairs(4):
        y = softmax(t)
        for temperature in (1.0, 20.0):
            wanted = -(y * np.log(softmax(s / temperature))).sum(1)
            got = logits.soft_cross_entropy(torch.tensor(s), torch.tensor(y), temperature)
            assert np.abs(got.numpy() - wanted).max() <= 1e-10 * np.abs(wanted).max()
    labels = torch.tensor([2, 0])
    x = torch.tensor([[1.0, -2.0, 0.5], [3.0, 0.0, 1.0]])
    assert torch.allclose(
        logits.soft_cross_entropy(x, torch.nn.functional.one_hot(labels).float()), logits.cross_entropy(x, labels)
    )


def test_the_students_kl_is_zskds_soft_cross_entropy_but_for_a_constant():
    """Same gradient: tau^2 CE(softmax(T / tau), softmax(S / tau)) = kl + tau^2 H(softmax(T / tau))."""
    for s, t in pairs(5):
        student, teacher, tau = torch.tensor(s, requires_grad=True), torch.tensor(t), 20.0
        soft = (teacher / tau).softmax(1)
        ours = logits.kl(student, teacher, tau)
        theirs = tau**2 * logits.soft_cross_entropy(student, soft, tau)
        assert torch.allclose(theirs - ours, tau**2 * logits.entropy(soft))
        (one,) = torch.autograd.grad(ours.sum(), student)
        (other,) = torch.autograd.grad(theirs.sum(), student)
        assert torch.allclose(one, other, atol=1e-9)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_mixed_cross_entropy_weighs_both_labels_by_area(dtype, bound):
    for s, _ in pairs(5):
        rng = np.random.default_rng(len(s))
        first, second = (rng.integers(0, s.shape[1], len(s)) for _ in range(2))
        share, rows = rng.random(len(s)).astype(np.float32).astype(np.float64), np.arange(len(s))
        logs = s - s.max(1, keepdims=True)
        logs = logs - np.log(np.exp(logs).sum(1, keepdims=True))
        wanted = -((1 - share) * logs[rows, first] + share * logs[rows, second])
        labels = (torch.tensor(first), torch.tensor(second))
        got = logits.mixed_cross_entropy(torch.tensor(s, dtype=dtype), *labels, torch.tensor(share, dtype=dtype))
        assert np.abs(got.double().numpy() - wanted).max() <= bound * max(1.0, np.abs(wanted).max())


def test_hard_cross_entropy_is_that_of_the_named_class_and_nan_where_nothing_is_named():
    student = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    teacher = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    teacher[1, 2], teacher[3, 0] = float("nan"), float("inf")
    got = logits.hard_cross_entropy(student, teacher)
    for row in range(5):
        own = student[row].tolist()
        wanted = math.log(sum(math.exp(one) for one in own)) - own[int(np.argmax(teacher[row].numpy()))]
        assert math.isnan(got[row]) if row in (1, 3) else abs(float(got[row]) - wanted) < 1e-12
