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


def outputs_of(output: Any) -> dict[int | str, Tensor]:
    """The tensors in what a model returned, by place (a tuple or list) or by name (a dict, a named tuple, a
    ModelOutput); of a tensor alone, itself at place 0."""
    if isinstance(output, Tensor):
        return {0: output}
    if isinstance(output, Mapping):
        named = output.items()
    elif isinstance(output, (tuple, list)):
        named = [*zip(getattr(output, "_fields", ()), output), *enumerate(output)]
    else:
        keys = {key: getattr(output, key, None) for key in LOGIT_KEYS}
        named = [*keys.items(), *getattr(output, "__dict__", {}).items()]
    return {name: value for name, value in named if isinstance(value, Tensor)}


def logits_of(output: Any, classes: int | None = None, answers: int | str | None = None) -> Tensor:
    """The (B, K) logits in what a classifier returned: a tensor, a tuple or list, a dict, or a ModelOutput.

    classes: K; then of several tensors the only one with K columns is taken. answers: the place or name to take.
    Raises TeacherError where there is none, or where several could be it.
    """
    return output if isinstance(output, Tensor) else outputs_of(output)[chosen(output, classes, answers)]


def chosen(output: Any, classes: int | None = None, answers: int | str | None = None) -> int | str:
    """The place or the name of the logits, as in `logits_of`."""
    tensors = outputs_of(output)
    if answers is not None and not isinstance(output, Tensor):
        if answers in tensors:
            return answers
        raise TeacherError(f"the model returns no tensor at answers={answers!r}; it returns {_listed(tensors)}")
    for key in LOGIT_KEYS:
        if key in tensors:
            return key
    places = [name for name in tensors if isinstance(name, int)]
    fitting = [name for name in places if tensors[name].ndim == 2 and tensors[name].shape[1] == classes]
    different = [name for name in fitting[1:] if not _same(tensors[name], tensors[fitting[0]])]
    if different:
        raise TeacherError(
            f"the model returns {_listed(tensors)}: {len(different) + 1} of them could be its answers. Say which in "
            f"the task: answers: {fitting[0]}, or answers: {different[-1]}"
        )
    if fitting or 0 in places:
        return fitting[0] if fitting else 0  # whoever judges the shape of the first says what is wrong with it
    named = [f". It holds {_listed(tensors)}: name one in the task, such as answers: {name}" for name in tensors]
    raise TeacherError(
        f"the model returned {type(output).__name__}; expected a tensor of logits, a tuple that begins with it, "
        f"or a dict or ModelOutput with one of {', '.join(LOGIT_KEYS)}{named[0] if named else ''}"
    )


def _same(one: Tensor, other: Tensor) -> bool:
    return one is other or torch.equal(one, other)


def _listed(tensors: Mapping[int | str, Tensor]) -> str:
    return ", ".join(f"{name}: {list(value.shape)}" for name, value in tensors.items()) or "none"


def call(module: nn.Module, prepared: Inputs) -> Any:
    """What `module` returns: called with one tensor, or with columns as its named arguments."""
    return module(prepared) if isinstance(prepared, Tensor) else module(**prepared)


def forward(
    module: nn.Module, prepared: Inputs, taps: Sequence[str] = (), read: Callable[[Any], Tensor] = logits_of
) -> Outputs:
    """Runs `module` on inputs as it takes them, and reads the answer in what it returns.

    A tap 'path' is the module's output, 'path:input' its first input, and so is 'path:folded' of a network whose
    BatchNorm layers are part of others (models.folding). Every tap must fire exactly once.
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

    if side in ("input", "folded"):
        return part.register_forward_pre_hook(lambda _, *given: keep(first_input(*given)), with_kwargs=True)
    return part.register_forward_hook(lambda _, __, output: keep(output))


def first_input(inputs: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    """A part may be called with its input by position or by name."""
    return next(iter((*inputs, *named.values())), None)


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
