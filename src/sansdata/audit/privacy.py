"""F: what of the training data can be told from the synthetic inputs, and from the models (level 4, by its owner)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np

from ..figures import Warned
from ..kinds.outputs.class_metrics import log_odds
from ..validation import performance
from ..validation.resampling import Estimate, Share, estimates, interval_of, resamples
from ..validation.subgroups import LEAST_CASES
from .evidence import Evidence, flat
from .levels import Entry, Level, Unmeasured, entry

NO_PROOF = "passing it does not make anything private"
QUANTILE = 0.01
CLOSER = 0.6
"""Share of the synthetic inputs that are nearer to training data, from which it is worth a warning where its interval
lies above a half."""
RATES = (0.01, 0.001)
SEED = 0
AT_ONCE = 100
"""Resamples."""
Found = Entry | Unmeasured | Warned


def exposure(evidence: Evidence) -> Iterator[Found]:
    """F17 and F18; what only others can say is listed."""
    if evidence.training is None or evidence.of_training is None or evidence.cases is None:
        why = "some of the teacher's training data (--training) and as many that it did not learn from (--data)"
        yield Unmeasured("F17", "nearness to training data", why)
        yield Unmeasured("F18", "membership inference", why)
    else:
        yield from nearness(evidence)
        yield from membership(evidence)
    yield Unmeasured("F19", "inversion exposure", "a model of the same classes that somebody else trained")
    yield Unmeasured("F20", "differential privacy", "an accountant at training time; no audit can make an epsilon")


def nearness(evidence: Evidence) -> Iterator[Found]:
    """F17: whether synthetic inputs are nearer to training data than to data that were held out, of equal number; in
    plain numbers and in the teacher's features."""
    assert evidence.of_training is not None
    assert evidence.cases is not None
    assert evidence.of_cases is not None
    sets = (evidence.synthetic.packed, evidence.of_training.packed, evidence.of_cases.packed)
    spaces = {"plain numbers": [flat(packed) for packed in sets]}
    inside = [evidence.features(packed) for packed in sets]
    if all(part is not None for part in inside):
        spaces["the teacher's features"] = [part for part in inside if part is not None]
    if len(evidence.synthetic) < LEAST_CASES:
        yield Unmeasured("F17", "nearness to training data", f"at least {LEAST_CASES} synthetic inputs")
        return
    records = numbered(*spaces["plain numbers"])
    count, held_out = len(evidence.synthetic), min(len(evidence.of_training), len(evidence.of_cases))
    for space, (made, learnt, other) in spaces.items():
        neighbours = nearest_neighbours(made, learnt, other, evidence.cases.patients, records)
        half = f"in {space}: a half is what a generator has that copies nobody; {NO_PROOF}"
        yield entry("F17", f"nearer to training, {space}", neighbours["nearer"], count, Level.L4, half, "share")
        ratio = "first over second of the training records that differ, median; near 0: a copy of one"
        yield entry("F17", f"neighbour ratio, {space}", neighbours["ratio"], count, Level.L4, ratio, "number")
        copies = "equal to a training record, or nearer to one than 99 % of those that differ are to each other"
        yield entry("F17", f"near copies, {space}", neighbours["copies"], count, Level.L4, copies, "share", "lower")
        chance = "the same of records that were held out: what is no more than this, nobody copied"
        name = f"near copies among held-out records, {space}"
        yield entry("F17", name, neighbours["copies of held-out"], held_out, Level.L4, chance, "share")
        ends = neighbours["nearer"].interval
        if neighbours["nearer"].value > CLOSER and ends is not None and ends[0] > 0.5:
            yield Warned(
                f"synthetic inputs lie near training data, in {space}", neighbours["nearer"].value,
                "more of them are nearer to a training record than to one that was held out than chance explains: they "
                "may show persons. Do not hand them on.",
            )  # fmt: skip


def numbered(*sets: np.ndarray) -> list[np.ndarray]:
    """Of each set of rows (N, D) which record each row is, (N,) int64: rows that are equal have the same number, also
    in two sets."""
    numbers: dict[bytes, int] = {}

    def number(row: np.ndarray) -> int:
        return numbers.setdefault(blake2b((row + 0.0).tobytes()).digest(), len(numbers))  # + 0.0: -0 is 0

    return [np.array([number(row) for row in rows]) for rows in sets]


def nearest_neighbours(
    made: np.ndarray, learnt: np.ndarray, other: np.ndarray, patients: np.ndarray,
    records: Sequence[np.ndarray] | None = None,
) -> dict[str, Estimate]:  # fmt: skip
    """nearer, ratio, copies of rows `made` (N, D), and copies of held-out, beside as many training rows as rows that
    were held out, of which `patients` (M,) says whose each is. records: which record each row of the three sets is, as
    `numbered` has it; None takes rows that are equal for one. ratio and copies are nan where no two training rows
    differ.

    Rows of tables often repeat, and features of the same input differ by a rounding: what is the same record is 0 away,
    whatever its distance, and training records are set against each other once each. Rows far from all data share
    their nearest record, so that one record decides for many of them: intervals draw the records again with all rows
    that are nearest to each, not single rows; those that were held out patient by patient.
    """
    from sklearn.neighbors import NearestNeighbors

    of_made, of_learnt, of_other = numbered(made, learnt, other) if records is None else records
    count = min(len(learnt), len(other))
    random = np.random.RandomState(SEED)
    index_of_learnt, index_of_other = (random.permutation(len(rows))[:count] for rows in (learnt, other))
    index_of_learnt = index_of_learnt[np.unique(of_learnt[index_of_learnt], return_index=True)[1]]
    learnt, of_learnt = learnt[index_of_learnt], of_learnt[index_of_learnt]
    other, of_other, patients = other[index_of_other], of_other[index_of_other], patients[index_of_other]

    several = len(learnt) > 1
    index = NearestNeighbors(n_neighbors=1 + several).fit(learnt)
    to_learnt, which = index.kneighbors(made)
    to_other, which_other = (pair[:, 0] for pair in NearestNeighbors(n_neighbors=1).fit(other).kneighbors(made))
    first = np.where(np.isin(of_made, of_learnt), 0, to_learnt[:, 0])
    to_other = np.where(np.isin(of_made, of_other), 0, to_other)
    closer = (first < to_other) + 0.5 * (first == to_other)

    own = index.kneighbors(n_neighbors=1)[0][:, 0] if several else np.zeros(1)
    near = np.quantile(own[own > 0], QUANTILE) if own.any() else np.nan
    of_held_out = np.where(np.isin(of_other, of_learnt), 0, index.kneighbors(other)[0][:, 0])
    second = to_learnt[:, 1] if several else np.full(len(made), np.nan)
    ratios = np.divide(first, second, out=np.ones_like(first), where=second != 0)
    deciding = np.where(first <= to_other, which[:, 0], count + patients[which_other])
    return {
        **_mean_of({"nearer": closer, "copies": _nearer_than(near, first)}, deciding),
        **_mean_of({"copies of held-out": _nearer_than(near, of_held_out)}, patients),
        "ratio": Estimate(float(np.median(ratios)), _median_interval(ratios)),
    }


def _nearer_than(limit: float, distances: np.ndarray) -> np.ndarray:
    """(N,) 1 or 0; nan where there is no limit."""
    return np.where(np.isnan(limit), np.nan, distances < limit)


def _mean_of(columns: dict[str, np.ndarray], whose: np.ndarray) -> dict[str, Estimate]:
    """Of each column (N,) of 0s and 1s, drawn again by whose each row is."""
    share = Share(len(np.unique(whose)))
    return estimates(
        lambda weights: {name: weights @ column / weights.sum(1) for name, column in columns.items()}, whose,
        share=lambda name: share,
    )  # fmt: skip


def _median_interval(values: np.ndarray) -> tuple[float, float] | None:
    random = np.random.RandomState(SEED)
    return interval_of(np.median(values[random.randint(0, len(values), (1000, len(values)))], axis=1))


def membership(evidence: Evidence) -> Iterator[Found]:
    """F18: whether it can be told from a model's loss that a case was learned from (Yeom et al. 2018). The student
    learned from none of them; what it gives away, its teacher passed on."""
    assert evidence.training is not None
    assert evidence.of_training is not None
    assert evidence.cases is not None
    assert evidence.of_cases is not None
    labels = (evidence.training.labels, evidence.cases.labels)
    drawn: dict[str, dict[str, np.ndarray]] = {}
    count = len(labels[0]) + len(labels[1])
    for who in ("teacher", "student"):
        inside, outside = (
            odds_of_truth(getattr(part, who), known)
            for part, known in zip((evidence.of_training, evidence.of_cases), labels)
        )
        drawn[who] = attack(inside, outside, evidence.cases.patients)
        for name, values in drawn[who].items():
            estimate = Estimate(float(values[0]), interval_of(values[1:], float(values[0])))
            text = "0.5: cannot be told" if name == "AUC" else "share of the training cases that are told"
            text += f"; by the loss alone, stronger attacks exist, and {NO_PROOF}"
            unit = "number" if name == "AUC" else "share"
            yield entry("F18", f"membership {name} of the {who}", estimate, count, Level.L4, text, unit, "lower")
    apart = drawn["student"]["AUC"] - drawn["teacher"]["AUC"]
    estimate = Estimate(float(apart[0]), interval_of(apart[1:], float(apart[0])))
    yield entry("F18", "membership AUC, student less teacher", estimate, count, Level.L4,
                "below 0: the student gives away less than its teacher", "number", "lower")  # fmt: skip


def odds_of_truth(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) log-odds of the true class, which rank as the loss does, from high to low, and also where that is 0 to the
    last digit."""
    return log_odds(logits)[np.arange(len(labels)), labels]


def attack(inside: np.ndarray, outside: np.ndarray, patients: np.ndarray, count: int = 1000) -> dict[str, np.ndarray]:
    """AUC, and the share of members (M,) found where 1 % and 0.1 % of the others (N,) are taken for members: each
    (1 + count,), first on the scores as they are, then resampled, members and others apart. patients (N,): whose each
    of the others is; they are drawn as a whole. Of members nobody says whose they are."""
    positive = np.r_[np.ones(len(inside), bool), np.zeros(len(outside), bool)]
    scores = np.r_[inside, outside]
    figures: dict[str, list[np.ndarray]] = {}
    for weights in (np.ones((1, len(scores))), *_both_drawn(np.arange(len(inside)), patients, count)):
        figures.setdefault("AUC", []).append(performance.auroc(positive, scores, weights))
        for rate in RATES:
            name = f"TPR at {rate:.1%} FPR"
            figures.setdefault(name, []).append(share_found(positive, scores, weights, rate))
    return {name: np.concatenate(parts) for name, parts in figures.items()}


def _both_drawn(one: np.ndarray, other: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """Weights (R, M + N), a few rows at a time: both parts, whose each is (M,) and (N,), drawn again by themselves."""
    for part in range(0, count, AT_ONCE):
        rows = min(AT_ONCE, count - part)
        drawn = [list(resamples(whose, rows, 2 * part + side)) for side, whose in enumerate((one, other))]
        yield np.concatenate([np.concatenate(weights) for weights in drawn], axis=1)


def share_found(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray, rate: float) -> np.ndarray:
    """(R,) the highest share of positives above a score above which at most `rate` of the negatives lie."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    up = (weights[:, order] * positive[order]).cumsum(1)[:, ends]
    down = (weights[:, order] * ~positive[order]).cumsum(1)[:, ends]
    allowed = down <= rate * down[:, -1:]
    return np.where(allowed, up, 0).max(1) / up[:, -1]
