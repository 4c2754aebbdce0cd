"""What is measured, and how it wants to be seen: the one form in which kinds, engine and evaluation hand on findings.

Files hold these as JSON; report, comparison and command read nothing else of them than what stands here. No torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

Better = Literal["higher", "lower", ""]
Unit = Literal["share", "count", "nats", "seconds", "number"]


@dataclass(frozen=True)
class Figure:
    """One number. unit: 'share' is 0..1 and shown in percent. meaning: what it says, in a few words. better: which way
    a student improves; '' where neither is better. interval: 95 %, in the same unit."""

    name: str
    value: float
    unit: Unit
    meaning: str
    better: Better = ""
    interval: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without what is empty."""
        return {key: value for key, value in asdict(self).items() if value not in ("", None)}


@dataclass(frozen=True)
class Drawing:
    """Numbers that are seen better than read.

    bars: data = values, with a label each. heat: a square matrix, rows true, columns predicted. curve: data = {name:
    [[x, y], ...]}. points: the same, of points that no line joins, named beside them. reliability: data = dicts with
    lower, upper, count, confidence, accuracy. unit: of bars; '' is that of shares where all values are within 0..1.
    """

    name: str
    shape: Literal["bars", "heat", "curve", "points", "reliability"]
    data: Any
    meaning: str
    labels: tuple[str, ...] = ()
    unit: Unit | Literal[""] = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without what is empty."""
        return {key: value for key, value in asdict(self).items() if value not in ("", None, ())}


Finding = Figure | Drawing


@dataclass(frozen=True)
class Warned:
    """What went wrong, in words that say what it means and what to do. value: the number it hangs on."""

    name: str
    value: float | None
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def values(findings: Iterable[Finding]) -> dict[str, Any]:
    """name -> value, for files whose readers know the names."""
    return {one.name: one.value if isinstance(one, Figure) else one.data for one in findings}


# -- a sample as a person sees it


@dataclass(frozen=True, eq=False)
class Picture:
    """pixels: uint8 (H, W, C), C 1 or 3."""

    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class Film:
    """frames: uint8 (T, H, W, C), C 1 or 3. fps: frames a second. curves: name -> a value for each frame, shown below
    it."""

    frames: np.ndarray
    fps: float
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Sound:
    """samples: int16 (L,), of so many a second. spectrogram: uint8 (F, T, 1), low bands at the bottom."""

    samples: np.ndarray
    rate: int
    spectrogram: np.ndarray


@dataclass(frozen=True)
class Text:
    """A text in plain letters."""

    text: str


@dataclass(frozen=True)
class Record:
    """A row of a table: column -> value as text."""

    fields: Mapping[str, str]


Preview = Picture | Film | Sound | Text | Record
