"""What a set of inputs and a model's scores on them are like, as counts in bins: nothing of a single case is left.

    {"schema_version": 1, "count": 512, "source": ..., "inputs": {name: {"edges": [...], "counts": [...]}},
     "scores": {class: the same}, "named": {class: count}, "alerts": {class: {"threshold": 0.5, "count": 12}}}

`edges` are the inner borders of bins whose first and last are open; a last count more than there are bins is that of
missing values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
import torch
from torch import Tensor

from ..columns import Inputs, count
from ..config import Strict, validate
from ..errors import DataError
from ..files import is_regular, read_json, reason
from ..tasks import Task
from .equal_mass import equal_mass_edges
from .labelled import Predict

BINS = 10
"""Of equal mass in the reference; a value that fills bins there has one of its own."""
FEWEST = 10
"""Inputs below which counts say too much of single cases."""
MAX_BYTES = 16_000_000
SCHEMA_VERSION = 1
Count = Annotated[int, pydantic.Field(ge=0, le=10**12)]


class Histogram(Strict):
    """counts: of each bin between the edges, in order, and of missing values where there is one more."""

    edges: tuple[float, ...] = pydantic.Field(max_length=1_000)
    counts: tuple[Count, ...] = pydantic.Field(max_length=1_002)

    @pydantic.model_validator(mode="after")
    def _fitting(self) -> Histogram:
        if any(low >= high for low, high in zip(self.edges, self.edges[1:])):
            raise ValueError("edges must rise")
        if len(self.counts) not in (len(self.edges) + 1, len(self.edges) + 2):
            raise ValueError(f"{len(self.edges)} edges make {len(self.edges) + 1} bins, got {len(self.counts)} counts")
        return self

    def between(self, edges: tuple[float, ...]) -> Histogram | None:
        """The same in the wider bins between `edges`; None where its own are not finer ones of these."""
        if not set(edges) <= set(self.edges):
            return None
        into = np.searchsorted(edges, self.edges, side="right")
        counts = np.bincount(np.r_[0, into], weights=self.counts[: len(self.edges) + 1], minlength=len(edges) + 1)
        return Histogram(edges=edges, counts=(*map(int, counts), *self.counts[len(self.edges) + 1 :]))


class Alerts(Strict):
    """How many inputs had a score of the class of at least `threshold`."""

    threshold: float = pydantic.Field(ge=0, le=1)
    count: Count


class Aggregates(Strict):
    """See the head of this file. source: in a few words where they come from, such as 'synthetic' or a ward."""

    schema_version: Literal[1]
    count: Annotated[int, pydantic.Field(ge=FEWEST, le=10**12)]
    source: Annotated[str, pydantic.Field(max_length=200)] = ""
    inputs: dict[str, Histogram]
    scores: dict[str, Histogram] = pydantic.Field(default_factory=dict)
    named: dict[str, Count] = pydantic.Field(default_factory=dict)
    alerts: dict[str, Alerts] = pydantic.Field(default_factory=dict)


def read_aggregates(path: Path) -> Aggregates:
    """Raises DataError for a file that is none."""
    try:
        fields = read_json(path, MAX_BYTES)
    except (OSError, ValueError) as fault:
        raise DataError(f"{path}: cannot be read as aggregates ({reason(fault)})") from None
    if not isinstance(fields, dict):
        raise DataError(f"{path}: expected an object with inputs and scores, got a {type(fields).__name__}")
    return validate(Aggregates, fields, str(path), error=DataError)


def is_aggregates(path: Path) -> bool:
    """Whether `read_aggregates` reads it."""
    try:
        return is_regular(path) and bool(read_aggregates(path))
    except DataError:
        return False


def aggregate(
    predict: Predict,
    batches: Iterable[Inputs],
    task: Task,
    reference: Aggregates | None = None,
    thresholds: Mapping[str, float] | None = None,
    source: str = "",
    finer: bool = False,
) -> Aggregates:
    """Counts over all inputs, as they travel. reference: whose bins are taken; without one they get those of equal mass
    here. thresholds: of classes that are acted upon. finer: the reference's bins are cut by those of equal mass here
    too, of about FEWEST inputs or more each and with rounded edges, so that what is counted can be compared with the
    reference and be one. Raises DataError for fewer than FEWEST inputs."""
    inputs: dict[str, list[np.ndarray]] = {}
    scores: list[np.ndarray] = []
    many = 0
    with torch.no_grad():
        for batch in batches:
            many += count(batch)
            for name, values in statistics(batch, task).items():
                inputs.setdefault(name, []).append(values)
            if task.pair[1] == "classes":
                scores.append(torch.softmax(predict(batch).float(), 1).cpu().numpy())
    if many < FEWEST:
        raise DataError(f"{many} inputs: counts of fewer than {FEWEST} say too much of single cases")
    joined = {name: np.concatenate(parts) for name, parts in inputs.items()}
    by_class = _by_class(scores, task)
    known = thresholds or {}
    return Aggregates(
        schema_version=SCHEMA_VERSION, count=many, source=source[:200],
        inputs=_histograms(joined, reference and reference.inputs, finer),
        scores=_histograms(by_class, reference and reference.scores, finer),
        named=_named(scores, task),
        alerts={
            name: Alerts(threshold=known[name], count=int((values >= known[name]).sum()))
            for name, values in by_class.items() if name in known
        },
    )  # fmt: skip


def statistics(inputs: Inputs, task: Task) -> dict[str, np.ndarray]:
    """Name -> a number for each input (B,): of a table its columns, nan where a value is missing; of texts their
    lengths; of everything else mean and spread, or where a column has one number for each input that number."""
    if isinstance(inputs, Tensor):
        return _mean_and_spread(inputs)
    if task.pair[0] == "table":
        return _columns(inputs, task)
    if "mask" in inputs:
        return {"length": inputs["mask"].float().flatten(1).sum(1).cpu().numpy()}
    columns_of: dict[str, np.ndarray] = {}
    for name, column in inputs.items():
        if column.dim() == 1:
            columns_of[name] = column.float().cpu().numpy()
        else:
            columns_of |= {f"{name}: {what}": values for what, values in _mean_and_spread(column).items()}
    return columns_of


def _mean_and_spread(column: Tensor) -> dict[str, np.ndarray]:
    flat = column.float().flatten(1)
    return {"mean": flat.mean(1).cpu().numpy(), "spread": flat.std(1, unbiased=False).cpu().numpy()}


def _columns(inputs: Mapping[str, Tensor], task: Task) -> dict[str, np.ndarray]:
    spec, missing = task.inputs, inputs["missing"].cpu().numpy()
    values = np.concatenate([inputs["numbers"].cpu().numpy(), inputs["categories"].cpu().numpy()], axis=1)
    columns = [*spec.numbers, *spec.categories]
    return {column.name: np.where(missing[:, place], np.nan, values[:, place]) for place, column in enumerate(columns)}


def _by_class(scores: list[np.ndarray], task: Task) -> dict[str, np.ndarray]:
    if not scores:
        return {}
    joined = np.concatenate(scores)
    return {task.name_of(label): joined[:, label] for label in range(joined.shape[1])}


def _named(scores: list[np.ndarray], task: Task) -> dict[str, int]:
    if not scores:
        return {}
    counts = np.bincount(np.concatenate(scores).argmax(1), minlength=task.classes)
    return {task.name_of(label): int(many) for label, many in enumerate(counts)}


def _histograms(
    several: Mapping[str, np.ndarray], reference: Mapping[str, Histogram] | None, finer: bool
) -> dict[str, Histogram]:  # fmt: skip
    made = {}
    for name, values in several.items():
        there = values[~np.isnan(values)]
        if reference is not None and name in reference:
            edges = np.asarray(reference[name].edges)
            if finer:
                edges = np.union1d(edges, _rounded_edges(there))
        else:
            edges = equal_mass_edges(there, BINS) if len(there) else np.empty(0)
        counts = np.bincount(np.searchsorted(edges, there, side="right"), minlength=len(edges) + 1)
        lost = [len(values) - len(there)] if len(there) < len(values) else []
        made[name] = Histogram(edges=tuple(map(float, edges)), counts=(*map(int, counts), *lost))
    return made


def _rounded_edges(values: np.ndarray) -> np.ndarray:
    """Rising edges (E,) of bins of equal mass that are no single one of `values` (N,): rounded to a hundredth of what
    they span or finer, but for those at a value that FEWEST have."""
    count = min(BINS, len(values) // FEWEST)
    if count < 2:
        return np.empty(0)
    values = values.astype(np.float64)
    edges = equal_mass_edges(values, count)
    spread = float(np.ptp(edges) or np.ptp(values))
    shared, times = np.unique(values, return_counts=True)
    shared = shared[times >= FEWEST]
    exact = np.isin(edges, np.r_[shared, np.nextafter(shared, np.inf)])
    decimals = 2 - math.floor(math.log10(spread)) if spread > 0 else 0
    return np.unique(np.where(exact, edges, np.round(edges, decimals)))


def plain(value: Aggregates) -> dict[str, Any]:
    """As JSON has it."""
    return value.model_dump(mode="json")
