"""Which replies are taken. A client may be broken, late or hostile: its reply is judged before any arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import ReplyRefused
from .payload import Payload

Shape = tuple[int, ...]
"""-1 stands for any length from 1."""
MAX_EXAMPLES = 100_000_000
MAX_VALUE = 1e6
"""Largest magnitude of any number in a reply; float32 sums of squares stay finite below it."""


@dataclass(frozen=True)
class Form:
    """What a reply must hold, no more and no less. parts: part -> name -> (shape, dtype). facts: beside round and
    examples."""

    parts: Mapping[str, Mapping[str, tuple[Shape, torch.dtype]]]
    facts: frozenset[str] = field(default_factory=frozenset)


def form_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[Shape, torch.dtype]]:
    """Names, shapes and types of tensors."""
    return {name: (tuple(value.shape), value.dtype) for name, value in tensors.items()}


def require_form(reply: Payload, form: Form, round: int) -> None:
    """Raises ReplyRefused for another round, missing or extra parts, names or facts, a wrong shape or type."""
    _require_names("fact", reply.facts, {"round", "examples"} | form.facts)
    if type(reply.facts["round"]) is not int or reply.facts["round"] != round:
        raise ReplyRefused(f"it answers round {reply.facts['round']!r:.20}, this is round {round}")
    examples = reply.facts["examples"]
    if type(examples) is not int or not 1 <= examples <= MAX_EXAMPLES:
        raise ReplyRefused(f"examples must be a whole number from 1 to {MAX_EXAMPLES:,}, got {examples!r:.40}")
    _require_names("part", reply.parts, form.parts)
    for part, expected in form.parts.items():
        tensors = reply.parts[part]
        _require_names(f"{part} tensor", tensors, expected)
        for name, (shape, dtype) in expected.items():
            value = tensors[name]
            if value.dtype != dtype:
                raise ReplyRefused(f"{part} tensor '{name}' is {value.dtype}, expected {dtype}")
            if not _fits(tuple(value.shape), shape):
                raise ReplyRefused(f"{part} tensor '{name}' has shape {tuple(value.shape)}, expected {shape}")


def _require_names(kind: str, found: Mapping[str, object], expected: Mapping[str, object] | set[str]) -> None:
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing:
        raise ReplyRefused(f"{kind} '{missing[0]}' is missing ({len(missing)} in all)")
    if extra:
        raise ReplyRefused(f"{kind} '{extra[0][:60]}' was not asked for ({len(extra)} in all)")


def _fits(shape: Shape, expected: Shape) -> bool:
    return len(shape) == len(expected) and all(
        length >= 1 if wanted == -1 else length == wanted for length, wanted in zip(shape, expected)
    )


def require_numbers(reply: Payload) -> None:
    """Raises ReplyRefused for nan, infinity, magnitudes above MAX_VALUE, a negative count or a negative variance."""
    for part, tensors in reply.parts.items():
        for name, value in tensors.items():
            if value.is_floating_point():
                if not bool(torch.isfinite(value).all()):
                    raise ReplyRefused(f"{part} tensor '{name}' holds nan or infinity")
                if value.numel() and float(value.abs().max()) > MAX_VALUE:
                    raise ReplyRefused(f"{part} tensor '{name}' holds {float(value.abs().max()):.3g}, above 1e6")
            elif value.numel() and int(value.min()) < 0:
                raise ReplyRefused(f"{part} tensor '{name}' counts {int(value.min())}")
            if name.endswith("running_var") and float(value.min()) < 0:
                raise ReplyRefused(f"{part} tensor '{name}' holds a negative variance")


def require_near(values: Mapping[str, Tensor], sent: Mapping[str, Tensor], most: float) -> None:
    """Raises ReplyRefused where the update of the floating tensors is longer than `most` times what was sent.

    Lengths are Euclidean over all tensors; what was sent counts as at least 1.
    """
    names = [name for name, value in sent.items() if value.is_floating_point() and name in values]
    update = _length([values[name].double() - sent[name].double().cpu() for name in names])
    limit = most * max(1.0, _length([sent[name].double() for name in names]))
    if update > limit:
        raise ReplyRefused(f"its update has norm {update:.4g}, more than {limit:.4g}")


def _length(tensors: list[Tensor]) -> float:
    return sum(float(value.square().sum()) for value in tensors) ** 0.5
