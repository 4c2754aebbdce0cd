"""One forward pass of any module: its logits whatever it returns, and the inner tensors that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..columns import Inputs
from ..contracts import Outputs
from ..errors import TeacherError

LOGIT_KEYS = ("logits", "out", "output", "prediction")


def logits_of(output: Any) -> Tensor:
    """The (B, K) logits in what a classifier returned: a tensor, a tuple or list, a dict, or a ModelOutput.

    Raises TeacherError where there is none.
    """
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        for key in LOGIT_KEYS:
            if isinstance(output.get(key), Tensor):
                return output[key]
    elif isinstance(getattr(output, "logits", None), Tensor):
        return output.logits
    elif isinstance(output, (tuple, list)) and output and isinstance(output[0], Tensor):
        return output[0]
    raise TeacherError(
        f"the model returned {type(output).__name__}; expected a tensor of logits, a tuple that begins with it, "
        f"or a dict or ModelOutput with one of {', '.join(LOGIT_KEYS)}"
    )


def call(module: nn.Module, prepared: Inputs) -> Any:
    """What `module` returns: called with one tensor, or with columns as its named arguments."""
    return module(prepared) if isinstance(prepared, Tensor) else module(**prepared)


def forward(
    module: nn.Module, prepared: Inputs, taps: Sequence[str] = (), read: Callable[[Any], Tensor] = logits_of
) -> Outputs:
    """Runs `module` on inputs as it takes them, and reads the answer in what it returns.

    A tap 'path' is the module's output, 'path:input' its first input. Every tap must fire exactly once.
    Raises TeacherError where a tap does not fire, fires twice, or is not a tensor.
    """
    fired: dict[str, Tensor] = {}
    handles = [_listen(module, tap, fired) for tap in taps]
    try:
        value = read(call(module, prepared))
    finally:
        for handle in handles:
            handle.remove()
    missing = [tap for tap in taps if tap not in fired]
    if missing:
        raise TeacherError(f"these parts of the model did not run in its forward pass: {', '.join(missing)}")
    return Outputs(value.float(), fired)


def _listen(root: nn.Module, tap: str, fired: dict[str, Tensor]) -> torch.utils.hooks.RemovableHandle:
    path, _, side = tap.partition(":")
    try:
        part = root.get_submodule(path)
    except AttributeError:
        raise TeacherError(f"the model has no part named '{path}'") from None

    def keep(value: Any) -> None:
        if not isinstance(value, Tensor):
            raise TeacherError(f"'{tap}' is {type(value).__name__}, not a tensor")
        if tap in fired:
            raise TeacherError(f"'{path}' runs more than once in a forward pass; its tap would be ambiguous")
        fired[tap] = value

    if side == "input":
        return part.register_forward_pre_hook(lambda _, inputs: keep(inputs[0]))
    return part.register_forward_hook(lambda _, __, output: keep(output))


def execution_order(module: nn.Module, prepared: Inputs, select: Callable[[nn.Module], bool]) -> list[tuple[str, Any]]:
    """(path, output) of every selected sub-module in the order in which they run on `prepared`, without gradient."""
    order: list[tuple[str, Any]] = []
    handles = [
        part.register_forward_hook(lambda _, __, output, path=path: order.append((path, output)))
        for path, part in module.named_modules()
        if path and select(part)
    ]
    try:
        with torch.no_grad():
            call(module, prepared)
    finally:
        for handle in handles:
            handle.remove()
    return order
