"""ZSKD's soft labels: similarity, concentrations, and what their draws are like."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sansdata.methods.zskd.soft_labels import FLOOR, class_similarity, concentrations, dirichlet_targets
from sansdata.objectives.logits import entropy


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def similarity() -> torch.Tensor:
    return class_similarity(torch.randn(10, 16, generator=seeded(3)))


def test_similarity_is_the_cosine_between_rows():
    weight = np.random.default_rng(0).normal(size=(5, 7))
    wanted = np.array([[a @ b / np.sqrt((a @ a) * (b @ b)) for b in weight] for a in weight])
    assert np.allclose(class_similarity(torch.tensor(weight, dtype=torch.float32)).numpy(), wanted, atol=1e-6)


def test_concentrations_stretch_each_row_by_its_own_ends(similarity: torch.Tensor):
    stretched = concentrations(similarity)
    for row, wanted in zip(stretched.numpy(), similarity.numpy()):
        assert np.allclose(row, (wanted - wanted.min()) / (wanted.max() - wanted.min()))
    assert torch.equal(stretched.argmax(1), torch.arange(10))
    assert torch.allclose(stretched.diagonal(), torch.ones(10, dtype=torch.float64))


def test_a_similarity_times_a_number_gives_the_same_concentrations(similarity: torch.Tensor):
    """Why beta must multiply after the stretching: before it, it has no effect."""
    assert torch.allclose(concentrations(0.1 * similarity), concentrations(similarity))


def test_classes_without_weights_or_differences_are_no_fault():
    weight = torch.randn(4, 6, generator=seeded())
    weight[1] = 0
    for some in (weight, torch.ones(4, 6)):
        targets = dirichlet_targets(torch.arange(4), class_similarity(some), (1.0, 0.1), seeded())
        assert torch.isfinite(targets).all()
        assert torch.allclose(targets.sum(1), torch.ones(4))


@pytest.mark.parametrize("betas", [(1.0,), (0.1,), (1e-3,), (1.0, 0.1)])
def test_targets_are_probabilities_even_for_tiny_concentrations(similarity: torch.Tensor, betas: tuple[float, ...]):
    targets = dirichlet_targets(torch.arange(10).repeat(300), similarity, betas, seeded())
    assert targets.dtype == torch.float32
    assert torch.isfinite(targets).all()
    assert targets.min() >= 0
    assert torch.allclose(targets.sum(1), torch.ones(3000))


def test_the_mean_of_the_draws_is_that_of_the_dirichlet_distribution(similarity: torch.Tensor):
    alpha = concentrations(similarity)[4] + FLOOR
    targets = dirichlet_targets(torch.full((20_000,), 4), similarity, (1.0,), seeded())
    assert np.abs(targets.double().mean(0).numpy() - (alpha / alpha.sum()).numpy()).max() < 0.01


def test_a_small_beta_gives_peaked_targets(similarity: torch.Tensor):
    labels = torch.arange(10).repeat(100)
    flat, peaked = (entropy(dirichlet_targets(labels, similarity, (b,), seeded())).mean() for b in (1.0, 0.1))
    assert peaked < 0.5 * flat


def test_each_beta_has_its_share_of_a_batch(similarity: torch.Tensor):
    labels = torch.zeros(2000, dtype=torch.int64)
    both = entropy(dirichlet_targets(labels, similarity, (1.0, 0.1), seeded()))
    assert both[1::2].mean() < 0.5 * both[0::2].mean()


def test_draws_follow_their_generator_and_leave_numpys_alone(similarity: torch.Tensor):
    labels, before = torch.arange(10), np.random.get_state()[1].tobytes()
    one, again, other = (dirichlet_targets(labels, similarity, (1.0,), seeded(s)) for s in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert np.random.get_state()[1].tobytes() == before
