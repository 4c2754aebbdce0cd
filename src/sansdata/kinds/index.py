"""The two tables of kinds. Third parties add theirs by the entry-point group 'sansdata.kinds'."""

from __future__ import annotations

import contextlib
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from ..errors import TaskError
from ..tasks import Side, Task
from ..tasks.kinds import GROUP, load_kind
from .base import InputKind, OutputKind

INPUTS = {
    "image": ("inputs.image:Images", "pictures of 1 or 3 channels, of one size"),
    "clip": ("inputs.clip:Clips", "frames that follow each other, of 1 or 3 channels"),
    "table": ("inputs.table:Table", "rows of numbers and categories, some of them missing"),
    "tokens": ("inputs.tokens:Tokens", "texts as ids of one vocabulary, padded to one length"),
    "two-texts": ("inputs.two_texts:TwoTexts", "two texts, the second of which is judged by the first"),
    "noise": ("inputs.noise:Noise", "standard normal numbers for a generator, and at most a label"),
    "waveform": ("inputs.waveform:Waveforms", "sounds of one channel, padded to one length"),
}
OUTPUTS = {
    "classes": ("outputs.classes:Classes", "one of several exclusive classes"),
    "masks": ("outputs.masks:Masks", "a class for each pixel"),
    "field": ("outputs.field:Field", "a sample that a generator makes, such as a picture"),
    "vectors": ("outputs.vectors:Vectors", "vectors that count as a set, such as latents of an autoencoder"),
    "ways": ("outputs.ways:Ways", "one of the classes of a few-shot task, which a support set names"),
    "span": ("outputs.span:Spans", "the part of the first of two texts that answers the second"),
    "transcript": ("outputs.transcript:Transcripts", "a text, token by token, up to its end"),
    "multilabel": ("outputs.multilabel:Multilabel", "several labels at once, each there or not by itself"),
}
"""kind -> (module:class in this package, one line)."""


def kind_names() -> dict[str, tuple[str, str]]:
    """Every known kind -> (its side, one line about it), our own first."""
    names = {name: ("inputs", line) for name, (_, line) in INPUTS.items()}
    names |= {name: ("outputs", line) for name, (_, line) in OUTPUTS.items()}
    for entry in entry_points(group=GROUP):
        names.setdefault(entry.name, ("third party", f"from {entry.value}"))
    return names


def input_kind(task: Task) -> InputKind:
    """The input side of a task at work. Raises TaskError where a third party's kind does not load."""
    return _kind("inputs", task.inputs)


def output_kind(task: Task) -> OutputKind:
    """The output side of a task at work. Raises TaskError where a third party's kind does not load."""
    return _kind("outputs", task.outputs)


@lru_cache(maxsize=256)
def _kind(side: str, spec: Side) -> Any:
    name = spec.kind  # type: ignore[attr-defined]
    table = INPUTS if side == "inputs" else OUTPUTS
    if name in table:
        return _our_own(table[name][0])(spec)
    cls, base = load_kind(side, name), InputKind if side == "inputs" else OutputKind
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise TaskError(f"kind '{name}' stands among the task's {side}, and {cls!r:.80} is no {base.__name__}")
    return cls(spec)


def known_sources() -> set[str]:
    """Every kind of noise that some kind of input can be drawn from. A third party's package that is broken has none;
    a task that needs it says why."""
    classes = [_our_own(place) for place, _ in INPUTS.values()]
    for entry in entry_points(group=GROUP):
        with contextlib.suppress(TaskError):
            classes.append(load_kind("inputs", entry.name))
    return {source for cls in classes for source in getattr(cls, "sources", ())}


def _our_own(place: str) -> Any:
    """The class at 'module:class' in this package."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(f".{module}", __package__), attribute)
