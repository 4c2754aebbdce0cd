"""A network at few bits, simulated in float: weights on a grid per output channel, inputs of layers per tensor.

Bits are a view of the weight, by a parametrization: the float weight stays below it as `.original`, and rounding passes
gradients straight through (Bengio et al. 2013), so that a network at few bits can be trained like any other.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..errors import StudentError
from ..models.copying import duplicate
from ..models.device import device_of
from ..models.taps import execution_order

FLOAT = 32
"""Bits that stand for float32: nothing is rounded."""
ENDS = 8
"""Fewest bits of the first and the last layer, as is usual below 8 bits (BRECQ, Li et al. 2021, section 4)."""
SHARES = 40
"""Ranges that are tried, as even shares of the whole range."""

Layers = (nn.Conv2d, nn.Linear)


def fake_quantize(x: Tensor, scale: Tensor, zero: Tensor, lowest: int, highest: int) -> Tensor:
    """The nearest of the grid scale * (q - zero), q = lowest .. highest, to each value of x; scale and zero broadcast.

    The gradient is 1 inside the grid and 0 outside.
    """
    places = x / scale
    places = places + (places.round() - places).detach() + zero
    return scale * (places.clamp(lowest, highest) - zero)


def weight_scale(weight: Tensor, bits: int) -> Tensor:
    """(C, 1, ...) step of the symmetric grid of 2^bits - 1 values on which each output channel of weight (C, ...) has
    the least squared error, among even shares of the channel's largest magnitude."""
    highest = 2 ** (bits - 1) - 1
    rows = weight.detach().flatten(1)
    whole = rows.abs().amax(1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny) / highest
    best, least = whole.clone(), torch.full_like(whole, torch.inf)
    for share in torch.linspace(1 / SHARES, 1, SHARES).tolist():
        scale = share * whole
        error = (fake_quantize(rows, scale, torch.zeros_like(scale), -highest, highest) - rows).square().sum(1)[:, None]
        best, least = torch.where(error <= least, scale, best), torch.minimum(error, least)
    return best.view(-1, *[1] * (weight.ndim - 1))


class WeightBits(nn.Module):
    """The view of a weight at few bits."""

    scale: Tensor

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.register_buffer("scale", weight_scale(weight, bits))

    def forward(self, weight: Tensor) -> Tensor:
        highest = 2 ** (self.bits - 1) - 1
        return fake_quantize(weight, self.scale, torch.zeros_like(self.scale), -highest, highest)


class Quantized(nn.Module):
    """A convolution or linear layer with its weight and its input at few bits.

    The input's grid (0 always on it, so that padding stays 0) and the correction of the output are set by calibration.
    """

    scale: Tensor
    zero: Tensor
    correction: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear, weights: int, inputs: int) -> None:
        """weights, inputs: bits, 2 to 8, or 32 for float. The layer is changed in place."""
        super().__init__()
        self.inputs = inputs
        outputs = layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features
        device = layer.weight.device
        self.register_buffer("scale", torch.ones((), device=device))
        self.register_buffer("zero", torch.zeros((), device=device))
        self.register_buffer("correction", torch.zeros(outputs, device=device))
        self.layer = layer
        if weights < FLOAT:
            parametrize.register_parametrization(layer, "weight", WeightBits(layer.weight, weights))

    def set_range(self, low: float, high: float) -> None:
        """The grid from about low to about high, widened to hold 0."""
        low, high = min(low, 0.0), max(high, 0.0)
        levels = 2**self.inputs - 1
        scale = max((high - low) / levels, 1e-12)
        self.scale.fill_(scale)
        self.zero.fill_(round(-low / scale))

    def on_grid(self, x: Tensor) -> Tensor:
        if self.inputs >= FLOAT:
            return x
        return fake_quantize(x, self.scale, self.zero, 0, 2**self.inputs - 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.on_grid(x)) + self.shaped(self.correction)

    def shaped(self, per_output: Tensor) -> Tensor:
        """(C,) as it is added to the layer's output."""
        return per_output.view(-1, 1, 1) if isinstance(self.layer, nn.Conv2d) else per_output


def quantize(module: nn.Module, shape: tuple[int, int, int], weights: int, inputs: int) -> nn.Module:
    """A copy of `module` whose convolutions and linear layers are at few bits; without calibration the inputs' grids
    mean nothing. shape (C, H, W) of an image. weights, inputs: bits 2 to 8, or 32 for float; the first and the last
    layer have at least 8. With both 32 it is a plain copy.

    Raises StudentError where no such layer runs, or where the network is at few bits already.
    """
    module = duplicate(module)
    if weights >= FLOAT and inputs >= FLOAT:
        return module
    if any(True for _ in quantized_parts(module)):
        raise StudentError("this network is at few bits already: quantize the one in float that it was made from")
    paths = layers_of(module, shape)
    for path in paths:
        ends = path in (paths[0], paths[-1])
        bits = [max(one, ENDS) if ends else one for one in (weights, inputs)]
        layer = module.get_submodule(path)
        assert isinstance(layer, Layers)
        parent, _, name = path.rpartition(".")
        setattr(module.get_submodule(parent), name, Quantized(layer, *bits))
    return module


def layers_of(module: nn.Module, shape: tuple[int, int, int]) -> list[str]:
    """Paths of the convolutions and linear layers, in the order in which they run. Raises StudentError for none."""
    device = device_of(module)
    training = module.training
    ran = execution_order(module.eval(), torch.zeros(2, *shape, device=device), lambda part: isinstance(part, Layers))
    module.train(training)
    paths = list(dict.fromkeys(path for path, _ in ran))
    if not paths:
        raise StudentError("no convolution or linear layer runs in this network: there is nothing to compress")
    return paths


def weight_of(module: nn.Module, path: str) -> Tensor:
    """The weight of one of `layers_of`."""
    layer = module.get_submodule(path)
    assert isinstance(layer, Layers)
    return layer.weight


def quantized_parts(module: nn.Module) -> Iterator[tuple[str, Quantized]]:
    """(path, layer) of everything at few bits."""
    return ((path, part) for path, part in module.named_modules() if isinstance(part, Quantized))
