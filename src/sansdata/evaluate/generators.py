"""How good samples of a generator are, without labels: distances between two sets of feature vectors, (N, D) and (M, D)
float64, of which the first are real. Of what network the features are is for the caller to say."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import columns
from ..figures import Drawing, Figure, Finding
from ..network import Network

NEIGHBOURS = 5
"""Of the balls around each vector (Naeem et al. 2020, arXiv 2002.09797)."""
MOST = 10_000
"""Vectors of each set between which distances are taken."""


def frechet(real: Tensor, made: Tensor) -> float:
    """The Frechet distance of two Gaussians with the means and covariances of both sets (Heusel et al. 2017), at least
    0; nan where a vector is."""
    means = real.mean(0) - made.mean(0)
    one, other = torch.cov(real.T), torch.cov(made.T)
    values = torch.linalg.eigvals(one @ other).real.clamp_min(0)
    distance = means.square().sum() + one.trace() + other.trace() - 2 * values.sqrt().sum()
    return float(distance.clamp_min(0))


def kernel_distance(real: Tensor, made: Tensor) -> float:
    """The squared maximum mean discrepancy under (x.y / D + 1)^3, without bias: it may fall below 0 (Binkowski et al.
    2018)."""

    def kernel(one: Tensor, other: Tensor) -> Tensor:
        return (one @ other.T / one.shape[1] + 1) ** 3

    count, many = len(real), len(made)
    within, among = kernel(real, real), kernel(made, made)
    own = (within.sum() - within.trace()) / (count * (count - 1)) + (among.sum() - among.trace()) / (many * (many - 1))
    return float(own - 2 * kernel(real, made).mean())


def neighbourhoods(real: Tensor, made: Tensor, neighbours: int = NEIGHBOURS) -> dict[str, float]:
    """'precision' and 'recall' (Kynkaanniemi et al. 2019), 'density' and 'coverage' (Naeem et al. 2020), by balls that
    reach to the `neighbours`-th other vector of the same set."""
    real, made = (columns.some(one, MOST) for one in (real, made))
    across = torch.cdist(real, made)
    reach, theirs = (_reach(one, neighbours) for one in (real, made))
    inside = across <= reach[:, None]
    return {
        "precision": float(inside.any(0).double().mean()),
        "recall": float((across <= theirs[None]).any(1).double().mean()),
        "density": float(inside.double().sum(0).mean()) / neighbours,
        "coverage": float((across.amin(1) <= reach).double().mean()),
    }


def _reach(vectors: Tensor, neighbours: int) -> Tensor:
    """(N,) the distance of each to its `neighbours`-th nearest other."""
    return torch.cdist(vectors, vectors).kthvalue(neighbours + 1, dim=1).values


def class_shares(answers: Tensor) -> Tensor:
    """(K,) how often a judge names each class, 0..1, of its logits (N, K)."""
    return torch.bincount(answers.argmax(1), minlength=answers.shape[1]).double() / len(answers)


@torch.no_grad()
def features(network: Network, head: str, images: Tensor, batch: int = 1000) -> tuple[Tensor, Tensor]:
    """(what enters the judge's layer `head` (N, D), its logits (N, K)) of images (N, C, H, W) in unit space."""
    tap = f"{head}:input"
    outputs = [network(part, [tap]) for part in images.split(batch)]
    return torch.cat([one.taps[tap].flatten(1) for one in outputs]), torch.cat([one.logits for one in outputs])


def measured(
    real: Tensor, made: Tensor, answers: Tensor, judge: str, true_shares: Tensor, names: tuple[str, ...] = ()
) -> list[Finding]:
    """Every figure of samples whose features are `made` and whose logits, of the same judge, are `answers`. judge: what
    network that is; it stands in every meaning, since figures of two judges cannot be compared. true_shares: (K,) how
    often it names each class of the real ones."""
    real, made, by = real.double(), made.double(), f"in features of {judge}"
    near, shares = neighbourhoods(real, made), class_shares(answers)
    return [
        Figure("frechet_distance", frechet(real, made), "number", f"to real samples, {by}", "lower"),
        Figure("kernel_distance", kernel_distance(real, made), "number", f"squared, to real samples, {by}", "lower"),
        Figure("precision", near["precision"], "share", f"samples near a real one, {by}", "higher"),
        Figure("recall", near["recall"], "share", f"real samples near one that was made, {by}", "higher"),
        Figure("density", near["density"], "number", f"as precision, by how many real ones are near, {by}", "higher"),
        Figure("coverage", near["coverage"], "share", f"real samples whose surroundings have one that was made, {by}",
               "higher"),
        Figure("least_class", float(shares.min()), "share", f"samples that {judge} takes for the rarest class",
               "higher"),
        Figure("class_distance", float((shares - true_shares).abs().sum()) / 2, "share",
               f"samples that would have to be of another class for {judge} to name all as often as of the real ones",
               "lower"),
        Drawing("class_shares", "bars", shares.tolist(), f"samples that {judge} takes for each class", names),
    ]  # fmt: skip
