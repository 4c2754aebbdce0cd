"""Files of runs from before figures said what they are: their keys turned into figures. Nothing else reads those keys.

The keys are those of image classifiers; of other tasks there are no old files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..figures import Better, Drawing, Figure, Unit
from ..kinds.outputs.class_metrics import sureness
from .tree import Tree

SAMPLES: tuple[tuple[str, Unit, str, Better], ...] = (
    ("class_entropy", "number", "1: all classes alike, 0: a single class", "higher"),
    ("confidence", "share", "the teacher's, mean over the samples", ""),
    ("late_class_entropy", "number", "of the newest samples", "higher"),
    ("saturated", "share", "pixel values at the ends of the range; high: clipped images", ""),
    ("pairwise_distance", "number", "mean between samples; near 0: all alike", ""),
)
"""(key, unit, meaning, better) in the section 'samples' of summary.json."""
MEASURED: tuple[tuple[str, Unit, str, Better], ...] = (
    ("accuracy", "share", "", "higher"),
    ("ece", "number", "mean gap between confidence and accuracy; 0 is perfect", "lower"),
    ("mean_confidence", "share", "in the class that it names", ""),
    ("nll", "nats", "of the true class", "lower"),
    ("brier", "number", "squared error of the probabilities, 0..2", "lower"),
    ("teacher_accuracy", "share", "on the same samples", ""),
    ("agreement", "share", "student and teacher name the same class", "higher"),
    ("kl", "nats", "KL to the teacher; 0 means the same probabilities", "lower"),
)
"""The same of evaluation.json."""


def of_summary(summary: Tree, names: Sequence[str]) -> Tree:
    """The list `figures` of a summary.json, or what its old keys say. names: of the classes."""
    if summary.at("figures").value is not None:
        return summary.at("figures")
    section = summary.at("samples")
    entries = _figures(section, SAMPLES)
    counts = [item.number() for item in section.at("class_histogram").items()]
    total = sum(count for count in counts if count is not None and count > 0)
    if total > 0 and None not in counts and min(count for count in counts if count is not None) >= 0:
        shares = [count / total for count in counts if count is not None]
        meaning = "share of the samples that the teacher takes for a class"
        entries.insert(0, Drawing("class_histogram", "bars", shares, meaning, tuple(names)).to_dict())
    return Tree(entries)


def of_evaluation(evaluation: Tree, names: Sequence[str]) -> Tree:
    """The list `figures` of an evaluation.json, or what its old keys say."""
    if evaluation.at("figures").value is not None:
        return evaluation.at("figures")
    entries = _figures(evaluation, MEASURED)
    accuracy, sure = evaluation.at("accuracy").number(), evaluation.at("mean_confidence").number()
    for entry in entries:
        if entry["name"] == "mean_confidence" and accuracy is not None and sure is not None:
            entry["meaning"] = sureness(sure, accuracy)
    for name, shape, meaning in (
        ("per_class", "bars", "accuracy of each class"),
        ("reliability", "reliability", "confidence against accuracy"),
        ("confusion", "heat", "rows true, columns predicted"),
    ):
        data = evaluation.at(name).value
        if data:
            labels = tuple(names) if shape != "reliability" else ()
            entries.append(Drawing(name, shape, data, meaning, labels).to_dict())  # type: ignore[arg-type]
    return Tree(entries)


def _figures(section: Tree, rows: Sequence[tuple[str, Unit, str, Better]]) -> list[dict[str, Any]]:
    """Of those keys that hold a number, with the interval that stands beside it."""
    entries = []
    for name, unit, meaning, better in rows:
        value = section.at(name).number()
        if value is not None:
            entry = Figure(name, value, unit, meaning, better).to_dict()
            entries.append(entry | {"interval": section.at(f"{name}_interval").value})
    return entries
