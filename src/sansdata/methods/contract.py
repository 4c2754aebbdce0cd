"""The contract of a method where a method gives something: a slip is answered by a sentence that names the contract."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import torch

from .. import columns
from ..config import Strict
from ..contracts import Batch, Losses, Outputs, Stateful
from ..errors import MethodError
from ..method import Method

Given = TypeVar("Given")
PAGE = "see docs/adding-a-method.md"


def require_class(cls: Any, where: str = "method") -> type[Method]:
    """`cls`, a whole subclass of Method with strict settings. where: who gave it. Raises MethodError."""
    if not (isinstance(cls, type) and issubclass(cls, Method)):
        raise MethodError(f"{where} is {cls!r:.80}, which is no sansdata Method: expected a subclass; {PAGE}")
    if missing := sorted(cls.__abstractmethods__):
        raise MethodError(f"{cls.__name__} does not define {', '.join(missing)}, which the contract asks for; {PAGE}")
    config = getattr(cls, "Config", None)
    if not (isinstance(config, type) and issubclass(config, Strict)):
        raise MethodError(f"{cls.__name__}.Config must be a subclass of sansdata.Strict with its settings; {PAGE}")
    if missing := [name for name in ("steps", "transfer") if name not in config.model_fields]:
        raise MethodError(
            f"{cls.__name__}.Config lacks {' and '.join(missing)}: a size in student steps, and a section "
            f"`transfer: TransferSettings = TransferSettings()`; {PAGE}"
        )
    return cls


def require_given(method: type[Method], source: str, value: Any, expected: type[Given]) -> Given:
    """What a method gave, of the type that the contract names. Raises MethodError."""
    if isinstance(value, expected):
        return value
    raise MethodError(
        f"{method.__name__}.{source} gave {value!r:.60}; expected {expected.__module__}.{expected.__qualname__}; {PAGE}"
    )


def require_plan(method: type[Method], config: Any, steps: int) -> dict[str, int]:
    """The moves of a run of so many student steps. Raises MethodError where they are none."""
    moves, where = method.plan(config, steps), f"{method.__name__}.plan(config, {steps})"
    whole = isinstance(moves, dict) and all(isinstance(n, int) and n >= 0 for n in moves.values())
    if not whole or moves.get("transfer") != steps:
        raise MethodError(
            f"{where} gave {moves!r:.120}; expected how many moves of each kind there are, among them "
            f"'transfer': {steps}, since each transfer is one student step"
        )
    for kind in moves:
        if kind != "transfer" and not callable(getattr(method, kind, None)):
            raise MethodError(f"{where} counts moves '{kind}', and {method.__name__} has no method of that name")
    return moves


def require_kind(method: Method, kind: Any, planned: Collection[str]) -> str:
    """What `next_move` gave, one of the planned kinds of moves. Raises MethodError."""
    if isinstance(kind, str) and kind in planned:
        return kind
    raise MethodError(
        f"{type(method).__name__}.next_move() gave {kind!r:.60}, which plan() does not count (it has "
        f"{', '.join(planned)}): a budget could not be kept"
    )


def require_losses(method: Method, source: str, value: Any) -> Losses:
    """What a move or the student's loss gave. Raises MethodError where it is no `Losses`."""
    if isinstance(value, Losses):
        return value
    raise MethodError(
        f"{type(method).__name__}.{source} returned {type(value).__name__}; expected Losses, to which each term is "
        "added by losses.add(name, weight, lambda: value), so that it has a name in the log and where it is not finite"
    )


def require_teaching(method: Method, losses: Losses) -> Losses:
    """The student's loss, one that can be learnt from. Raises MethodError where it has no term, or no gradient."""
    name = f"{type(method).__name__}.student_loss"
    if not losses.terms:
        raise MethodError(f"{name} has no term: every weight is 0, or none was added; the student would learn nothing")
    if torch.is_grad_enabled() and not any(value.requires_grad for _, value in losses.terms.values()):
        raise MethodError(
            f"{name} has no gradient to the student: compute it from `student(batch.inputs)`, outside torch.no_grad()"
        )
    return losses


def require_batch(method: Method, batch: Any) -> Batch:
    """What the student is to learn from, its parts of one length. Raises MethodError."""
    name = f"{type(method).__name__}.transfer_batch()"
    if not isinstance(batch, Batch):
        raise MethodError(
            f"{name} returned {type(batch).__name__}; expected a Batch, such as context.teach(inputs) gives"
        )
    count = columns.count(batch.inputs)
    if not count:
        raise MethodError(f"{name} gave a batch without inputs")
    parts = {"targets": batch.targets, "weights": batch.weights}
    if batch.teacher_outputs is not None:
        if not isinstance(batch.teacher_outputs, Outputs):
            raise MethodError(
                f"{name} gave a {type(batch.teacher_outputs).__name__} as teacher_outputs; expected Outputs, such as "
                "context.teach(inputs) gives: Batch(inputs, Outputs(answers))"
            )
        parts["teacher_outputs"] = batch.teacher_outputs.value
    for part, value in parts.items():
        if value is None:
            continue
        size = len(value) if getattr(value, "ndim", 1) else 0  # a single number has no length
        if size != count:
            raise MethodError(f"{name} gave {count} inputs and {size} {part}; they must be of the same samples")
    return batch


def require_state(method: Method) -> Mapping[str, Stateful]:
    """What outlives a move, by name. Raises MethodError where a part cannot be saved and restored."""
    name, state = f"{type(method).__name__}.state()", method.state()
    if not isinstance(state, Mapping):
        raise MethodError(f"{name} returned {type(state).__name__}; expected a mapping, empty where nothing is kept")
    for part, value in state.items():
        if not isinstance(value, Stateful):
            raise MethodError(
                f"{name} names '{part}', a {type(value).__name__} without state_dict and load_state_dict; put plain "
                "values into a sansdata.memory.Slot"
            )
    return state
