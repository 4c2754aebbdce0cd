"""Figures of a student in one row with its teacher's and with what lies between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..figures import Figure
from .sections import ARROWS
from .words import title, value_of


@dataclass(frozen=True)
class Paired:
    """student, teacher, difference: as text with their 95 % intervals, '' where there is none."""

    name: str
    student: str
    teacher: str
    difference: str
    arrow: str
    meaning: str


def paired(several: Mapping[str, Figure]) -> tuple[list[Paired], list[Figure]]:
    """(rows of the figures named 'student ...' whose teacher's or difference is there too, all other figures)."""
    rows, names = [], set()
    for name, one in several.items():
        base = name.removeprefix("student ")
        others = [several.get(f"{who} {base}") for who in ("teacher", "difference")]
        if base == name or not any(others):
            continue
        names |= {name, *(f"{who} {base}" for who in ("teacher", "difference"))}
        student, teacher, difference = (with_interval(figure) for figure in (one, *others))
        rows.append(Paired(title(base), student, teacher, difference, ARROWS[one.better], one.meaning))
    return rows, [one for name, one in several.items() if name not in names]


def with_interval(one: Figure | None) -> str:
    """0.912 (0.89 to 0.93), or the value alone."""
    if one is None:
        return ""
    ends = interval_of(one)
    return f"{value_of(one)} ({ends})" if ends else value_of(one)


def interval_of(one: Figure) -> str:
    """Its ends in its own unit, or ''."""
    if one.interval is None:
        return ""
    low, high = (value_of(Figure(one.name, end, one.unit, "")) for end in one.interval)
    return f"{low} to {high}"
