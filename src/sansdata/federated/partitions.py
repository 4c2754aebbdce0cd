"""Who has which images: index lists over a labelled set, made from labels, owners and a seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConfigError
from .settings import PartitionSettings

TRIES = 200


@dataclass(frozen=True)
class Partition:
    """indices: one sorted int64 array per client, disjoint. manifest: all that is needed to repeat and to judge it."""

    indices: tuple[np.ndarray, ...]
    manifest: dict[str, Any]


def partition(
    labels: np.ndarray, clients: int, settings: PartitionSettings, seed: int, owners: np.ndarray | None = None
) -> Partition:
    """Deals out the images with these labels int64 (N,). owners: (N,) who each image is from, for scheme 'natural'.

    Drawn anew, at most 200 times, until every client has `smallest` images. Raises ConfigError where that fails, or
    where the scheme cannot be had from this set.
    """
    random = np.random.RandomState(seed)
    order = random.permutation(len(labels))[: max(1, round(settings.share * len(labels)))]
    for tried in range(1, TRIES + 1):
        parts = _deal(labels[order], clients, settings, random, None if owners is None else owners[order])
        if min(len(part) for part in parts) >= settings.smallest:
            indices = tuple(np.sort(order[part]) for part in parts)
            return Partition(indices, _manifest(labels, indices, settings, seed, tried, owners))
        if settings.scheme == "natural":
            break
    raise ConfigError(
        f"partition: {settings.scheme} with alpha {settings.alpha:g} left a client with fewer than "
        f"{settings.smallest} of {len(order):,} images in each of {tried} tries; take fewer clients, a larger alpha, "
        "or a smaller partition.smallest"
    )


def _deal(
    labels: np.ndarray, clients: int, settings: PartitionSettings, random: np.random.RandomState, owners: Any
) -> list[np.ndarray]:
    if settings.scheme == "natural":
        return _natural(owners, clients)
    if settings.scheme in ("dirichlet-class", "dirichlet-class-capped"):
        # The released limit is asked for only where a part of the set is dealt.
        capped = settings.scheme.endswith("capped") and settings.share < 1
        cap = len(labels) // clients if capped else None
        return _by_class(labels, clients, settings.alpha, random, cap)
    if settings.scheme == "dirichlet-client":
        return _by_client(labels, clients, settings.alpha, random)
    if settings.scheme == "shards":
        return _shards(labels, clients, settings.shards, random)
    sizes = np.full(clients, 1 / clients)
    if settings.scheme == "quantity":
        sizes = random.dirichlet(np.full(clients, settings.alpha))
    return _cut(random.permutation(len(labels)), sizes)


def _cut(indices: np.ndarray, shares: np.ndarray) -> list[np.ndarray]:
    """Consecutive pieces in proportion to `shares`, which sum to 1."""
    ends = np.rint(np.cumsum(shares)[:-1] * len(indices)).astype(int)
    return np.split(indices, ends)


def _by_class(
    labels: np.ndarray, clients: int, alpha: float, random: np.random.RandomState, cap: int | None
) -> list[np.ndarray]:
    """Each class is cut by its own proportions ~ Dir(alpha) over clients; a client above the mean size gets no more.
    cap: the most images of a class that are dealt out."""
    parts: list[list[np.ndarray]] = [[] for _ in range(clients)]
    held = np.zeros(clients)
    for label in np.unique(labels):
        shares = random.dirichlet(np.full(clients, alpha))
        room = np.where(held < len(labels) / clients, shares, 0.0)
        shares = room / room.sum() if room.sum() > 0 else shares
        for client, piece in enumerate(_cut(random.permutation(np.flatnonzero(labels == label))[:cap], shares)):
            parts[client].append(piece)
            held[client] += len(piece)
    return [np.concatenate(pieces) for pieces in parts]


def _by_client(labels: np.ndarray, clients: int, alpha: float, random: np.random.RandomState) -> list[np.ndarray]:
    """Each client draws a class mix ~ Dir(alpha) and takes an equal quota; a class that is used up is left out."""
    classes = np.unique(labels)
    stock = [list(random.permutation(np.flatnonzero(labels == label))) for label in classes]
    mixes = random.dirichlet(np.full(len(classes), alpha), size=clients)
    quota = len(labels) // clients
    turns = random.permutation(np.repeat(np.arange(clients), quota))  # mixed, so that none starves the others
    ends = np.cumsum(mixes, axis=1)
    parts: list[list[int]] = [[] for _ in range(clients)]
    for client, drawn in zip(turns, random.random_sample(len(turns))):
        own = ends[client]
        label = min(int(np.searchsorted(own, drawn * own[-1], side="right")), len(classes) - 1)
        parts[client].append(stock[label].pop())
        if not stock[label]:
            left = np.array([len(one) > 0 for one in stock])
            mixes = np.where(left, mixes, 0.0)
            mixes[mixes.sum(axis=1) <= 0] = left  # who wanted only what is gone takes of everything
            ends = np.cumsum(mixes, axis=1)
    return [np.array(part, dtype=np.int64) for part in parts]


def _shards(labels: np.ndarray, clients: int, shards: int, random: np.random.RandomState) -> list[np.ndarray]:
    """Sorted by label, cut into clients * shards equal pieces, `shards` of them to each client (McMahan)."""
    pieces = np.array_split(np.argsort(labels, kind="stable"), clients * shards)
    dealt = random.permutation(clients * shards).reshape(clients, shards)
    return [np.concatenate([pieces[piece] for piece in mine]) for mine in dealt]


def _natural(owners: np.ndarray | None, clients: int) -> list[np.ndarray]:
    if owners is None:
        raise ConfigError("partition.scheme=natural needs a set that says whose each image is; this one does not")
    names = np.unique(owners)
    if clients > len(names):
        raise ConfigError(f"{clients} clients were asked for and the set has {len(names)} owners")
    return [np.flatnonzero(owners == name) for name in names[:clients]]


def _manifest(
    labels: np.ndarray, indices: Sequence[np.ndarray], settings: PartitionSettings, seed: int, tried: int, owners: Any
) -> dict[str, Any]:
    classes = int(labels.max()) + 1
    names = owners if settings.scheme == "natural" else None
    return {
        "scheme": settings.scheme,
        "alpha": settings.alpha if settings.scheme.startswith(("dirichlet", "quantity")) else None,
        "shards": settings.shards if settings.scheme == "shards" else None,
        "share": settings.share,
        "seed": seed,
        "draws": tried,
        "clients": [
            ({} if names is None else {"owner": str(names[own[0]])})
            | {
                "images": len(own),
                "classes": np.bincount(labels[own], minlength=classes).tolist(),
                "indices": own.tolist(),
            }
            for own in indices
        ],
    }  # fmt: skip


def indices_like(histogram: np.ndarray, labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """At most `size` indices of a test set whose class mix is that of `histogram` (K,), sorted, no image twice.

    Fewer where the test set has too few of a class: the mix is kept, not the size.
    """
    random = np.random.RandomState(seed)
    there = np.bincount(labels, minlength=len(histogram))
    owned = (histogram > 0) & (there > 0)
    mix = np.where(owned, histogram, 0) / max(1, histogram[owned].sum())
    if not owned.any():
        return np.empty(0, dtype=np.int64)
    size = min(size, int(np.floor((there[owned] / mix[owned]).min())))
    exact = mix * size
    take = np.floor(exact).astype(int)
    take[np.argsort(-(exact - take), kind="stable")[: size - take.sum()]] += 1
    take = np.minimum(take, there)
    chosen = [random.permutation(np.flatnonzero(labels == label))[:n] for label, n in enumerate(take) if n]
    return np.sort(np.concatenate(chosen))
