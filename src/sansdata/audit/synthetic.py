"""A: what the synthetic inputs are like, in the eyes of the teacher alone (level 0)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from .. import columns
from ..contracts import Access
from ..figures import Drawing, Warned
from ..kinds.index import input_kind
from ..kinds.outputs.class_metrics import log_softmax, wilson_interval
from ..objectives.batch_stats import BatchStatistics
from ..streams import Streams
from ..validation.performance import ratio
from ..validation.resampling import Estimate, estimates
from .evidence import Answered, Evidence
from .levels import Entry, Level, Unmeasured, entry

RARE = 0.2
"""Of an even share: a class below it is hardly there."""
COLLAPSED = 0.2
"""Of the most varied class's diversity: a class below it is one picture again and again."""
DUPLICATE = 0.99
MOST_OF_CLASS = 400
"""Samples of a class between which all distances are taken, spread evenly over it."""
BATCH = 256
Found = Entry | Unmeasured | Drawing | Warned


def synthetic_bias(evidence: Evidence) -> Iterator[Found]:
    """A1 to A4."""
    data = evidence.synthetic
    yield from class_balance(data, evidence.task.class_names)
    yield from diversity(data, evidence.features(data.packed), evidence.task.class_names)
    yield from confidence(data)
    yield from statistics_gap(evidence)


def class_balance(data: Answered, names: tuple[str, ...]) -> Iterator[Found]:
    """A1: the teacher's classes among the samples, by the class that it names and by its probabilities."""
    probabilities = np.exp(log_softmax(data.teacher))
    classes, count = probabilities.shape[1], len(data)
    named = np.eye(classes)[data.teacher.argmax(1)]

    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        figures = {}
        for how, each in (("", named), (" by probability", probabilities)):
            shares = weights @ each / weights.sum(1)[:, None]
            figures[f"class entropy{how}"] = _entropy(shares) / math.log(classes)
            figures[f"rarest over commonest class{how}"] = shares.min(1) / shares.max(1)
            figures[f"KL of classes to even{how}"] = math.log(classes) - _entropy(shares)
        return figures

    caveat = {
        "class entropy": "1: all classes alike; says nothing of how varied a class is",
        "rarest over commonest class": "1: all classes alike",
        "KL of classes to even": "0: all classes alike",
    }
    for name, estimate in estimates(statistics, np.arange(count)).items():
        base = name.removesuffix(" by probability")
        unit, better = ("nats", "lower") if base.startswith("KL") else ("number", "higher")
        yield entry("A1", name, estimate, count, Level.L0, caveat[base], unit, better)  # type: ignore[arg-type]
    shares = named.mean(0)
    yield Drawing("synthetic classes", "bars", shares.tolist(), "share of each class by the teacher's eyes", names)
    rare = [place for place in range(classes) if shares[place] < RARE / classes]
    if rare:
        listed = ", ".join(f"'{_name(names, place)}'" for place in rare[:5])
        yield Warned(
            "classes hardly synthesised", float(shares[rare[0]]),
            f"{len(rare)} of {classes} classes have less than a fifth of an even share: {listed}. The student has "
            "seldom seen them.",
        )  # fmt: skip


def diversity(data: Answered, inside: np.ndarray | None, names: tuple[str, ...]) -> Iterator[Found]:
    """A2: how varied the samples of a class are in the features (N, D) that enter the teacher's last layer."""
    if inside is None:
        yield Unmeasured("A2", "diversity per class", "a teacher whose last layer may be looked into")
        return
    labels = data.teacher.argmax(1)
    each: dict[int, Estimate] = {}
    spans: dict[int, float] = {}
    copies: dict[int, np.ndarray] = {}
    for place in range(data.teacher.shape[1]):
        own = np.flatnonzero(labels == place)
        where = own[columns.places(len(own), MOST_OF_CLASS).numpy()]
        if len(where) < 2:
            continue
        units = directions(inside[where])
        each[place] = mean_distance(units)
        spans[place] = vendi(units)
        alike = units @ units.T
        np.fill_diagonal(alike, -1)
        copies[place] = alike.max(1) > DUPLICATE
    for place, estimate in each.items():
        name, count = _name(names, place), len(copies[place])
        caveat = "mean cosine distance of two samples in the teacher's features; 0: all the same"
        yield entry("A2", f"diversity of {name}", estimate, count, Level.L0, caveat, "number", "higher")
        span = Estimate(spans[place], None)
        caveat = "Vendi score: as many samples as would be wholly unlike; without an interval, and never above n"
        yield entry("A2", f"effective samples of {name}", span, count, Level.L0, caveat, "number", "higher")
    if copies:
        near = "has another of its class within cosine .99, among those that were compared"
        yield _share("A2", "near duplicates", np.concatenate(list(copies.values())), near, "lower")
    else:
        yield Unmeasured("A2", "near duplicates", "a class of at least two samples")
    most = max((estimate.value for estimate in each.values()), default=0.0)
    poor = [place for place, estimate in each.items() if estimate.value < COLLAPSED * most]
    if poor:
        yield Warned(
            "collapse within classes", each[poor[0]].value,
            f"samples of {', '.join(_name(names, place) for place in poor[:5])} are nearly one picture: their "
            "diversity is below a fifth of the most varied class's, however even the classes are.",
        )  # fmt: skip


def directions(inside: np.ndarray) -> np.ndarray:
    """Features (N, D) of length 1, (N, D + 1). Samples that excite nothing point all alike, and like no other: the last
    axis is theirs."""
    lengths = np.linalg.norm(inside, axis=1, keepdims=True)
    return np.c_[inside / np.maximum(lengths, 1e-12), lengths == 0]


def mean_distance(units: np.ndarray) -> Estimate:
    """1 less the mean cosine of two different rows of units (M, D), with its interval; a row that is drawn twice is no
    pair with itself."""
    own = (units**2).sum(1)
    gram = units @ units.T

    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        pairs = np.einsum("ri,ij,rj->r", weights, gram, weights, optimize=True) - (weights**2) @ own
        return {"": 1 - ratio(pairs, weights.sum(1) ** 2 - (weights**2).sum(1))}

    return estimates(statistics, np.arange(len(units)))[""]


def vendi(units: np.ndarray) -> float:
    """exp of the entropy of the eigenvalues of the cosines over M, of units (M, D): 1 to M."""
    values = np.linalg.eigvalsh(units @ units.T / len(units))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def confidence(data: Answered) -> Iterator[Found]:
    """A3: how sure the teacher is of the samples."""
    highest = np.exp(log_softmax(data.teacher).max(1))
    yield _share("A3", "teacher surer than .99", highest > 0.99, "easy samples alone teach little of the boundaries")
    yield _share("A3", "teacher less sure than .5", highest < 0.5, "ambiguous samples")


def statistics_gap(evidence: Evidence) -> Iterator[Found]:
    """A4: how far the samples' statistics are from those that the teacher's BatchNorm remembers, beside noise and,
    where there are any, natural inputs."""
    teacher = evidence.teacher
    norms = teacher.inside.batch_norms if teacher.access >= Access.WEIGHTS else ()
    if not norms:
        yield Unmeasured("A4", "statistics gap", "a teacher with BatchNorm that may be looked into")
        return
    kind, curves = input_kind(evidence.task), {}
    sets = [("synthetic", "statistics gap over noise's", evidence.synthetic.packed, Level.L0)]
    if evidence.natural is not None:
        sets.append(("natural", "statistics gap of natural inputs", evidence.natural.packed, Level.L1))
    caveat = (
        "distance to the teacher's BatchNorm statistics over that of as many inputs of noise; inversion makes it small "
        "by design"
    )
    for where, name, packed, level in sets:
        few = columns.evenly(packed, BATCH)
        count = columns.count(few)  # of fewer inputs, the statistics lie further off by chance
        noise = kind.draw(count, Streams(0)("audit"), kind.sources[0], teacher.network.preprocessor)
        own, of_noise = (_layer_distances(evidence, norms, part) for part in (few, kind.pack(noise)))
        for line, distances in ((where, own), (f"noise, {count} inputs", of_noise)):
            curves[line] = [[place + 1, distance] for place, distance in enumerate(distances)]
        gap = Estimate(sum(own) / sum(of_noise), None)
        yield entry("A4", name, gap, count, level, caveat, "number", "lower")
    yield Drawing(
        "statistics gap by layer", "curve", curves, "up: distance to BatchNorm's statistics; right: the layer"
    )


def _layer_distances(evidence: Evidence, norms: tuple[str, ...], packed: columns.Inputs) -> list[float]:
    module, inputs, distances = evidence.teacher.module, evidence.unpacked(packed), []
    with torch.no_grad():
        taps = evidence.teacher(inputs, [f"{path}:input" for path in norms]).taps
        for path in norms:
            distances.append(float(BatchStatistics(module, [path])(taps)))
    return distances


def _share(measure: str, name: str, which: np.ndarray, caveat: str, better: str = "") -> Found:
    estimate = Estimate(float(which.mean()), wilson_interval(int(which.sum()), len(which)))
    return entry(measure, name, estimate, len(which), Level.L0, caveat, "share", better)  # type: ignore[arg-type]


def _entropy(shares: np.ndarray) -> np.ndarray:
    """(R,) nats of shares (R, K)."""
    return 0.0 - (shares * np.log(np.maximum(shares, 1e-300))).sum(1)  # -0.0 is printed with its sign


def _name(names: tuple[str, ...], place: int) -> str:
    return names[place] if names else str(place)
