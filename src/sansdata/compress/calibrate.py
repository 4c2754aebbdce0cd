"""Post-training quantization: what a network at few bits must be told by images, without training.

The inputs' ranges have the least squared error on the images; then each layer's output is shifted to the mean that it
had in float (Nagel et al. 2019, "Data-free quantization", section 4.2, the empirical variant).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..models.modes import fixed
from .quantize import FLOAT, SHARES, Quantized, fake_quantize, quantized_parts
from .watch import inputs_of, outputs_of

CHUNK = 256
"""Images a pass, and images on which outputs are corrected."""
VALUES = 1 << 15
"""Of a layer's inputs that are looked at, a chunk."""


@torch.no_grad()
def calibrate(quantized: nn.Module, reference: nn.Module, inputs: Tensor) -> None:
    """Sets ranges and corrections of `quantized`, made by `quantize` from `reference`, in place.

    inputs (N, C, H, W): normalised images.
    """
    parts = dict(quantized_parts(quantized))
    with fixed(reference), fixed(quantized):
        for path, values in _seen(reference, parts, inputs).items():
            if parts[path].inputs < FLOAT:
                parts[path].set_range(*best_range(values, parts[path].inputs))
        _correct(quantized, reference, parts, inputs[:CHUNK])


def best_range(values: Tensor, bits: int) -> tuple[float, float]:
    """(low, high): of even shares of the whole range of `values`, 0 included, the one whose grid of 2^bits values has
    the least squared error on them."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    levels, best, least = 2**bits - 1, (low, high), torch.inf
    for share in torch.linspace(1 / SHARES, 1, SHARES).tolist():
        scale = torch.tensor(max(share * (high - low) / levels, 1e-12), dtype=values.dtype, device=values.device)
        zero = (-share * low / scale).round()
        error = float((fake_quantize(values, scale, zero, 0, levels) - values).square().mean())
        if error <= least:
            best, least = (share * low, share * high), error
    return best


def _seen(reference: nn.Module, parts: Mapping[str, Quantized], inputs: Tensor) -> dict[str, Tensor]:
    """Path -> values of a layer's input in float: the extremes, and an even selection of the others."""
    samples: dict[str, list[Tensor]] = {path: [] for path in parts}

    def look(path: str, value: Tensor) -> None:
        flat = value.detach().float().flatten()
        step = max(1, flat.numel() // VALUES) | 1  # odd: never in step with rows and channels
        samples[path] += [torch.stack(flat.aminmax()), flat[::step]]

    with inputs_of(reference, parts, look):
        for chunk in inputs.split(CHUNK):
            reference(chunk)
    return {path: torch.cat(values) for path, values in samples.items()}


def _correct(quantized: nn.Module, reference: nn.Module, parts: Mapping[str, Quantized], inputs: Tensor) -> None:
    """One pass: each layer is corrected before the next one sees what it gives. Layers that run more than once have no
    one mean and are left alone."""
    means: dict[str, list[Tensor]] = {path: [] for path in parts}
    with outputs_of(reference, parts, lambda path, y: means[path].append(_channel_means(parts[path].layer, y))):
        reference(inputs)

    def shift(path: str, output: Tensor) -> Tensor | None:
        if len(means[path]) != 1:
            return None
        part = parts[path]
        missing = means[path][0] - _channel_means(part.layer, output)
        part.correction.add_(missing)
        return output + part.shaped(missing)

    with outputs_of(quantized, parts, shift):
        quantized(inputs)


def _channel_means(layer: nn.Module, output: Tensor) -> Tensor:
    """(C,) means of a layer's output over images and places."""
    return output.mean((0, 2, 3)) if isinstance(layer, nn.Conv2d) else output.flatten(0, -2).mean(0)
