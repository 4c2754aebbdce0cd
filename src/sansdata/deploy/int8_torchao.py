"""A network that was made ready for integers, as a torch.export program: the one place that knows torchao.

Its quantizer for x86 (pt2e) puts quantize and dequantize operations around convolutions and linear layers; torch
computes them as they stand, and torch.compile with integer kernels. The ranges are those that `compress.dfq` found.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import fx

from ..compress.correct import Per
from ..compress.dfq import Ready
from ..errors import MissingLibraryError, StudentError, first_line
from ..kinds.index import input_kind
from ..tasks import Task
from .bundle import Deployable
from .export import any_batch, metadata
from .quiet import quiet

BATCH = 64


def write_pt2(ready: Ready, task: Task, path: Path, per: Per) -> None:
    """Writes the model with its preprocessing inside to `path`, which ends in .pt2. Raises MissingLibraryError,
    StudentError, OSError."""
    convert, quantizer = _pt2e(per)
    images = input_kind(task).draw(BATCH, torch.Generator().manual_seed(0))
    prepared_images = input_kind(task).preprocessor(task.own_preprocessing)(images)
    shapes = any_batch(task)
    try:
        with quiet(), torch.no_grad():
            # the network alone: within its preprocessing the quantizer finds no layers
            traced = torch.export.export(ready.module, (prepared_images,), dynamic_shapes=shapes[0]).module()
            ranges = _by_place(ready, traced)
            watched = convert.prepare_pt2e(traced, quantizer)
            watched(prepared_images)  # observers of what has no range of ours must have seen something
            _tell(watched, ranges)
            done = convert.convert_pt2e(watched)
            done.graph.eliminate_dead_code()  # the weights in float, which nothing reads any more
            model = Deployable(fx.GraphModule(done, done.graph), task)
            program = torch.export.export(model, (images,), dynamic_shapes=shapes)
            torch.export.save(program, path, extra_files={"task.json": json.dumps(metadata(task))})
    except OSError:
        raise
    except Exception as fault:  # operators that the quantizer does not know, and many more
        raise StudentError(f"the network cannot be written with integers ({first_line(fault)})") from None


def load_pt2(path: Path) -> Any:
    """A file that `write_pt2` wrote, as a function of images in 0..1. It is our own: nobody else's is loaded so."""
    _pt2e("channel")
    with quiet():
        return torch.export.load(path).module()


def _by_place(ready: Ready, traced: Any) -> dict[str, tuple[float, float]]:
    """Name of a node of the traced model -> its range. Both have the same operations in the same order."""
    image = next(node for node in ready.module.graph.nodes if node.op == "placeholder")
    theirs = iter(node for node in traced.graph.nodes if node.op == "call_function")
    ranges: dict[str, tuple[float, float]] = {}
    for here in (node for node in ready.module.graph.nodes if node.op == "call_function"):
        there = next((node for node in theirs if node.target == here.target), None)
        if there is None:
            raise StudentError("the network was traced otherwise a second time, and its ranges have lost their places")
        if here.args[0] is image:
            ranges[there.args[0].name] = ready.ranges[image.name]
        if here.name in ready.ranges:
            ranges[there.name] = ready.ranges[here.name]
    return ranges


def _tell(prepared: Any, ranges: dict[str, tuple[float, float]]) -> None:
    """Gives the observers the ranges of what they watch."""
    for node in prepared.graph.nodes:
        observer: Any = prepared.get_submodule(node.target) if node.op == "call_module" else None
        if hasattr(observer, "min_val") and node.args[0].name in ranges:
            low, high = ranges[node.args[0].name]
            observer.min_val, observer.max_val = torch.tensor(min(low, 0.0)), torch.tensor(max(high, 0.0))


def _pt2e(per: Per) -> tuple[Any, Any]:
    """(module of prepare and convert, quantizer)."""
    try:
        with quiet():
            convert = import_module("torchao.quantization.pt2e.quantize_pt2e")
            x86 = import_module("torchao.quantization.pt2e.quantizer.x86_inductor_quantizer")
            pt2e = import_module("torchao.quantization.pt2e")
            specs = import_module("torchao.quantization.pt2e.quantizer")
    except ImportError as fault:
        raise MissingLibraryError(f"INT8 for torch needs torchao ({fault}): pip install torchao") from None
    config = x86.get_default_x86_inductor_quantization_config()
    # the default observers widen scales below 2^-12, which folded and evened weights have
    scheme, observer = {
        "tensor": (torch.per_tensor_symmetric, pt2e.MinMaxObserver),
        "channel": (torch.per_channel_symmetric, pt2e.PerChannelMinMaxObserver),
    }[per]
    weight = specs.QuantizationSpec(
        dtype=torch.int8, quant_min=-127, quant_max=127, qscheme=scheme, ch_axis=0 if per == "channel" else None,
        observer_or_fake_quant_ctr=observer.with_args(eps=2**-40),
    )  # fmt: skip
    values = specs.QuantizationSpec(
        dtype=torch.uint8, quant_min=0, quant_max=255, qscheme=torch.per_tensor_affine,
        observer_or_fake_quant_ctr=pt2e.MinMaxObserver.with_args(eps=2**-40),
    )  # fmt: skip
    config = x86.QuantizationConfig(values, config.output_activation, weight, config.bias)
    return convert, x86.X86InductorQuantizer().set_global(config)
