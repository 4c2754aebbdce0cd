"""Whether a student is as good as its teacher, by a margin that was declared before anybody saw the cases."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import ConfigError, did_you_mean
from ..files import utc_now
from .answers import RANKED
from .resampling import Estimate

MEASURES = ("auroc", "auprc", "balanced_accuracy", "accuracy", "sensitivity", "specificity")
MARGIN = 0.03
"""Of the area under the ROC curve: the methods card's; a site decides its own."""
OF_TWO = ("sensitivity", "specificity")
RANKING = ("auroc", "auprc")
Outcome = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class Declaration:
    """What was decided before the data were opened. margin: how far the student may be below its teacher in `measure`,
    both 0..1. recalibrated: the measure is taken after recalibration on cases set apart. number: by which a result
    names its declaration. at: the time."""

    measure: str
    margin: float
    resamples: int
    threshold: float | None
    recalibrated: bool
    number: str
    at: str

    @classmethod
    def now(
        cls, measure: str, margin: float, resamples: int, threshold: float | None, recalibrated: bool, classes: int
    ) -> Declaration:
        """Raises ConfigError for a measure that is not known, a number out of its range, or two thresholds."""
        if measure not in MEASURES:
            raise ConfigError(f"unknown measure '{measure}'. {did_you_mean(measure, MEASURES)}")
        if measure in OF_TWO and classes != 2:
            raise ConfigError(
                f"{measure} is of two classes, and the task has {classes}: take auroc or balanced_accuracy"
            )
        if measure in RANKING and classes > RANKED:
            raise ConfigError(
                f"{measure} is taken of up to {RANKED} classes, and the task has {classes}: take accuracy"
            )
        if not 0 < margin < 1:
            raise ConfigError(f"margin={margin}: expected a share above 0 and below 1, such as 0.03")
        if not 200 <= resamples <= 100_000:
            raise ConfigError(f"resamples={resamples}: expected 200 to 100,000")
        if threshold is not None and (classes != 2 or not 0 < threshold < 1):
            raise ConfigError(f"threshold={threshold}: expected a probability of class 1, of a task of two classes")
        if threshold is not None and recalibrated:
            raise ConfigError("a threshold is given and --recalibrate would choose one: leave one of them out")
        return cls(measure, margin, resamples, threshold, recalibrated, secrets.token_hex(6), utc_now())

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "number": self.number, "declared": self.at, "measure": self.measure, "margin": self.margin,
            "resamples": self.resamples, "threshold": self.threshold, "recalibrated": self.recalibrated,
        }  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """outcome: 'pass' where the whole interval of student less teacher lies above -margin, 'fail' where it lies below,
    else 'inconclusive': the cases are too few to say."""

    outcome: Outcome
    measure: str
    margin: float
    difference: float
    interval: tuple[float, float] | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        ends = None if self.interval is None else list(self.interval)
        difference = None if self.difference != self.difference else self.difference
        return {
            "outcome": self.outcome, "measure": self.measure, "margin": self.margin, "difference": difference,
            "interval": ends,
        }  # fmt: skip


def judge(declared: Declaration, difference: Estimate) -> Verdict:
    """difference: student less teacher, in the declared measure."""
    ends, margin = difference.interval, declared.margin
    outcome: Outcome = "inconclusive"
    if ends is not None:
        outcome = "pass" if ends[0] > -margin else "fail" if ends[1] < -margin else "inconclusive"
    return Verdict(outcome, declared.measure, margin, difference.value, ends)


def declared_before(entries: list[dict[str, Any]], declared: Declaration) -> list[str]:
    """Sentences on what was declared for the same student earlier: a margin that is chosen after a look is none."""
    others = [one for one in entries if isinstance(one, Mapping) and one.get("number") != declared.number]
    if not others:
        return []
    notes = [f"{len(others)} validation(s) of this student were declared before this one"]
    for name in ("measure", "margin", "threshold", "recalibrated"):
        known = sorted({str(one[name]) for one in others if one.get(name) is not None})
        if any(value != str(getattr(declared, name)) for value in known):
            notes.append(f"an earlier one declared {name} {', '.join(known[:5])}, this one {getattr(declared, name)}")
    return notes
