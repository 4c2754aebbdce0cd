"""Every image at one client at most, by the named scheme, the same for the same seed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sansdata.errors import ConfigError
from sansdata.federated.partitions import indices_like, partition
from sansdata.federated.settings import PartitionSettings

LABELS = np.random.RandomState(0).randint(0, 10, 4000).astype(np.int64)
SCHEMES = ("dirichlet-class", "dirichlet-class-capped", "dirichlet-client", "shards", "quantity", "iid")


def deal(scheme: str, seed: int = 0, clients: int = 8, **more):
    return partition(LABELS, clients, PartitionSettings(scheme=scheme, **({"alpha": 0.5} | more)), seed)


def histograms(dealt) -> np.ndarray:
    return np.array([one["classes"] for one in dealt.manifest["clients"]])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_disjoint_and_repeatable(scheme):
    dealt = deal(scheme)
    together = np.concatenate(dealt.indices)
    assert len(together) == len(np.unique(together))
    assert together.min() >= 0
    assert together.max() < len(LABELS)
    assert min(map(len, dealt.indices)) >= 10
    again, other = deal(scheme), deal(scheme, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(dealt.indices, again.indices))
    assert any(not np.array_equal(a, b) for a, b in zip(dealt.indices, other.indices))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_manifest_says_all_and_is_json(scheme):
    manifest = json.loads(json.dumps(deal(scheme).manifest))
    assert (manifest["scheme"], manifest["seed"]) == (scheme, 0)
    assert (manifest["alpha"] is None) == (scheme in ("shards", "iid"))
    for one in manifest["clients"]:
        assert one["classes"] == np.bincount(LABELS[one["indices"]], minlength=10).tolist()
        assert one["images"] == sum(one["classes"])


def test_every_image_is_dealt_out_but_for_a_rest():
    assert sum(map(len, deal("dirichlet-class").indices)) == len(LABELS)
    assert sum(map(len, deal("shards").indices)) == len(LABELS)
    assert sum(map(len, deal("dirichlet-client").indices)) == len(LABELS) // 8 * 8


def test_the_cap_on_a_class_is_the_mean_client():
    """20 clients, half of 4,000 images of ten classes: 100 of each class, half of what is dealt. The whole set has no
    cap (released)."""
    counts = histograms(deal("dirichlet-class-capped", clients=20, share=0.5)).sum(0)
    assert counts.tolist() == [100] * 10
    assert histograms(deal("dirichlet-class-capped", clients=20)).sum() == len(LABELS)
    assert histograms(deal("dirichlet-class", clients=20)).sum() == len(LABELS)


def test_share_of_the_set():
    assert sum(map(len, deal("iid", share=0.25).indices)) == 1000


def test_small_alpha_is_uneven():
    def unevenness(alpha: float, scheme: str) -> float:
        counts = histograms(deal(scheme, alpha=alpha, smallest=1))
        return float((counts / counts.sum(1, keepdims=True)).max(1).mean())

    for scheme in ("dirichlet-class", "dirichlet-client"):
        assert unevenness(0.1, scheme) > 0.4 > 0.2 > unevenness(1000, scheme)


def test_by_client_gives_equal_sizes_and_by_class_does_not():
    assert len({len(own) for own in deal("dirichlet-client").indices}) == 1
    assert len({len(own) for own in deal("dirichlet-class").indices}) > 4


def test_shards_bound_the_classes_of_a_client():
    counts = histograms(deal("shards", shards=2))
    assert (counts > 0).sum(1).max() <= 4  # a piece may span two classes
    assert (counts > 0).sum(1).mean() < 3.5


def test_quantity_is_uneven_in_size_only():
    counts = histograms(deal("quantity", alpha=1.0))
    sizes = counts.sum(1)
    assert sizes.max() > 2 * sizes.min()
    largest = counts[sizes.argmax()] / sizes.max()
    assert np.abs(largest - 0.1).max() < 0.05


def test_natural_gives_one_client_per_owner():
    owners = np.arange(len(LABELS)) % 5
    settings = PartitionSettings(scheme="natural")
    dealt = partition(LABELS, 4, settings, 0, owners)
    assert [set(owners[own]) for own in dealt.indices] == [{0}, {1}, {2}, {3}]
    with pytest.raises(ConfigError, match="5 owners"):
        partition(LABELS, 6, settings, 0, owners)
    with pytest.raises(ConfigError, match="whose"):
        partition(LABELS, 4, settings, 0)


def test_a_partition_that_cannot_be_had_is_an_error_with_a_way_out():
    with pytest.raises(ConfigError, match=r"fewer than 600 of 4,000.*partition\.smallest"):
        deal("dirichlet-class", smallest=600)


def test_test_images_in_a_clients_own_mix():
    labels = np.repeat(np.arange(4), 100)
    ids = indices_like(np.array([30, 0, 10, 0]), labels, 60, 0)
    assert np.bincount(labels[ids], minlength=4).tolist() == [45, 0, 15, 0]
    assert len(np.unique(ids)) == len(ids)
    scarce = indices_like(np.array([30, 0, 10, 0]), labels, 1000, 0)
    assert np.bincount(labels[scarce], minlength=4).tolist() == [100, 0, 33, 0]
    assert len(indices_like(np.array([0, 0, 0, 0, 5]), labels, 10, 0)) == 0
