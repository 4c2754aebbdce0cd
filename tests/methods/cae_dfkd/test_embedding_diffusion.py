"""Noise sources of unit variance, embeddings on one scale, and what the diffusion does with both."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sansdata.methods.cae_dfkd.embedding_diffusion import EmbeddingDiffusion, Source, standardised, unit_noise

SOURCES: tuple[Source, ...] = ("normal", "uniform", "laplace", "rademacher")
FOURTH_MOMENT = {"normal": 3.0, "uniform": 1.8, "laplace": 6.0, "rademacher": 1.0}
"""Of each distribution at variance 1: tells them apart."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_has_mean_0_variance_1_and_its_own_shape(source: Source) -> None:
    noise = unit_noise((source,), torch.zeros(400, dtype=torch.int64), 500, generator()).double()
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.var().item() == pytest.approx(1, abs=0.02)
    assert noise.pow(4).mean().item() == pytest.approx(FOURTH_MOMENT[source], rel=0.05)
    assert bool(noise.isfinite().all())


def test_each_row_comes_from_the_source_chosen_for_it() -> None:
    noise = unit_noise(("normal", "rademacher"), torch.tensor([1, 0, 1, 0]), 50, generator())
    signs = (noise.abs() == 1).all(1).tolist()
    assert signs == [True, False, True, False]


def test_a_fixed_seed_gives_the_same_diffusion() -> None:
    chosen = torch.tensor([0, 3, 2, 1, 1])
    first, again, other = (unit_noise(SOURCES, chosen, 7, generator(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_standardised_embeddings_match_a_float64_reference() -> None:
    rows = np.random.default_rng(0).normal(3, 5, size=(6, 9)) * np.logspace(-2, 2, 9)
    expected = (rows - rows.mean(0)) / rows.std(0)
    expected /= np.sqrt((expected**2).mean())
    found = standardised(torch.from_numpy(rows))
    assert np.allclose(found.numpy(), expected, atol=1e-5)
    assert found.double().square().mean().item() == pytest.approx(1, abs=1e-5)


def test_a_dimension_in_which_all_classes_agree_says_nothing() -> None:
    rows = torch.tensor([[0.1, 2.0], [0.1, 4.0], [0.1, 9.0]])
    found = standardised(rows)
    assert found[:, 0].tolist() == [0, 0, 0]
    assert len(found.unique(dim=0)) == 3


def test_noise_is_added_at_the_magnitude_of_its_source() -> None:
    diffusion = EmbeddingDiffusion(torch.zeros(2, 4), (0.25, 2.0), latent=3, learn_magnitudes=False)
    seen: list[torch.Tensor] = []
    diffusion.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    diffusion(torch.tensor([0, 1]), torch.tensor([1, 0]), torch.ones(2, 4))
    assert torch.equal(seen[0], torch.tensor([[2.0] * 4, [0.25] * 4]))


@pytest.mark.parametrize("learn", [True, False])
def test_magnitudes_are_learnt_only_where_asked_and_saved_always(learn: bool) -> None:
    diffusion = EmbeddingDiffusion(torch.eye(2, 4), (0.25, 2.0), latent=3, learn_magnitudes=learn)
    assert ("magnitudes" in dict(diffusion.named_parameters())) == learn
    assert torch.equal(diffusion.state_dict()["magnitudes"], torch.tensor([0.25, 2.0]))
