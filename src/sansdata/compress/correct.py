"""Weights on a grid of integers, and biases that put back the mean which rounding took from a layer's output.

Nagel et al. 2019, section 4.2: analytic where BatchNorm tells what a layer sees, empirical on inputs otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, fx

from .equalize import on_constant
from .graph import NetworkGraph
from .signals import Signal

Per = Literal["tensor", "channel"]


def on_grid(weight: Tensor, bits: int, per: Per) -> Tensor:
    """The nearest of the symmetric grid with 2^bits - 1 values that reaches the largest magnitude: of the whole weight
    (outputs, ...), or of each output channel. It is the grid that integer runtimes use, so they round no further."""
    highest = 2 ** (bits - 1) - 1
    largest = weight.abs().amax() if per == "tensor" else weight.abs().amax(tuple(range(1, weight.ndim)), keepdim=True)
    step = (largest / highest).clamp_min(1e-30)
    return (weight / step).round().clamp(-highest, highest) * step


def round_weights(graph: NetworkGraph, bits: int, per: Per) -> dict[fx.Node, Tensor]:
    """Puts all weights on their grids, in place. Gives layer -> what rounding added to its weight, float64."""
    errors = {}
    for layer in graph.layers:
        weight = graph.weight(layer).double()
        rounded = on_grid(weight, bits, per)
        graph.put(layer, rounded)
        errors[layer.node] = rounded - weight
    return errors


def correct_by_statistics(
    graph: NetworkGraph, errors: Mapping[fx.Node, Tensor], known: Mapping[Any, Signal]
) -> set[str]:
    """b <- b - (sum of the error over places) E[x], in place, of every layer whose input's mean is known. Gives the
    paths of the others."""
    left = set()
    for layer in graph.layers:
        signal = known.get(layer.node.args[0])
        if signal is None or signal.mean is None or len(signal.mean) != layer.inputs:
            left.add(layer.path)
            continue
        shift = on_constant(errors[layer.node], signal.mean, layer.groups)
        graph.put(layer, bias=graph.bias(layer).double() - shift)
    return left


@torch.no_grad()
def correct_by_inputs(graph: NetworkGraph, reference: NetworkGraph, inputs: Tensor, paths: set[str]) -> None:
    """b <- b - (E[y_rounded] - E[y]), in place, of the layers `paths`, over inputs (N, C, H, W) as the network takes
    them. Each layer is corrected before the next one sees what it gives."""
    means = _Means(reference, paths)
    means.run(inputs)
    _Corrected(graph, paths, means.means).run(inputs)


class _Means(fx.Interpreter):
    """Notes each layer's channel means."""

    def __init__(self, graph: NetworkGraph, paths: set[str]) -> None:
        super().__init__(graph.module)
        self.layers = {layer.node: layer for layer in graph.layers if layer.path in paths}
        self.means: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self.layers:
            self.means[self.layers[n].path] = channel_means(value)
        return value


class _Corrected(fx.Interpreter):
    """Corrects each layer when its output is there, and goes on with the corrected one."""

    def __init__(self, graph: NetworkGraph, paths: set[str], means: Mapping[str, Tensor]) -> None:
        super().__init__(graph.module)
        self.graph_of, self.means = graph, means
        self.layers = {layer.node: layer for layer in graph.layers if layer.path in paths}
        self.shifts: dict[Any, Tensor] = {}

    def run(self, *args: Any, **kwargs: Any) -> Any:
        value = super().run(*args, **kwargs)
        for layer in self.layers.values():  # a bias that is made meanwhile would be a node that did not run
            self.graph_of.put(layer, bias=self.graph_of.bias(layer).double() + self.shifts[layer.node].double())
        return value

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n not in self.layers:
            return value
        self.shifts[n] = self.means[self.layers[n].path] - channel_means(value)
        return value + (self.shifts[n].view(-1, 1, 1) if value.ndim == 4 else self.shifts[n])


def channel_means(output: Tensor) -> Tensor:
    """(C,) means of a layer's output over inputs and places."""
    return output.mean((0, 2, 3)) if output.ndim == 4 else output.flatten(0, -2).mean(0)
