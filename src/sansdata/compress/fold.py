"""BatchNorm folded into the layer before it, and what its statistics say of that layer's output.

Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction", appendix A.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx

from .graph import BATCH_NORM, NetworkGraph, argument


@dataclass(frozen=True)
class Normal:
    """A value per channel, taken for normally distributed: mean and std, both (C,)."""

    mean: Tensor
    std: Tensor


def fold_batch_norms(graph: NetworkGraph) -> dict[fx.Node, Normal]:
    """Folds every BatchNorm that follows a layer alone, in place: W gamma / s and beta + (b - mu) gamma / s, with s the
    root of var + eps. Gives what is known of outputs: N(beta, gamma^2) of a folded layer, and of a BatchNorm that
    stands by itself."""
    known: dict[fx.Node, Normal] = {}
    for node in graph.nodes:
        if node.target is not BATCH_NORM:
            continue
        scale, shift, mean, var = _parameters(graph, node)
        source = node.args[0]
        layer = graph.layer(source) if isinstance(source, fx.Node) else None
        if layer is None or len(layer.node.users) > 1:
            known[node] = Normal(shift, scale.abs())
            continue
        slope = scale / (var + argument(node, 7, 1e-5)).sqrt()
        weight, bias = graph.weight(layer).double(), graph.bias(layer).double()
        graph.put(layer, weight * slope.view(-1, *[1] * (weight.ndim - 1)), shift + (bias - mean) * slope)
        graph.remove(node)
        known[layer.node] = Normal(shift, scale.abs())
    return known


def _parameters(graph: NetworkGraph, node: fx.Node) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(gamma, beta, mu, var) float64 of a BatchNorm; gamma 1 and beta 0 where it has none."""
    held = [argument(node, place, None) for place in (1, 2, 3, 4)]
    mean, var = (graph.tensor(one).double() for one in held[2:])
    scale, shift = (
        torch.full_like(mean, default) if one is None else graph.tensor(one).double()
        for one, default in zip(held[:2], (1.0, 0.0))
    )
    return scale, shift, mean, var
