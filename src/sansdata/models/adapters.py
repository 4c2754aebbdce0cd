"""Low-rank adapters (LoRA; Hu et al. 2021, arXiv 2106.09685) beside the convolutions and the layers of attention of a
network that is frozen: they alone learn, they are small, and they can be added into its weights.

Ours and not the library peft's: that one brings transformers and accelerate into every run, and what it puts into a
network cannot be rebuilt from a plain description. The file has its names, so that peft and diffusers read it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ..errors import StudentError

MOST_RANK = 1024
DOWN, UP = "lora_A.weight", "lora_B.weight"
"""How the library peft calls the two factors."""


class Adapted(nn.Module):
    """A layer that is frozen, and two of rank `rank` whose product is added to its answer: of a convolution one of the
    same shape and one of 1 x 1. It begins as the layer itself."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int) -> None:
        super().__init__()
        self.base = layer.requires_grad_(False)
        if isinstance(layer, nn.Linear):
            self.down: nn.Module = nn.Linear(layer.in_features, rank, bias=False)
            self.up: nn.Module = nn.Linear(rank, layer.out_features, bias=False)
        else:
            self.down = nn.Conv2d(
                layer.in_channels, rank, layer.kernel_size, layer.stride, layer.padding, layer.dilation, bias=False  # type: ignore[arg-type]
            )  # fmt: skip
            self.up = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        nn.init.zeros_(self.up.weight)
        self.rank = rank

    def forward(self, inputs: Tensor) -> Tensor:
        return self.base(inputs) + self.up(self.down(inputs))

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """The layer alone, with the product in its weights."""
        layer = copy.deepcopy(self.base)
        down, up = (part.weight.double().flatten(1) for part in (self.down, self.up))  # type: ignore[operator, union-attr]
        layer.weight += (up @ down).view_as(layer.weight).to(layer.weight)  # type: ignore[operator, union-attr]
        return layer


def adapt(module: nn.Module, rank: int) -> None:
    """In place: freezes every parameter, and puts adapters beside all convolutions of one group and all linear layers
    of attention. The first factors are drawn from torch's global generator. Raises StudentError where there is no
    such layer, or the rank is none."""
    if not 1 <= rank <= MOST_RANK:
        raise StudentError(f"adapters have a rank of 1 to {MOST_RANK:,}, got {rank!r:.40}")
    places = list(_layers(module))
    if not places:
        raise StudentError(
            f"{type(module).__name__} has neither convolutions nor attention, beside which adapters stand"
        )
    module.requires_grad_(False)
    for parent, name, layer in places:
        setattr(parent, name, Adapted(layer, rank))


def adapters_in(module: nn.Module) -> dict[str, Adapted]:
    """Path -> adapted layer."""
    return {name: part for name, part in module.named_modules() if isinstance(part, Adapted)}


def merged(module: nn.Module) -> nn.Module:
    """A copy whose adapters are in its weights: a network as it was before, on the CPU or wherever `module` is."""
    plain = copy.deepcopy(module)
    for parent in list(plain.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, Adapted):
                setattr(parent, name, part.merged())
    return plain


def adapter_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The factors alone, by the names that the library peft has for those of `network`; of one that is held under a
    name in ours, such as the library's own UNet, by those of the network itself."""
    return {name: factor.detach().cpu().contiguous() for name, factor in _factors(network).items()}


def fill_adapters(network: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """In place, from a file that anybody may have written. Raises StudentError where it is of another network or rank,
    or not finite."""
    factors = _factors(network)
    if other := sorted(factors.keys() ^ tensors.keys()):
        raise StudentError(f"{where}: is of adapters of another network ('{other[0][:80]}' is on one side alone)")
    for name, factor in factors.items():
        value = tensors[name]
        if value.shape != factor.shape or not value.is_floating_point():
            raise StudentError(
                f"{where}: '{name[:80]}' must be floats of shape {list(factor.shape)}, got {value.dtype} "
                f"{list(value.shape)}"
            )
        if not bool(torch.isfinite(value).all()):
            raise StudentError(f"{where}: '{name[:80]}' is not finite")
    with torch.no_grad():
        for name, factor in factors.items():
            factor.copy_(tensors[name])


def _factors(network: nn.Module) -> dict[str, Tensor]:
    adapters = adapters_in(getattr(network, "unet", network))
    return {
        f"{path}.{name}": layer.weight  # type: ignore[misc]
        for path, part in adapters.items()
        for name, layer in ((DOWN, part.down), (UP, part.up))
    }


def _layers(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear | nn.Conv2d]]:
    attention = [path for path, part in module.named_modules() if "attention" in type(part).__name__.lower()]
    for path, parent in module.named_modules():
        attends = any(path == one or path.startswith(f"{one}.") for one in attention)
        for name, layer in parent.named_children():
            convolves = type(layer) is nn.Conv2d and layer.groups == 1 and layer.padding_mode == "zeros"
            if convolves or (attends and type(layer) is nn.Linear):
                yield parent, name, layer  # type: ignore[misc]
