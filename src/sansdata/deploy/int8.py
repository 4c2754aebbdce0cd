"""A network that was made ready for integers, as an ONNX file with quantize and dequantize operations (QDQ).

Weights are int8, inner values uint8, biases int32. The ranges are those that `compress.dfq` found: every inner value is
an output of the model while it is written, so its name in the file is known by construction.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from ..columns import Inputs
from ..compress.correct import Per
from ..compress.dfq import Ready
from ..errors import StudentError, first_line
from ..files import temporary_name
from ..kinds.base import OutputKind
from ..kinds.index import input_kind, output_kind
from ..tasks import Task
from .export import load_onnx, metadata, need_onnx, write_onnx
from .int8_torchao import load_pt2
from .quiet import quiet

LEAST_WIDTH = 1e-6
"""Of a range, so that a dead value has a grid."""


def write_int8(ready: Ready, task: Task, path: Path, per: Per) -> int:
    """Writes the model with its preprocessing inside to `path`; gives the opset. Raises StudentError where it cannot be
    written, MissingLibraryError without onnx, onnxscript and onnxruntime, OSError."""
    need_onnx()
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    names = [name for name in ready.ranges if not name.startswith("_")]
    draft = temporary_name(path).with_suffix(".onnx")
    try:
        opset = write_onnx(_Exposed(ready.module, names, task), task, draft, outputs=[_value(name) for name in names])
        model = _with_one_output(draft)
        ranges = {_value(name): [_range_of(*ready.ranges[name])] for name in names}
        there = {output for node in model.graph.node for output in node.output}
        examples: Any = _Examples(task)
        with quiet():
            quantize_static(
                model, str(path), examples, quant_format=QuantFormat.QDQ, per_channel=per == "channel",
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                extra_options={
                    "TensorQuantOverrides": {name: one for name, one in ranges.items() if name in there},
                    "WeightSymmetric": True,
                    # answers stay float: on a grid of 256 values the two largest logits are often one
                    "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
                },
            )  # fmt: skip
            _slim(path, task)
    except (OSError, StudentError):
        raise
    except Exception as fault:  # operators that the quantizer does not know, and many more
        raise StudentError(f"the network cannot be written with integers ({first_line(fault)})") from None
    finally:
        draft.unlink(missing_ok=True)
    return opset


def load_int8(path: Path, runtime: str) -> Callable[..., Tensor]:
    """A file of integers as a function of images in 0..1. runtime: 'onnx' or 'pt2'."""
    return load_onnx(path) if runtime == "onnx" else load_pt2(path)


def _value(name: str) -> str:
    return f"value/{name}"


def _range_of(low: float, high: float) -> dict[str, Any]:
    """Zero is on every grid."""
    low, high = min(low, 0.0), max(high, 0.0, low + LEAST_WIDTH)
    return {"rmin": np.array(low, dtype=np.float32), "rmax": np.array(high, dtype=np.float32)}


class _Exposed(nn.Module):
    """Images (B, C, H, W) in 0..1 -> the answers, then the inner values `names` of the graph."""

    def __init__(self, module: fx.GraphModule, names: list[str], task: Task) -> None:
        super().__init__()
        graph = copy.deepcopy(module.graph)
        places = {node.name: node for node in graph.nodes}
        end = next(node for node in graph.nodes if node.op == "output")
        end.args = ((end.args[0], *(places[name] for name in names)),)
        self.module = fx.GraphModule(module, graph)
        self.preprocessor = input_kind(task).preprocessor(task.own_preprocessing)
        self.outputs: OutputKind = output_kind(task)
        self.eval().requires_grad_(False)

    def forward(self, *columns: Tensor) -> tuple[Tensor, ...]:
        prepared: Inputs = self.preprocessor(columns[0])
        answer, *inner = self.module(prepared)
        return (self.outputs.read(answer), *inner)


def _with_one_output(path: Path) -> Any:
    """The model without the outputs that only told names."""
    import onnx

    model = onnx.load(str(path))
    del model.graph.output[1:]
    return onnx.shape_inference.infer_shapes(model)


def _slim(path: Path, task: Task) -> None:
    """Takes out what only tells where an operation stood in the code, and puts the task in."""
    import onnx

    model = onnx.load(str(path))
    for node in model.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    del model.graph.value_info[:]
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata(task))
    onnx.save(model, str(path))


class _Examples:
    """What onnxruntime's quantizer takes calibration data from: it needs some for values that have no range of ours,
    which are those of the preprocessing and the answers."""

    def __init__(self, task: Task) -> None:
        kind = input_kind(task)
        drawn = kind.unpack(kind.pack(kind.draw(8, torch.Generator().manual_seed(0))))
        assert isinstance(drawn, Tensor)
        self.batches: Iterator[dict[str, np.ndarray]] = iter([{next(iter(kind.signature())): drawn.numpy()}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)
