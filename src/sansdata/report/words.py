"""Figures as people say them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..figures import Figure

NOTHING = "–"


def percent(value: float | None, digits: int = 1) -> str:
    """0.9123 as '91.2 %', with a space that does not break."""
    return NOTHING if value is None else f"{100 * value:z.{digits}f}\u00a0%"


def count(value: float | None) -> str:
    """1234567 as '1,234,567'."""
    return NOTHING if value is None else f"{value:,.0f}"


def figure(value: float | None, digits: int = 4) -> str:
    """Few significant digits, no needless zeros."""
    return NOTHING if value is None else f"{value:z.{digits}g}"


def brief(value: float | None) -> str:
    """1234567 as '1.23 M': for places with little room."""
    if value is None:
        return NOTHING
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g} {unit}"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def duration(seconds: float | None) -> str:
    """3725 as '1 h 2 min'."""
    if seconds is None or seconds < 0:
        return NOTHING
    if seconds < 1:
        return f"{seconds:.2g} s"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def size(bytes_: float | None) -> str:
    """2500000 as '2.5 MB'."""
    if bytes_ is None:
        return NOTHING
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bytes_ >= scale:
            return f"{bytes_ / scale:.1f} {unit}"
    return f"{bytes_:.0f} B"


def clip(text: str, length: int) -> str:
    """Printable, on one line, at most `length` long."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain if len(plain) <= length else plain[: length - 1] + "…"


def moment(iso: str) -> str:
    """'2026-01-02T03:04:05.678+00:00' as '2026-01-02 03:04:05 UTC'; what is no such time stays as it is."""
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return when.strftime("%Y-%m-%d %H:%M:%S ") + (str(when.tzinfo) if when.tzinfo else "")


def joined(items: Sequence[str]) -> str:
    """'a, b and c'."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1] if items else ""


def title(name: str) -> str:
    """'class_entropy' as 'class entropy'."""
    return name.replace("_", " ")


def value_of(measured: Figure, digits: int = 1) -> str:
    """A figure in its unit. digits: of a share, behind the point."""
    return amount(measured.value, measured.unit, digits)


def amount(value: float | None, unit: str, digits: int = 1) -> str:
    """A number in a unit of `figures.Unit`."""
    if value is None:
        return NOTHING
    match unit:
        case "share":
            return percent(value, digits)
        case "count":
            return count(value)
        case "seconds":
            return duration(value)
        case "nats":
            return f"{figure(value, 3)}\u00a0nats"
    return figure(value, 3)
