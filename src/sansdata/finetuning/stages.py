"""Which weights are free: first those of the last layer, then those of the block before it too, or all."""

from __future__ import annotations

import torch
from torch import nn

from ..errors import StudentError
from ..kinds.index import input_kind
from ..models.modes import buffers_kept
from ..models.taps import execution_order
from ..network import Network
from ..streams import Streams
from ..tasks import Task
from .settings import FineTuneSettings


def stages(network: Network, task: Task) -> tuple[list[str], list[str]]:
    """(names of the last layer's parameters; the same and those of the last block). A block is the part of the network
    that holds the layer before the last: a residual block, or that layer alone where it lies flat.

    Raises StudentError where no layer with weights runs in a forward pass.
    """
    inputs = network.preprocessor(input_kind(task).draw(2, torch.Generator().manual_seed(0)))
    with torch.no_grad(), buffers_kept(network.module):
        order = [path for path, _ in execution_order(network.module, inputs, _has_own_weights)]
    if not order:
        raise StudentError("no layer of the student has weights of its own; there is nothing to fine-tune")
    layers = list(dict.fromkeys(order))
    head = layers[-1]
    named = dict(network.module.named_parameters())
    of_head = [name for name in named if name.startswith(f"{head}.")]
    block = _block(layers, head)
    of_block = [name for name in named if any(name.startswith(f"{path}.") for path in block)]
    return of_head, [*dict.fromkeys([*of_block, *of_head])]


def stages_of(settings: FineTuneSettings, network: Network, task: Task) -> list[tuple[str, list[str], float]]:
    """(name, the names of the parameters that are free, the rate) of each stage that the settings ask for."""
    head, block = stages(network, task)
    planned = [("head", head, settings.head_lr)]
    if settings.free == "block":
        planned.append(("block", block, settings.block_lr))
    if settings.free == "all":
        planned.append(("all", [name for name, _ in network.module.named_parameters()], settings.block_lr))
    return planned


def renew_last_layer(network: Network, task: Task, seed: int) -> None:
    """Draws the weights of the last layer anew, as its class does. Raises StudentError where that cannot be done."""
    path = stages(network, task)[0][0].rpartition(".")[0]
    layer = network.module.get_submodule(path)
    renew = getattr(layer, "reset_parameters", None)
    if not callable(renew):
        raise StudentError(f"the last layer '{path}' is a {type(layer).__name__} that cannot draw its weights anew")
    with Streams(seed).as_global("last layer"):
        renew()


def _has_own_weights(part: nn.Module) -> bool:
    return any(True for _ in part.parameters(recurse=False))


def _block(layers: list[str], head: str) -> list[str]:
    """Paths of the layers in the last block. A norm that follows a convolution belongs to it."""
    before = [path for path in layers if path != head]
    if not before:
        return []
    parent, _, _ = before[-1].rpartition(".")
    if parent and not head.startswith(f"{parent}."):
        return [path for path in before if path.startswith(f"{parent}.")]
    return before[-2:]
