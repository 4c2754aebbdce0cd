"""A network of masks on films of a ventricle whose masks, events and ejection are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..datasets.echo import EchoFilm
from ..figures import Figure
from . import area_curves
from .area_curves import Agreement

OF_DICE, OF_EVENTS = 80 / 255, 25 / 255
"""Probabilities above which a pixel counts: for overlap and ejection, and, deliberately low, for the curve in which
events are sought (released code of EchoDFKD)."""
Predict = Callable[[np.ndarray], np.ndarray]
"""A film uint8 (T, H, W, C) -> probabilities (T, H, W) of the ventricle."""


@dataclass(frozen=True)
class EchoFigures:
    """dice: mean over films. brier: of the probabilities at the traced frames. afd_ed, afd_es: mean frames between true
    and found events, one to one and without a reference; undetected: share of films with no event found. *_guided: the
    same where the true frame chooses the beat. by_area, by_discs: of the ejection fraction in percent."""

    films: int
    dice: float
    brier: float
    afd_ed: float
    afd_es: float
    afd_ed_guided: float
    afd_es_guided: float
    undetected: float
    by_area: Agreement
    by_discs: Agreement

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def figures(self) -> list[Figure]:
        """As a report shows them."""
        return [
            Figure("dice", self.dice, "share", "of the ventricle at the traced frames, mean over films", "higher"),
            Figure("brier", self.brier, "number", "squared error of the probability of a pixel", "lower"),
            Figure("afd_ed", self.afd_ed, "number", "frames from each end of filling to the one found", "lower"),
            Figure("afd_es", self.afd_es, "number", "frames from each end of emptying to the one found", "lower"),
            Figure("undetected", self.undetected, "share", "films in which no beat is found", "lower"),
            Figure("ef_r_area", self.by_area.r, "number", "correlation of the ejection by area and true", "higher"),
            Figure("ef_bias_area", self.by_area.bias, "number", "points, mean over films; limits of agreement "
                   f"{self.by_area.low:.1f} to {self.by_area.high:.1f}"),
            Figure("ef_error_discs", self.by_discs.error, "number", "points, mean absolute, by discs; limits of "
                   f"agreement {self.by_discs.low:.1f} to {self.by_discs.high:.1f}", "lower"),
        ]  # fmt: skip


def measure(predict: Predict, films: Sequence[EchoFilm]) -> EchoFigures:
    """Each film is seen once, whole."""
    rows = [_of_film(predict(film.frames), film) for film in films]
    column = {name: np.array([row[name] for row in rows], np.float64) for name in rows[0] if name not in EVENTS}
    apart = {name: np.concatenate([row[name] for row in rows]) for name in EVENTS}
    true = column["ef"]
    means = {name: float(apart[name].mean()) if len(apart[name]) else float("nan") for name in EVENTS}
    return EchoFigures(
        films=len(films), dice=float(column["dice"].mean()), brier=float(column["brier"].mean()),
        undetected=float(column["undetected"].mean()),
        by_area=area_curves.agreement(column["by_area"], true),
        by_discs=area_curves.agreement(column["by_discs"], true), **means,
    )  # fmt: skip


EVENTS = ("afd_ed", "afd_es", "afd_ed_guided", "afd_es_guided")


def _of_film(shares: np.ndarray, film: EchoFilm) -> dict[str, Any]:
    masks = shares > OF_DICE
    curve = area_curves.areas(shares > OF_EVENTS)
    ed, es = area_curves.events(curve, film.fps)
    at = list(film.traced)
    return {
        "dice": float(np.mean([_dice(masks[frame], mask) for frame, mask in zip(at, film.masks)])),
        "brier": float(((shares[at] - film.masks) ** 2).mean()),
        "afd_ed": area_curves.matched(film.ed, ed), "afd_es": area_curves.matched(film.es, es),
        "afd_ed_guided": _guided(curve, film.ed, True), "afd_es_guided": _guided(curve, film.es, False),
        "undetected": float(not len(ed) or not len(es)),
        "by_area": area_curves.ejection_fraction(area_curves.areas(masks), ed, es),
        "by_discs": area_curves.ejection_fraction(area_curves.volumes(masks), ed, es),
        "ef": film.ef,
    }  # fmt: skip


def _guided(curve: np.ndarray, true: Sequence[int], full: bool) -> np.ndarray:
    near = [(frame, area_curves.event_near(curve, frame, full)) for frame in true]
    return np.array([area_curves.MISSED if one is None else abs(one - frame) for frame, one in near], np.float64)


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    either = one.sum() + other.sum()
    return float(2 * (one & other).sum() / either) if either else 1.0
