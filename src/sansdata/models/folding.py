"""A frozen network whose BatchNorm layers are part of the layers before them: it gives the same answers in fewer passes
over memory, and what the statistics of a batch were before each BatchNorm can be read from what comes out of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..columns import Inputs
from .copying import private_copy
from .taps import call, first_input, logits_of

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
BEHIND = ("drop", "act")
"""Parts of timm's BatchNormAct2d, which run behind it in this order."""
FAINT = 30.0
"""Offset over slope of a channel from which its layer stays as it is: rounded to bf16, what varies would be lost."""
CLOSE = 1e-3
"""How far answers may be from those of the network itself, in its largest: both round in float32."""


class FoldedNorm(nn.Module):
    """What stands in the place of a BatchNorm that is part of the layer before it: nothing, or what was behind it."""

    side = "folded"
    """Which tap of it reads the statistics."""
    running_mean: Tensor
    running_var: Tensor
    slope: Tensor
    shift: Tensor

    def __init__(self, norm: nn.Module, slope: Tensor, shift: Tensor) -> None:
        """slope, shift (C,): the layer took x to slope * x + shift."""
        super().__init__()
        for name, value in (
            ("running_mean", norm.running_mean), ("running_var", norm.running_var), ("slope", slope), ("shift", shift)
        ):  # fmt: skip
            self.register_buffer(name, value.detach().clone())  # type: ignore[union-attr]
        self.behind = nn.Sequential(*norm.children())

    def forward(self, input: Tensor) -> Tensor:  # some call a BatchNorm by this name
        return self.behind(input)

    def unfolded(self, mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance (C,) of what came in, of those of what came out."""
        return (mean - self.shift) / self.slope, var / self.slope.square()


def folded(module: nn.Module, prepared: Inputs, read: Callable[[Any], Tensor] = logits_of) -> nn.Module | None:
    """A copy of a frozen module in eval mode whose BatchNorm layers are folded where each reads what one convolution or
    linear layer gave and nothing changes its result in place; None where there is none, or where the copy would answer
    otherwise, as where a second part reads what the layer gave.

    prepared: inputs as the module takes them, on which this is tried. read: the answer in what it returns.
    """
    copied = private_copy(module).eval().requires_grad_(False)
    for part in copied.modules():
        if getattr(part, "inplace", False) is True:
            part.inplace = False  # type: ignore[assignment]
    pairs = _pairs(copied, prepared)
    for norm, layer in pairs.items():
        _fold(copied, norm, layer)
    if not pairs:
        return None
    with torch.no_grad():
        answers, own = (read(call(one, prepared)) for one in (copied, module))
    return copied if float((answers - own).abs().max()) <= CLOSE * float(own.abs().max()) else None


def _pairs(module: nn.Module, prepared: Inputs) -> dict[str, str]:
    """Path of a BatchNorm -> path of the layer whose result it reads."""
    results: dict[int, tuple[str, Tensor]] = {}
    readers: dict[str, tuple[str, Tensor, int]] = {}
    runs: Counter[str] = Counter()

    def note(path: str, part: nn.Module):
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor], output: Tensor) -> None:
            runs[path] += 1
            source = id(first_input(inputs, named))
            if type(part) in LAYERS:
                results[id(output)] = path, output
            elif source in results:
                readers[path] = results[source][0], output, output._version

        return hook

    handles = [
        part.register_forward_hook(note(path, part), with_kwargs=True)
        for path, part in module.named_modules()
        if type(part) in LAYERS or (_is_norm(part) and part.running_mean is not None)
    ]
    try:
        with torch.no_grad():
            call(module, prepared)
    finally:
        for handle in handles:
            handle.remove()
    layers = Counter(layer for layer, _, _ in readers.values())
    return {
        norm: layer for norm, (layer, output, version) in readers.items()
        if runs[norm] == runs[layer] == layers[layer] == 1 and output._version == version
        and not parametrize.is_parametrized(module.get_submodule(layer)) and _clear(module.get_submodule(norm))
    }  # fmt: skip


def _is_norm(part: nn.Module) -> bool:
    """Whether it is a BatchNorm alone, or one with an activation behind it. Of other heirs nobody knows what they do;
    of one that only looks like timm's, the answers tell."""
    return type(part) in NORMS or (isinstance(part, NORMS) and tuple(dict(part.named_children())) == BEHIND)


def _slope_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """(C,) float64 each: what a BatchNorm in eval mode does to its input."""
    mean, var = norm.running_mean.double(), norm.running_var.double()  # type: ignore[union-attr,operator]
    weight, bias = norm.weight, norm.bias
    slope = (var + norm.eps).rsqrt() * (1.0 if weight is None else weight.double())  # type: ignore[operator]
    shift = (0.0 if bias is None else bias.double()) - mean * slope  # type: ignore[operator]
    return slope, shift


def _clear(norm: nn.Module) -> bool:
    """Whether what varies in each channel can be read out of the result, however that is rounded."""
    weight, bias = norm.weight, norm.bias
    if weight is None:
        return True
    offset = torch.zeros_like(weight) if bias is None else bias  # type: ignore[arg-type]
    return bool((offset.abs() < FAINT * weight.abs()).all() and (weight != 0).all())  # type: ignore[operator,union-attr]


def _fold(module: nn.Module, norm: str, layer: str) -> None:
    part, before = module.get_submodule(norm), module.get_submodule(layer)
    slope, shift = _slope_and_shift(part)
    kind, bias = before.weight.dtype, before.bias
    weight = before.weight.double() * slope.view(-1, *[1] * (before.weight.ndim - 1))  # type: ignore[union-attr,operator]
    offset = shift if bias is None else shift + bias.double() * slope  # type: ignore[operator]
    before.weight, before.bias = (nn.Parameter(v.to(kind), requires_grad=False) for v in (weight, offset))  # type: ignore[assignment,arg-type]
    owner, _, name = norm.rpartition(".")
    setattr(module.get_submodule(owner), name, FoldedNorm(part, slope.to(kind), shift.to(kind)))  # type: ignore[arg-type]
