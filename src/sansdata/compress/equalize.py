"""Cross-layer equalization and the absorption of high biases: the same function, in weights that a coarse grid holds.

Nagel et al. 2019, sections 4.1.1 and 4.1.3. ReLU passes positive factors on, so a channel's scale can be moved from the
layer that makes it to the only layer that reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx

from .fold import Normal
from .graph import RELU, SAME, Layer, NetworkGraph, clip_of, keeps_channels

SWEEPS = 40
TOLERANCE = 1e-6
"""Largest change of a factor's logarithm at which the sweeps end."""
FACTORS = (1e-8, 1e8)
SURE = 3.0
"""Standard deviations above 0 beyond which a ReLU is taken for the identity."""


@dataclass(frozen=True)
class Pair:
    """Two layers with nothing between them but operations that pass positive factors on. cuts: the clips among them,
    ReLU6 and its like. plain: only a ReLU, so that a constant can be moved on too."""

    first: Layer
    second: Layer
    cuts: tuple[fx.Node, ...]
    plain: bool


def pairs(graph: NetworkGraph, through_cuts: bool = True) -> list[Pair]:
    """All of a network, in the order in which they run. A branch, an addition or a concatenation ends a chain, and
    unless `through_cuts` so does a ReLU6."""
    several = [pair for layer in graph.layers if (pair := _pair_from(graph, layer)) is not None]
    return [pair for pair in several if through_cuts or not pair.cuts]


def _pair_from(graph: NetworkGraph, first: Layer) -> Pair | None:
    node, cuts, rectified, plain = first.node, [], False, True
    while len(node.users) == 1:
        node = next(iter(node.users))
        clip = clip_of(node) if node.op == "call_function" else None
        if clip is not None and clip[0] == 0:
            cuts += [node] if node.target is not RELU else []
            rectified = True
        elif second := graph.layer(node):
            fits = second.inputs == first.outputs and second.node.args[0] is not first.node.args[0]
            return Pair(first, second, tuple(cuts), plain and rectified) if fits else None
        elif node.op == "call_function" and keeps_channels(graph, node):
            plain = plain and node.target in SAME
        else:
            return None
    return None


def equalize(graph: NetworkGraph, known: dict[fx.Node, Normal], through_cuts: bool = True) -> list[Pair]:
    """Evens out the ranges of all pairs, in place, and gives the pairs. `known`, the outputs' statistics, follows.

    ReLU6 between the layers of a pair becomes ReLU, since a cut at 6 has no like for scaled channels. A network that
    needs its cuts is another one then: `through_cuts` False leaves such layers alone.
    """
    chain = pairs(graph, through_cuts)
    for node in {cut for pair in chain for cut in pair.cuts}:
        node.target, node.args = RELU, node.args[:1]
    graph.module.recompile()
    for _ in range(SWEEPS):
        if max((_even_out(graph, pair, known) for pair in chain), default=0.0) < TOLERANCE:
            break
    return chain


def _even_out(graph: NetworkGraph, pair: Pair, known: dict[fx.Node, Normal]) -> float:
    """s = sqrt(r1 r2) / r2 per channel between the layers: W1 / s, b1 / s, W2 s. Gives the largest |log s|."""
    first, second = graph.weight(pair.first).double(), graph.weight(pair.second).double()
    makes, reads = output_ranges(first), input_ranges(second, pair.second.groups)
    factor = ((makes * reads).sqrt() / reads).clamp(*FACTORS)
    factor = torch.where((makes > 0) & (reads > 0), factor, torch.ones_like(factor))  # dead channels stay as they are
    graph.put(pair.first, first / _rows(factor, first), graph.bias(pair.first).double() / factor)
    graph.put(pair.second, scale_inputs(second, factor, pair.second.groups))
    if pair.first.node in known:
        normal = known[pair.first.node]
        known[pair.first.node] = Normal(normal.mean / factor, normal.std / factor)
    return float(factor.log().abs().max())


def absorb(graph: NetworkGraph, chain: list[Pair], known: dict[fx.Node, Normal]) -> int:
    """Moves max(0, mean - 3 std) of a channel from the layer before a ReLU into the one behind it, in place. Gives how
    many channels had any. Exact where the ReLU is open, and away from zero padding."""
    moved = 0
    for pair in chain:
        normal = known.get(pair.first.node)
        if normal is None or not pair.plain:
            continue
        height = (normal.mean - SURE * normal.std).clamp_min(0)
        moved += int((height > 0).sum())
        second = graph.weight(pair.second).double()
        graph.put(pair.first, bias=graph.bias(pair.first).double() - height)
        graph.put(pair.second, bias=graph.bias(pair.second).double() + on_constant(second, height, pair.second.groups))
        known[pair.first.node] = Normal(normal.mean - height, normal.std)
    return moved


# -- weights (outputs, inputs / groups, ...), by the channels of the whole layer


def output_ranges(weight: Tensor) -> Tensor:
    """(outputs,) largest magnitudes."""
    return weight.abs().flatten(1).amax(1)


def input_ranges(weight: Tensor, groups: int) -> Tensor:
    """(inputs,) largest magnitudes of what reads each input channel."""
    return _by_group(weight, groups).abs().amax((1, 3)).flatten()


def scale_inputs(weight: Tensor, factor: Tensor, groups: int) -> Tensor:
    """`weight` with what reads input channel i times factor[i]."""
    return (_by_group(weight, groups) * factor.view(groups, 1, -1, 1)).view_as(weight)


def on_constant(weight: Tensor, value: Tensor, groups: int) -> Tensor:
    """(outputs,) what a layer without bias makes of maps that are value[i] all over."""
    return (_by_group(weight, groups).sum(3) * value.view(groups, 1, -1)).sum(2).flatten()


def _by_group(weight: Tensor, groups: int) -> Tensor:
    """(groups, outputs / groups, inputs / groups, places)."""
    return weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)


def _rows(values: Tensor, weight: Tensor) -> Tensor:
    return values.view(-1, *[1] * (weight.ndim - 1))
