"""A network as a graph of plain operations, which can be read and changed: what data-free quantization works on.

The graph is that of `torch.export`, so it does not matter how the network's code is written; branches of its code on
sizes are taken as an image of the task takes them.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.graph import CodeGen

from ..errors import StudentError, first_line
from ..models.copying import private_copy

aten: Any = torch.ops.aten
CONVOLUTION, LINEAR, BATCH_NORM = aten.conv2d.default, aten.linear.default, aten.batch_norm.default
RELU, ADD, CONCAT, PAD, SLICE = (
    aten.relu.default,
    aten.add.Tensor,
    aten.cat.default,
    aten.pad.default,
    aten.slice.Tensor,
)
CLIP = (aten.hardtanh.default, aten.relu6.default, aten.clamp.default)
SAME = (aten.dropout.default, aten.alias.default, aten.contiguous.default, aten.clone.default, aten.detach.default)
"""In eval mode what goes in comes out."""
POOL_MAX = (aten.max_pool2d.default, aten.adaptive_max_pool2d.default)
POOL_MEAN = (aten.avg_pool2d.default, aten.adaptive_avg_pool2d.default, aten.mean.dim)
RESHAPE = (aten.flatten.using_ints, aten.view.default, aten.reshape.default, aten.squeeze.dims)
IN_PLACE = {
    aten.relu_.default: RELU, aten.hardtanh_.default: aten.hardtanh.default, aten.add_.Tensor: ADD,
    aten.clamp_.default: aten.clamp.default, aten.dropout_.default: aten.dropout.default,
}  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer. path: its name in the network. inputs, outputs: channels."""

    node: fx.Node
    path: str
    groups: int
    inputs: int
    outputs: int


class NetworkGraph:
    """A private copy of a network of images in eval mode, as a graph. `module` computes what the network computes."""

    def __init__(self, module: nn.Module, shape: tuple[int, int, int]) -> None:
        """shape (C, H, W) of an image, as the network takes it. Raises StudentError for a network that cannot be
        traced, or that returns something other than one tensor."""
        batch = torch.export.Dim("batch", min=1, max=65_536)
        try:
            frozen = private_copy(module, StudentError).cpu().eval().requires_grad_(False)
            shapes: Any = ({0: batch},)
            if (
                next(iter(inspect.signature(frozen.forward).parameters.values())).kind
                is inspect.Parameter.VAR_POSITIONAL
            ):
                shapes = (shapes,)  # what is taken as *inputs comes as one tuple
            with warnings.catch_warnings(action="ignore"):  # torch's own, about torch's own code
                program = torch.export.export(frozen, (torch.zeros(2, *shape),), dynamic_shapes=shapes)
        except StudentError:
            raise
        except Exception as fault:  # tracing runs the module's own code, which may raise anything
            raise StudentError(
                f"the network cannot be traced for any batch size ({first_line(fault)}). Its forward pass must be "
                "plain tensor code: no branch on values, and no batch size written into a reshape"
            ) from None
        traced: Any = program.module()
        for node in list(traced.graph.nodes):
            if node.op == "call_module":  # torch's own check of the sizes, which has no weights
                traced.graph.erase_node(node)
            elif node.op == "call_function" and node.target in IN_PLACE and len(node.args[0].users) == 1:
                node.target = IN_PLACE[node.target]
        end = next(node for node in traced.graph.nodes if node.op == "output")
        answers = [end.args[0]] if isinstance(end.args[0], fx.Node) else list(end.args[0])
        if len(answers) != 1:
            raise StudentError(
                f"the network returns {len(answers)} tensors; quantization needs one that returns its logits alone"
            )
        end.args = (answers[0],)
        traced.graph.set_codegen(CodeGen())  # torch.export's own packs the answer as the network did
        # a GraphModule of its own: torch's exported ones refuse .eval(), which whoever gets this may call
        self.module = fx.GraphModule(traced, traced.graph).requires_grad_(False)

    def copy(self) -> NetworkGraph:
        """Another one with weights of its own; its nodes have the same names."""
        other = copy.copy(self)
        other.module = copy.deepcopy(self.module)
        return other

    @property
    def nodes(self) -> list[fx.Node]:
        return [node for node in self.module.graph.nodes if node.op == "call_function"]

    @property
    def image(self) -> fx.Node:
        return next(node for node in self.module.graph.nodes if node.op == "placeholder")

    @property
    def layers(self) -> list[Layer]:
        """In the order in which they run; without those whose weight is computed, or used more than once."""
        return [layer for node in self.nodes if (layer := self.layer(node)) is not None]

    def layer(self, node: fx.Node) -> Layer | None:
        if node.op != "call_function" or node.target not in (CONVOLUTION, LINEAR):
            return None
        held = node.args[1]
        if not isinstance(held, fx.Node) or held.op != "get_attr" or len(held.users) != 1:
            return None
        groups = argument(node, 6, 1) if node.target is CONVOLUTION else 1
        weight = self.tensor(held)
        return Layer(node, str(held.target).rpartition(".")[0], groups, weight.shape[1] * groups, weight.shape[0])

    def tensor(self, node: fx.Node) -> Tensor:
        """The parameter or buffer that a node reads."""
        value: Any = self.module
        for part in str(node.target).split("."):
            value = getattr(value, part)
        return value

    def weight(self, layer: Layer) -> Tensor:
        return self.tensor(layer.node.args[1])  # type: ignore[arg-type]

    def bias(self, layer: Layer) -> Tensor:
        """(outputs,); zeros where the layer has none."""
        held = argument(layer.node, 2, None)
        return torch.zeros(layer.outputs) if held is None else self.tensor(held)

    def put(self, layer: Layer, weight: Tensor | None = None, bias: Tensor | None = None) -> None:
        """Gives a layer other weights, (outputs, inputs / groups, ...) and (outputs,). A bias is made where there is
        none."""
        if weight is not None:
            self._set(layer.node.args[1], weight)
        held = argument(layer.node, 2, None)
        if bias is not None and held is not None:
            self._set(held, bias)
        elif bias is not None:
            path = f"{layer.path}.bias" if layer.path else "bias"
            owner, _, name = path.rpartition(".")
            self.module.get_submodule(owner).register_parameter(name, nn.Parameter(bias.float(), requires_grad=False))
            with self.module.graph.inserting_before(self.image):
                held = self.module.graph.get_attr(path)
            layer.node.args = (*layer.node.args[:2], held, *layer.node.args[3:])
            self.module.recompile()

    def _set(self, held: Any, value: Tensor) -> None:
        owner, _, name = str(held.target).rpartition(".")
        setattr(self.module.get_submodule(owner), name, nn.Parameter(value.float(), requires_grad=False))

    def remove(self, node: fx.Node) -> None:
        """Takes out an operation whose work something else does: its users read its input."""
        node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
        self.module.graph.erase_node(node)
        self.module.recompile()

    def channels(self, node: fx.Node) -> int | None:
        """Size of axis 1, where a value has one."""
        value = node.meta.get("val")
        return int(value.shape[1]) if isinstance(value, Tensor) and value.ndim in (2, 4) else None


def argument(node: fx.Node, place: int, otherwise: Any) -> Any:
    """The argument at a place of an operation. Of those given by name torch.export leaves few; none that we read."""
    return node.args[place] if len(node.args) > place else otherwise


def clip_of(node: fx.Node) -> tuple[float, float] | None:
    """(low, high) of an operation that cuts values off, ends open with infinity; None for every other."""
    if node.target is RELU:
        return 0.0, float("inf")
    if node.target is aten.relu6.default:
        return 0.0, 6.0
    if node.target in CLIP:
        low, high = argument(node, 1, -1.0), argument(node, 2, 1.0 if node.target is not aten.clamp.default else None)
        return float("-inf") if low is None else float(low), float("inf") if high is None else float(high)
    return None


def pads_with_zeros(node: fx.Node) -> bool:
    """Whether a padding puts zeros, as a convolution's own does."""
    return argument(node, 2, "constant") == "constant" and not argument(node, 3, 0)


def keeps_channels(graph: NetworkGraph, node: fx.Node) -> bool:
    """Whether an operation without weights leaves every channel to itself: pooling, flattening of 1 x 1 maps, zeros
    around a map."""
    source = node.args[0]
    if not isinstance(source, fx.Node) or graph.channels(source) != graph.channels(node):
        return False
    if node.target is aten.mean.dim:
        value = source.meta["val"]
        return value.ndim == 4 and sorted(axis % 4 for axis in argument(node, 1, [])) == [2, 3]
    if node.target in RESHAPE:
        return all(
            value.ndim < 4 or tuple(value.shape[2:]) == (1, 1) for value in (source.meta["val"], node.meta["val"])
        )
    return node.target in (*SAME, *POOL_MAX, *POOL_MEAN)
