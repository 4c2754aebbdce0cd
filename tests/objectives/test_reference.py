"""Every loss against NumPy in float64, written from the papers' equations; 20 random shapes each."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sansdata.objectives import agreement, batch_stats, class_priors, features, image_priors, logits
from sansdata.objectives.features import pooled_hint
from sansdata.objectives.logits import disagreement_weights

SHAPES = 20
PRECISIONS = [(torch.float64, 1e-10), (torch.float32, 1e-5)]
precisions = pytest.mark.parametrize(("dtype", "bound"), PRECISIONS, ids=["float64", "float32"])


def shapes(seed: int):
    """(random numbers, batch, classes) for each of the random shapes."""
    for i in range(SHAPES):
        rng = np.random.default_rng([seed, i])
        yield rng, int(rng.integers(1, 17)), int(rng.integers(2, 41))


def images(seed: int):
    """(random numbers, B, C, H, W) arrays of random shapes, float32 values held in float64."""
    for i in range(SHAPES):
        rng = np.random.default_rng([seed, i])
        shape = [int(rng.integers(low, high)) for low, high in ((2, 7), (1, 6), (2, 10), (2, 10))]
        yield rng, exact(rng.normal(size=shape) + rng.normal(size=(1, shape[1], 1, 1)))


def exact(values: np.ndarray) -> np.ndarray:
    """Values that float32 holds, so that both precisions are given the same numbers."""
    return values.astype(np.float32).astype(np.float64)


def pair(rng: np.random.Generator, count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    return exact(4 * rng.normal(size=(count, classes))), exact(4 * rng.normal(size=(count, classes)))


def error(got: torch.Tensor, wanted: np.ndarray) -> float:
    """Largest difference, relative to the largest value."""
    assert got.shape == np.shape(wanted)
    scale = np.abs(wanted).max()
    return float(np.abs(got.double().numpy() - wanted).max() / (scale if scale > 0 else 1.0))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@precisions
@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_kl_is_hintons_softened_divergence(dtype, bound, temperature):
    for rng, count, classes in shapes(1):
        s, t = pair(rng, count, classes)
        p, q = softmax(t / temperature), softmax(s / temperature)
        wanted = temperature**2 * (p * np.log(p / q)).sum(1)
        got = logits.kl(torch.tensor(s, dtype=dtype), torch.tensor(t, dtype=dtype), temperature)
        # float32: a divergence is a difference of logarithms; what it loses is relative to those, times the square
        loss = bound if dtype is torch.float64 else bound * max(1.0, temperature**2 / np.abs(wanted).max())
        assert error(got, wanted) <= loss


@precisions
def test_l1_and_mse_are_means_over_classes(dtype, bound):
    for rng, count, classes in shapes(2):
        s, t = pair(rng, count, classes)
        a, b = torch.tensor(s, dtype=dtype), torch.tensor(t, dtype=dtype)
        assert error(logits.l1(a, b), np.abs(s - t).mean(1)) <= bound
        assert error(logits.mse(a, b), ((s - t) ** 2).mean(1)) <= bound


@precisions
def test_decision_adversarial_pushes_only_where_both_decide_alike(dtype, bound):
    alike = 0
    for rng, count, classes in shapes(3):
        s, t = pair(rng, count, min(classes, 4))
        p, q = softmax(t), softmax(s)
        same = s.argmax(1) == t.argmax(1)
        alike += same.sum()
        wanted = np.where(same, -(p * np.log(p / q)).sum(1), 0.0)
        got = logits.decision_adversarial(torch.tensor(s, dtype=dtype), torch.tensor(t, dtype=dtype))
        assert error(got, wanted) <= bound
    assert alike > 10  # the indicator was not zero throughout


@precisions
def test_cross_entropy_and_entropy(dtype, bound):
    for rng, count, classes in shapes(4):
        s, _ = pair(rng, count, classes)
        labels = rng.integers(classes, size=count)
        p = softmax(s)
        wanted = -np.log(p[np.arange(count), labels])
        assert error(logits.cross_entropy(torch.tensor(s, dtype=dtype), torch.tensor(labels)), wanted) <= bound
        held = torch.tensor(p, dtype=dtype)
        assert error(logits.entropy(held), -(p * np.log(p)).sum(1)) <= bound


def test_entropy_takes_nought_times_log_nought_as_nought():
    assert logits.entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5]])).tolist() == pytest.approx([0.0, np.log(2)])


@precisions
def test_dafl_priors(dtype, bound):
    """One-hot: CE with the own argmax. Entropy: sum of p log10 p of the batch mean. Activation: -mean |f|."""
    for rng, count, classes in shapes(5):
        s, f = pair(rng, count, classes)
        x = torch.tensor(s, dtype=dtype)
        p = softmax(s)
        assert error(class_priors.one_hot(x), -np.log(p.max(1))) <= bound
        mean = p.mean(0)
        assert error(class_priors.information_entropy(x), (mean * np.log10(mean)).sum()) <= bound
        assert error(class_priors.activation(torch.tensor(f, dtype=dtype)), -np.abs(f).mean(1)) <= bound


@precisions
def test_total_variation_sums_four_norms_over_the_whole_batch(dtype, bound):
    for _, x in images(6):
        height, width = x.shape[2:]
        squares = np.zeros(4)
        for dy, dx, place in ((0, 1, 0), (1, 0, 1), (1, 1, 2), (1, -1, 3)):
            for y in range(height - dy):
                for column in range(max(0, -dx), width - max(0, dx)):
                    squares[place] += ((x[:, :, y + dy, column + dx] - x[:, :, y, column]) ** 2).sum()
        assert error(image_priors.total_variation(torch.tensor(x, dtype=dtype)), np.sqrt(squares).sum()) <= bound
        assert error(image_priors.l2(torch.tensor(x, dtype=dtype)), np.sqrt((x**2).sum())) <= bound


@precisions
def test_batch_statistics_distance_is_of_unsquared_norms(dtype, bound):
    """DeepInversion, eq. 4: ||mu - mu_hat||_2 + ||var - var_hat||_2 per layer, the batch's variance biased."""
    for rng, x in images(7):
        running_mean, running_var = exact(rng.normal(size=x.shape[1])), exact(rng.uniform(0.5, 2, size=x.shape[1]))
        mean = x.mean((0, 2, 3))
        var = ((x - mean.reshape(1, -1, 1, 1)) ** 2).mean((0, 2, 3))
        wanted = np.sqrt(((mean - running_mean) ** 2).sum()) + np.sqrt(((var - running_var) ** 2).sum())
        seen = batch_stats.channel_statistics(torch.tensor(x, dtype=dtype))
        assert error(seen[0], mean) <= bound
        assert error(seen[1], var) <= bound
        held = [torch.tensor(v, dtype=dtype) for v in (running_mean, running_var)]
        assert error(batch_stats.statistics_distance(*seen, *held), wanted) <= bound


def test_feature_losses():
    """Computed in float32 whatever comes, so that bf16 features are not squared in bf16."""
    for rng, x in images(8):
        y = exact(rng.normal(size=x.shape))
        wanted = ((x - y) ** 2).reshape(len(x), -1).mean(1)
        a, b = torch.tensor(x), torch.tensor(y)
        assert error(features.hint(a, b), wanted) <= 1e-5

        def attention(f: np.ndarray) -> np.ndarray:
            q = (f**2).mean(1).reshape(len(f), -1)
            return q / np.sqrt((q**2).sum(1, keepdims=True))

        wanted = ((attention(x) - attention(y)) ** 2).mean(1)
        assert error(features.attention_transfer(a, b), wanted) <= 1e-4  # a difference of maps near one another


def test_attention_maps_of_other_size_are_pooled_to_the_smaller():
    rng = np.random.default_rng(9)
    small, large = rng.normal(size=(3, 5, 4, 4)), rng.normal(size=(3, 2, 8, 8))
    pooled = large.reshape(3, 2, 4, 2, 4, 2).mean((3, 5))
    wanted = features.attention_transfer(torch.tensor(small), torch.tensor(pooled))
    assert torch.allclose(features.attention_transfer(torch.tensor(small), torch.tensor(large)), wanted)
    assert torch.allclose(features.attention_transfer(torch.tensor(large), torch.tensor(small)), wanted)


def test_agreement_figures():
    for rng, count, classes in shapes(10):
        s, t = pair(rng, count, classes)
        same = s.argmax(1) == t.argmax(1)
        a, b = torch.tensor(s), torch.tensor(t)
        assert agreement.agreement(a, b) == pytest.approx(same.mean(), abs=1e-6)
        per_class = [same[t.argmax(1) == c].mean() for c in set(t.argmax(1))]
        assert agreement.balanced_agreement(a, b) == pytest.approx(np.mean(per_class), abs=1e-6)
        shares = np.bincount(t.argmax(1), minlength=classes) / count
        assert error(agreement.class_histogram(b), shares) <= 1e-6
        some = shares[shares > 0]
        assert agreement.class_entropy(b) == pytest.approx(-(some * np.log(some)).sum() / np.log(classes), abs=1e-6)
        assert agreement.confidence(b) == pytest.approx(softmax(t).max(1).mean(), abs=1e-6)


def test_a_collapsed_batch_looks_perfect_to_agreement_and_not_to_balanced_agreement():
    teacher = torch.eye(4)[[0] * 97 + [1, 2, 3]]
    student = torch.eye(4)[[0] * 100]
    assert agreement.agreement(student, teacher) == pytest.approx(0.97)
    assert agreement.balanced_agreement(student, teacher) == pytest.approx(0.25)


def test_saturation_and_pairwise_distance():
    flat = torch.full((2, 1, 2, 2), 0.5)
    flat[0, 0, 0] = torch.tensor([0.0, 1.0])
    assert agreement.saturation(flat) == pytest.approx(2 / 8)
    assert agreement.pairwise_distance(flat) == pytest.approx(np.sqrt(0.5 / 4), abs=1e-6)
    assert agreement.pairwise_distance(torch.ones(5, 1, 2, 2)) == 0


# -- KD3


def test_weights_are_the_sigmoid_of_the_distance() -> None:
    a, b = torch.tensor([[3.0, 0.0], [1.0, 1.0]], requires_grad=True), torch.tensor([[0.0, 4.0], [1.0, 1.0]])
    found = disagreement_weights(a, b)
    assert found.tolist() == pytest.approx([1 / (1 + math.exp(-5)), 0.5])
    assert not found.requires_grad


def test_the_larger_map_is_averaged_to_the_smaller() -> None:
    small, large = torch.rand(2, 3, 2, 2), torch.rand(2, 3, 4, 4)
    means = large.unflatten(3, (2, 2)).unflatten(2, (2, 2)).mean((3, 5))
    expected = (small - means).square().mean((1, 2, 3))
    assert torch.allclose(pooled_hint(small, large), expected, atol=1e-6)
    assert torch.allclose(pooled_hint(large, small), expected, atol=1e-6)
