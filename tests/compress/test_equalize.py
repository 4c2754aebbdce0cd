"""Folding, equalization and absorption leave the function as it is and even out what a grid must hold."""

from __future__ import annotations

import pytest
import torch
from separable import images, separable
from torch import Tensor, nn

from sansdata.compress.equalize import absorb, equalize, input_ranges, on_constant, output_ranges, pairs, scale_inputs
from sansdata.compress.fold import Normal, fold_batch_norms
from sansdata.compress.graph import NetworkGraph
from sansdata.errors import StudentError


def test_the_function_stays_and_the_ranges_of_every_pair_are_even() -> None:
    module, inputs = separable(), images()
    graph = NetworkGraph(module, (1, 8, 8))
    expected = module(inputs)
    known = fold_batch_norms(graph)
    assert not [node for node in graph.nodes if "batch_norm" in node.name]
    torch.testing.assert_close(graph.module(inputs), expected, rtol=1e-4, atol=1e-5)
    chain = equalize(graph, known)
    assert len(chain) == 4
    torch.testing.assert_close(graph.module(inputs), expected, rtol=1e-4, atol=1e-5)
    for pair in chain:
        made = output_ranges(graph.weight(pair.first))
        read = input_ranges(graph.weight(pair.second), pair.second.groups)
        torch.testing.assert_close(made, read, rtol=1e-4, atol=1e-6)


def test_the_statistics_follow_the_scale() -> None:
    module, inputs = separable(), images(4096)
    graph = NetworkGraph(module, (1, 8, 8))
    known = fold_batch_norms(graph)
    before = {node: normal.mean / normal.std for node, normal in known.items()}
    equalize(graph, known)
    for node, normal in known.items():
        torch.testing.assert_close(normal.mean / normal.std, before[node])
    assert len(inputs) == 4096


def test_a_wrecked_network_is_brought_back_to_the_one_it_was() -> None:
    """exp(U(-4, 4)) on the channels of a layer and back in the next: equalization ends where it would have ended."""
    whole, wrecked = separable(), separable()
    scale = torch.exp(8 * torch.rand(8) - 4)
    with torch.no_grad():
        wrecked[1].weight *= scale
        wrecked[1].bias *= scale
        wrecked[3].weight.copy_(scale_inputs(wrecked[3].weight, 1 / scale, 8))
    weights = []
    for module in (whole, wrecked):
        graph = NetworkGraph(module, (1, 8, 8))
        equalize(graph, fold_batch_norms(graph))
        weights.append([graph.weight(layer) for layer in graph.layers])
    for one, other in zip(*weights):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_a_dead_channel_stays_and_relu6_between_layers_becomes_relu() -> None:
    module = separable(nn.ReLU6)
    with torch.no_grad():
        module[3].weight[2] = 0
    graph = NetworkGraph(module, (1, 8, 8))
    known = fold_batch_norms(graph)
    equalize(graph, known)
    assert all(torch.isfinite(graph.weight(layer)).all() for layer in graph.layers)
    assert [node.name for node in graph.nodes if "hardtanh" in str(node.target)] == []
    assert equalize(NetworkGraph(separable(nn.ReLU6), (1, 8, 8)), {}, through_cuts=False) == []


def test_a_network_that_takes_its_inputs_as_a_tuple_is_traced_too() -> None:
    class Tuple(nn.Sequential):
        def forward(self, *inputs: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(inputs[0])

    graph = NetworkGraph(Tuple(*separable()), (1, 8, 8))
    torch.testing.assert_close(graph.module(images()), separable()(images()), rtol=1e-4, atol=1e-5)


def test_a_branch_ends_a_chain() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Conv2d(1 if place == 0 else 4, 4, 1) for place in range(3))

        def forward(self, x: Tensor) -> Tensor:
            x = torch.relu(self.a(x))
            return (x + self.c(torch.relu(self.b(x)))).mean((2, 3))

    chain = pairs(NetworkGraph(Residual().eval(), (1, 8, 8)))
    assert [(pair.first.path, pair.second.path) for pair in chain] == [("b", "c")]


@pytest.mark.parametrize("act", [nn.SiLU, nn.GELU, nn.Hardswish, nn.LeakyReLU])
def test_activations_that_do_not_pass_factors_on_end_a_chain(act: type[nn.Module]) -> None:
    module = separable(act)
    assert [pair.second.path for pair in pairs(_folded(module))] == []


def _folded(module: nn.Module) -> NetworkGraph:
    graph = NetworkGraph(module, (1, 8, 8))
    fold_batch_norms(graph)
    return graph


def test_a_high_bias_moves_into_the_next_layer() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.Flatten()).eval()
    with torch.no_grad():
        module[0].bias.copy_(torch.tensor([9.0, 0.0, 5.0, -3.0]))
        module[0].weight.mul_(0.1)
    graph = NetworkGraph(module, (1, 8, 8))
    known = {graph.layers[0].node: Normal(torch.tensor([9.0, 0.0, 5.0, -3.0]), torch.full((4,), 0.1))}
    expected = module(images())
    assert absorb(graph, pairs(graph), known) == 2
    torch.testing.assert_close(graph.module(images()), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(known[graph.layers[0].node].mean, torch.tensor([0.3, 0.0, 0.3, -3.0]), atol=1e-5, rtol=0)
    assert float(graph.bias(graph.layers[0]).max()) < 1


def test_sums_over_places_are_those_of_a_constant_map() -> None:
    layer = nn.Conv2d(6, 4, 3, groups=2, bias=False)
    value = torch.randn(6)
    expected = layer(value.view(1, 6, 1, 1).expand(1, 6, 3, 3)).flatten()
    torch.testing.assert_close(on_constant(layer.weight, value, 2), expected)


def test_a_network_that_cannot_be_traced_is_one_error() -> None:
    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :2] if float(x.sum()) > 0 else x.flatten(1)[:, 2:4]

    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x.flatten(1), x.flatten(1) + 1

    with pytest.raises(StudentError, match="cannot be traced"):
        NetworkGraph(Branch(), (1, 8, 8))
    with pytest.raises(StudentError, match="returns 2 tensors"):
        NetworkGraph(Two(), (1, 8, 8))
