"""A smaller network of the teacher's kind, freshly initialised: every hidden width times one ratio."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SansdataError, StudentError, first_line
from ..models.build import build
from ..models.copying import duplicate
from ..models.taps import execution_order, logits_of
from ..models.zoo import scaled
from ..tasks import Task

Transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
Convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *Transposed)
ChannelNorm = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
Resizable = (*Convolution, nn.Linear, *ChannelNorm, nn.PReLU)

ADVICE = "Give a student by name (resnet20, wrn-16-1, timm:NAME) or as package.module:function instead of shrink."


def shrink(
    module: nn.Module, ratio: float, task: Task, architecture: Mapping[str, Any] | None = None
) -> tuple[nn.Module, dict[str, Any] | None]:
    """(a network with every hidden width times `ratio`, its architecture or None where the module has none).

    Weights are new, drawn from torch's global generator; `module` stays as it was. Zoo networks are built at another
    scale; of any other module a copy is resized layer by layer and checked by a forward pass.
    ratio: above 0, at most 1. Raises StudentError where the network cannot be shrunk, with the reason.
    """
    if not (isinstance(ratio, (int, float)) and 0 < ratio <= 1):
        raise StudentError(f"shrink needs a ratio above 0 and at most 1, for instance shrink:0.5; got {ratio!r:.80}")
    if architecture is not None and architecture.get("kind") == "zoo":
        args = {**architecture["args"], "scale": architecture["args"].get("scale", 1.0) * ratio}
        smaller = {**architecture, "args": args}
        return build(smaller), smaller
    if task.pair not in (("image", "classes"), ("image", "masks")):
        raise StudentError(f"this network cannot be shrunk: it is none of ours, and its task is no image's. {ADVICE}")
    answers = task.outputs.answers
    student = resize(module, ratio, task.shape, task.classes, answers)
    if architecture is None:
        return student, None
    of = {"ratio": ratio, "shape": list(task.shape), "classes": task.classes, "of": dict(architecture)}
    return student, {"kind": "shrink", **of} | ({} if answers is None else {"answers": answers})


def resize(
    module: nn.Module, ratio: float, shape: tuple[int, int, int], classes: int, answers: int | str | None = None
) -> nn.Module:
    """A resized copy of `module`, freshly initialised. answers: which of its outputs are the logits, where it has
    several.

    Outputs of hidden layers are scaled by one function of their width, so that equal widths stay equal (residual sums);
    inputs then follow what arrives in a forward pass, which also fits concatenations and layers behind a flatten.
    """
    student = duplicate(module).cpu().float().eval()
    probe = torch.zeros(2, *shape)
    _check_parts(student)
    logits = partial(logits_of, classes=classes, answers=answers)
    head, expected = _find_head(student, probe, classes, logits)
    done: set[nn.Module] = set()

    def fit(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if layer not in done:
            done.add(layer)
            _resize_layer(layer, inputs[0], ratio, keep_outputs=layer is head)

    handles = [p.register_forward_pre_hook(fit) for p in student.modules() if isinstance(p, Resizable)]
    try:
        with torch.no_grad():
            output = logits(student(probe))
    except SansdataError:
        raise
    except Exception as fault:
        raise StudentError(
            f"this network cannot be shrunk to {ratio:g}: with the smaller layers its forward pass fails "
            f"({first_line(fault)}). Its code most likely holds a width or a head size as a number. {ADVICE}"
        ) from fault
    finally:
        for handle in handles:
            handle.remove()
    if output.shape != expected:
        raise StudentError(
            f"this network cannot be shrunk to {ratio:g}: with the smaller layers it gives {tuple(output.shape)} "
            f"for two images instead of {tuple(expected)}. Its code most likely reshapes to a fixed size; "
            f"flatten(1) would do. {ADVICE}"
        )
    return student.requires_grad_(True).train()


def _check_parts(module: nn.Module) -> None:
    """Refuses parameters that no layer we can resize holds, and those that several layers share."""
    owner: dict[int, str] = {}
    for path, part in module.named_modules():
        held = list(part.named_parameters(recurse=False))
        if held and not isinstance(part, Resizable):
            raise StudentError(
                f"this network cannot be shrunk: '{path or 'the module itself'}' ({type(part).__name__}) holds the "
                f"parameter '{held[0][0]}', whose size may mean something else than a width. {ADVICE}"
            )
        for name, value in held:
            if id(value) in owner:
                raise StudentError(
                    f"this network cannot be shrunk: '{owner[id(value)]}' and '{path}' share one weight. {ADVICE}"
                )
            owner[id(value)] = f"{path}.{name}"


def _find_head(
    module: nn.Module, probe: Tensor, classes: int, read: Callable[[Any], Tensor]
) -> tuple[nn.Module, torch.Size]:
    """(the layer that gives the classes, the shape of the answers): the one whose output is the logits, else the last
    that runs."""
    try:
        ran = execution_order(module, probe, lambda part: isinstance(part, Resizable))
        with torch.no_grad():
            logits = read(module(probe))
    except SansdataError:
        raise
    except Exception as fault:
        raise StudentError(
            f"this network cannot be shrunk: it fails on images of shape {tuple(probe.shape[1:])} ({first_line(fault)})"
        ) from fault
    names = [path for path, _ in ran]
    for path, part in module.named_modules():
        if isinstance(part, Resizable) and any(True for _ in part.parameters(recurse=False)) and path not in names:
            raise StudentError(
                f"this network cannot be shrunk: '{path}' did not run in a forward pass, so its new size is unknown. "
                f"Switch auxiliary heads off, or remove the part. {ADVICE}"
            )
    candidates = [(path, output) for path, output in ran if _outputs(module.get_submodule(path)) == classes]
    exact = [path for path, output in candidates if isinstance(output, Tensor) and torch.equal(output, logits)]
    last = [path for path, _ in ran if _outputs(module.get_submodule(path)) is not None][-1:]
    if exact:
        return module.get_submodule(exact[-1]), logits.shape
    if last and candidates and candidates[-1][0] == last[0]:
        return module.get_submodule(last[0]), logits.shape
    raise StudentError(f"this network cannot be shrunk: no layer was found that gives its {classes} classes. {ADVICE}")


def _outputs(layer: nn.Module) -> int | None:
    if isinstance(layer, Convolution):
        return layer.out_channels
    return layer.out_features if isinstance(layer, nn.Linear) else None


def _resize_layer(layer: nn.Module, arrived: Tensor, ratio: float, keep_outputs: bool) -> None:
    """Gives `layer` the inputs that arrive and scaled outputs, with new weights."""
    if isinstance(layer, Convolution):
        inputs = arrived.shape[1]
        outputs = layer.out_channels if keep_outputs else scaled(layer.out_channels, ratio)
        if layer.groups == layer.in_channels > 1:  # depthwise: a filter, or several, for each channel
            layer.groups, outputs = inputs, inputs * (layer.out_channels // layer.in_channels)
        else:
            layer.groups = math.gcd(layer.groups, inputs, outputs)
        layer.in_channels, layer.out_channels = inputs, outputs
        first, second = (inputs, outputs) if isinstance(layer, Transposed) else (outputs, inputs)
        _renew(layer, weight=(first, second // layer.groups, *layer.kernel_size), bias=(outputs,))
    elif isinstance(layer, nn.Linear):
        outputs = layer.out_features if keep_outputs else scaled(layer.out_features, ratio)
        layer.in_features, layer.out_features = arrived.shape[-1], outputs
        _renew(layer, weight=(outputs, layer.in_features), bias=(outputs,))
    elif isinstance(layer, nn.LayerNorm):
        trailing = len(layer.normalized_shape)
        # subclasses such as timm's LayerNorm2d norm the channels of (B, C, H, W)
        channels_first = type(layer) is not nn.LayerNorm and arrived.ndim == 4 and trailing == 1
        layer.normalized_shape = (arrived.shape[1],) if channels_first else tuple(arrived.shape[-trailing:])
        _renew(layer, weight=layer.normalized_shape, bias=layer.normalized_shape)
    elif isinstance(layer, nn.GroupNorm):
        layer.num_channels = arrived.shape[1]
        layer.num_groups = math.gcd(layer.num_groups, layer.num_channels)
        _renew(layer, weight=(layer.num_channels,), bias=(layer.num_channels,))
    elif isinstance(layer, nn.PReLU):
        if layer.num_parameters > 1:
            layer.num_parameters = arrived.shape[1]
        _renew(layer, weight=(layer.num_parameters,))
    elif isinstance(layer, nn.modules.batchnorm._NormBase):
        width = (arrived.shape[1],)
        layer.num_features = width[0]
        for name in ("running_mean", "running_var"):
            if getattr(layer, name) is not None:
                setattr(layer, name, torch.zeros(width))
        _renew(layer, weight=width, bias=width)


def _renew(layer: nn.Module, **shapes: tuple[int, ...]) -> None:
    """Parameters of new shapes, initialised as the layer's class does; what is None stays None."""
    for name, shape in shapes.items():
        if getattr(layer, name, None) is not None:
            setattr(layer, name, nn.Parameter(torch.empty(shape)))
    reset: Callable[[], None] = layer.reset_parameters  # type: ignore[assignment]
    reset()
