"""Networks that no single device has room for: a share of the weights in each process (FSDP2), layers laid over several
devices (accelerate), or matrices cut through (DeepSpeed). What goes in and what comes out is as before."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from importlib import import_module
from typing import Any
from weakref import WeakSet

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import MissingLibraryError

_SHARDED: WeakSet[nn.Module] = WeakSet()


def is_sharded(module: nn.Module) -> bool:
    """Whether this process may hold a part of it only: it is neither to be moved nor to be copied."""
    return module in _SHARDED


def held(value: Tensor) -> Tensor:
    """What this process has of a parameter; an empty tensor where its numbers are elsewhere until they are needed."""
    if value.is_meta:
        return torch.empty(0)
    part: Any = getattr(value, "to_local", None)
    return value if part is None else part()


def over_processes(module: nn.Module, device: torch.device, whole: Collection[nn.Module] = ()) -> nn.Module:
    """FSDP2: each process keeps a share of every block, which is put together while the block runs. Gradients flow to
    the inputs, taps and buffers are as before; all processes must run the module equally often.

    whole: parts that each process keeps entire, such as the layer of the answers, whose weights methods read.
    """
    # Importing these takes a third as long as torch itself.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    kept = {parameter for part in whole for parameter in part.parameters()}
    for part in whole:
        part.to(device)
    for block in (*_blocks(module), module):
        if any(parameter not in kept for parameter in block.parameters()):
            fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=kept)
    module.to(device)  # buffers, which are not shared out
    _SHARDED.add(module)
    return module


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The members of the outermost lists and sequences, which is how deep networks are written."""
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.Sequential):
            yield from (part for part in child if any(True for _ in part.parameters()))
        else:
            yield from _blocks(child)


def over_devices(module: nn.Module, device: torch.device) -> nn.Module:
    """accelerate: layers on the accelerators that this process sees, what does not fit there in main memory until it is
    its turn. Without an accelerator all stays where it is. Raises MissingLibraryError."""
    library = _library("accelerate", "the weights of a teacher over several devices")
    places = library.infer_auto_device_map(module, no_split_module_classes=_inseparable(module))
    if set(places.values()) - {"cpu"} == set():
        places = {name: "cpu" for name, _ in module.named_children()} or {"": "cpu"}
    placed = library.dispatch_model(module, device_map=places, main_device=device, force_hooks=True)
    _SHARDED.add(placed)
    return placed


def _inseparable(module: nn.Module) -> list[str]:
    """Names of the classes of blocks: what adds its input to its output must lie on one device."""
    named = getattr(module, "_no_split_modules", None)
    return sorted(set(named or ()) or {type(block).__name__ for block in _blocks(module) if any(block.children())})


def by_deepspeed(module: nn.Module) -> nn.Module:
    """DeepSpeed's tensor parallelism, for networks of transformers: each process keeps a strip of every matrix. It
    answers only: what flows backwards through a strip is no gradient of the whole. Raises MissingLibraryError."""
    library = _library("deepspeed", "a teacher whose matrices are cut through")
    engine = library.init_inference(
        module, tensor_parallel={"tp_size": dist.get_world_size()}, dtype=torch.float32,
        replace_with_kernel_inject=False,
    )  # fmt: skip
    together = Together(engine.module).eval()
    _SHARDED.add(together)
    return together


class Together(nn.Module):
    """Asked in every process about rows of its own, it answers all of them in each, because each holds a strip of it.

    Rows (B, ...) by position or by name, as many in every process -> answers (B, ...), without a gradient.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    @torch.no_grad()
    def forward(self, *rows: Tensor, **columns: Tensor) -> Any:
        count = len(next(iter((*rows, *columns.values()))))
        answers = self.module(*map(_of_all, rows), **{name: _of_all(column) for name, column in columns.items()})
        answers = getattr(answers, "logits", answers)
        return answers[dist.get_rank() * count :][:count]


def _of_all(rows: Tensor) -> Tensor:
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def _library(name: str, purpose: str) -> Any:
    try:
        return import_module(name)
    except ImportError as fault:
        raise MissingLibraryError(f"{purpose}: needs {name} ({fault}): pip install {name}") from None
