"""A trained network made ready for integers, without training: data-free quantization, and calibration by inputs.

Nagel et al. 2019. What comes out is a network in float whose weights lie on their grid, with the range of every inner
value; whichever runtime computes with integers takes both as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from .calibrate import best_range
from .correct import Per, correct_by_inputs, correct_by_statistics, round_weights
from .equalize import absorb, equalize
from .fold import fold_batch_norms
from .graph import SAME, NetworkGraph
from .signals import signals

BITS = 8
VALUES = 1 << 15
"""Of an inner value that are looked at when its range is sought."""
INPUTS = 512
"""Inputs that calibration looks at: all inner values of one pass are in memory."""


@dataclass(frozen=True)
class Ready:
    """A network for integers. module: takes what the network takes, weights on their grid. ranges: name of a node of
    its graph -> (low, high). by_inputs: paths of layers whose output's range the inputs gave, not BatchNorm. notes:
    what was done, in sentences."""

    module: fx.GraphModule
    ranges: dict[str, tuple[float, float]]
    by_inputs: tuple[str, ...]
    notes: list[str] = field(default_factory=list)


@torch.no_grad()
def make_ready(
    module: nn.Module,
    shape: tuple[int, int, int],
    inputs: Tensor,
    ends: tuple[float, float],
    per: Per = "tensor",
    *,
    by_statistics: bool,
    even_out: bool = True,
    correct: bool = True,
    bits: int = BITS,
) -> Ready:
    """Folds BatchNorm, evens out the layers and absorbs high biases (`even_out`), rounds the weights, corrects the
    biases (`correct`) and finds all ranges.

    shape (C, H, W); inputs (N, C, H, W) as the network takes them; ends: the least and the greatest value of any image
    there. by_statistics: ranges and corrections come from
    BatchNorm wherever it tells them, and from the inputs only elsewhere; else from the inputs everywhere. bits: of the
    weights. Raises StudentError for a network that cannot be traced.
    """
    graph = NetworkGraph(module, shape)
    known = fold_batch_norms(graph)
    notes = _of_norms(graph, known)
    if even_out:
        # One scale a channel holds uneven channels by itself, and ReLU6 is worth more to it than even ranges.
        chain = equalize(graph, known, through_cuts=per == "tensor")
        moved = absorb(graph, chain, known)
        cuts = len({cut for pair in chain for cut in pair.cuts})
        notes.append(
            f"{len(chain)} of {len(graph.layers)} layers evened out with the next one, {moved} high biases absorbed"
            + (f", {cuts} ReLU6 replaced by ReLU" if cuts else "")
        )
    inputs = inputs[:INPUTS]
    reference = graph.copy() if correct else graph
    by_norms = signals(graph, known) if by_statistics else {}
    spans = _ranges(graph, inputs)
    errors = round_weights(graph, bits, per)
    if correct:
        left = correct_by_statistics(graph, errors, by_norms)
        if left:
            correct_by_inputs(graph, reference, inputs, left)
            if by_statistics:
                notes.append(f"biases corrected on synthesised inputs, not by BatchNorm: {_listed(sorted(left))}")
    ranges = {node.name: by_norms[node].range if node in by_norms else spans[node.name] for node in _values(graph)}
    ranges[graph.image.name] = ends
    by_inputs = tuple(layer.path for layer in graph.layers if layer.node not in by_norms)
    return Ready(graph.module, ranges, by_inputs, notes)


def _of_norms(graph: NetworkGraph, known: dict[fx.Node, Any]) -> list[str]:
    folded = [layer.path for layer in graph.layers if layer.node in known]
    bare = [layer.path for layer in graph.layers if layer.node not in known]
    alone = len(known) - len(folded)
    notes = [f"{len(folded)} BatchNorm layers folded" + (f", {alone} that follow no layer stay" if alone else "")]
    return notes + ([f"without BatchNorm behind them: {_listed(bare)}"] if bare else [])


def _listed(paths: list[str], most: int = 6) -> str:
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return (", ".join(paths[:most]) or "none") + more


def _values(graph: NetworkGraph) -> list[fx.Node]:
    """The image and everything computed of it that is a value of its own."""
    return [graph.image, *(node for node in graph.nodes if node.target not in SAME and _is_float(node))]


def _is_float(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.is_floating_point()


def _ranges(graph: NetworkGraph, inputs: Tensor) -> dict[str, tuple[float, float]]:
    """Name of a node -> the range with the least squared error of 256 values on what the inputs make of it."""
    names = {node.name for node in _values(graph)}
    ranges: dict[str, tuple[float, float]] = {}

    class Looking(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if n.name in names and n.name not in ranges:
                flat = value.float().flatten()
                step = max(1, flat.numel() // VALUES) | 1  # odd: never in step with rows and channels
                ranges[n.name] = best_range(torch.cat([torch.stack(flat.aminmax()), flat[::step]]), BITS)
            return value

    Looking(graph.module).run(inputs)
    return ranges
