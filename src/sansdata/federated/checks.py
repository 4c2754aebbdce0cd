"""Which replies are taken. A client may be broken, late or hostile: its reply is judged before any arithmetic.

Every field is bounded by what was sent. What an honest client cannot know is bounded by its cohort: the clients that
answered in the same round.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
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
MAX_CALLS = 1000
"""How often a layer may be called in one pass: what counts its calls grows by no more in a step."""
COHORT = 3
"""Clients from which on one of them cannot move the median by itself."""
HARMLESS_RATIO = 30.0
"""A reply so many times as long as the median of its cohort is refused. The weights of clients of one class, or of few
images, move up to 13 times as far as the median (`tests/federated/test_honest.py`)."""


@dataclass(frozen=True)
class Form:
    """What a reply must hold, no more and no less. parts: part -> name -> (shape, dtype). facts: beside round and
    examples. longest: the most that -1 in a shape may stand for."""

    parts: Mapping[str, Mapping[str, tuple[Shape, torch.dtype]]]
    facts: frozenset[str] = field(default_factory=frozenset)
    longest: int = MAX_EXAMPLES

    @property
    def nbytes(self) -> int:
        """The most bytes that its tensors can have."""
        return sum(
            math.prod(self.longest if length == -1 else length for length in shape) * dtype.itemsize
            for tensors in self.parts.values()
            for shape, dtype in tensors.values()
        )


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
            if not _fits(tuple(value.shape), shape, form.longest):
                raise ReplyRefused(f"{part} tensor '{name}' has shape {tuple(value.shape)}, expected {shape}")


def _require_names(kind: str, names: Mapping[str, object], expected: Mapping[str, object] | set[str]) -> None:
    missing, extra = sorted(set(expected) - set(names)), sorted(set(names) - set(expected))
    if missing:
        raise ReplyRefused(f"{kind} '{missing[0]}' is missing ({len(missing)} in all)")
    if extra:
        raise ReplyRefused(f"{kind} '{extra[0][:60]}' was not asked for ({len(extra)} in all)")


def _fits(shape: Shape, expected: Shape, longest: int) -> bool:
    return len(shape) == len(expected) and all(
        1 <= length <= longest if wanted == -1 else length == wanted for length, wanted in zip(shape, expected)
    )


def require_numbers(reply: Payload) -> None:
    """Raises ReplyRefused for nan, infinity, magnitudes above MAX_VALUE, or a negative variance."""
    for part, tensors in reply.parts.items():
        for name, value in tensors.items():
            if not value.is_floating_point() or not value.numel():
                continue
            if not bool(torch.isfinite(value).all()):
                raise ReplyRefused(f"{part} tensor '{name}' holds nan or infinity")
            if float(value.abs().max()) > MAX_VALUE:
                raise ReplyRefused(f"{part} tensor '{name}' holds {float(value.abs().max()):.3g}, above 1e6")
            if name.endswith("running_var") and float(value.min()) < 0:
                raise ReplyRefused(f"{part} tensor '{name}' holds a negative variance")


def require_counts(name: str, counts: Tensor, least: int, most: int) -> None:
    """Raises ReplyRefused where one of these whole numbers is below `least` or above `most`."""
    if counts.numel() and not least <= int(counts.min()) <= int(counts.max()) <= most:
        wrong = int(counts.min()) if int(counts.min()) < least else int(counts.max())
        raise ReplyRefused(f"{name} counts {wrong:,}, expected {least:,} to {most:,}")


def require_counters(values: Mapping[str, Tensor], sent: Mapping[str, Tensor], steps: int) -> None:
    """Raises ReplyRefused where a whole number of a model, such as num_batches_tracked, is negative as none was that
    was sent, or has grown by more than `steps` steps can count."""
    for name, before in sent.items():
        if not before.is_floating_point() and before.numel():
            most = float(before.double().max()) + steps * MAX_CALLS
            require_counts(f"model tensor '{name}'", values[name], min(0, int(before.min())), int(most))


def require_near(update: float, limit: float) -> None:
    """Raises ReplyRefused where an update is longer than what was sent allows."""
    if update > limit:
        raise ReplyRefused(f"its update has norm {update:.4g}, more than {limit:.4g}")


def distance(values: Mapping[str, Tensor], sent: Mapping[str, Tensor], names: Iterable[str]) -> float:
    """Euclidean, over all tensors of these names that are floating."""
    names = [name for name in names if sent[name].is_floating_point()]
    return _length([values[name].double() - sent[name].double() for name in names])


def length(values: Mapping[str, Tensor], names: Iterable[str]) -> float:
    """As `distance`, from nothing."""
    return _length([values[name].double() for name in names if values[name].is_floating_point()])


def _length(tensors: list[Tensor]) -> float:
    return sum(float(value.square().sum()) for value in tensors) ** 0.5


def outliers(
    what: str,
    lengths: Mapping[int, float],
    harmless: float,
    steps: Mapping[int, int] | None = None,
    ratio: float = HARMLESS_RATIO,
) -> dict[int, str]:
    """client -> reason, of the clients whose `what` is longer than `harmless` and, per step where they differ in steps,
    than `ratio` times the median. Nobody, where fewer than COHORT clients answered."""
    rates = {client: one / (steps[client] if steps else 1) for client, one in lengths.items()}
    if len(rates) < COHORT:
        return {}
    median = statistics.median(rates.values())
    return {
        client: f"its {what} has norm {one:.4g}, {rates[client] / max(median, 1e-30):.3g} times the round's median"
        for client, one in lengths.items()
        if one > harmless and rates[client] > ratio * median
    }
