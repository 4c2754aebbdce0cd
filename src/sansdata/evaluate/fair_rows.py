"""What rows of a generator are worth, and how fair: a classifier is trained on them and tested on real ones, which is
what their user will do; beside it always the classifier that names one class for all, which is perfectly fair.

Density and coverage are those of Naeem et al. 2020. A row is compared with others as its bins, so that the distance of
two rows is how many of their columns differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import MissingLibraryError
from ..figures import Drawing, Figure, Finding
from ..kinds.inputs.table import Table
from ..teachers.autoencoder import AutoEncoder

NEIGHBOURS = 5
"""k of density and coverage: released (FairX)."""
COMPARED = 3000
"""The most rows of either side between which all distances are taken."""
ASKED = 10_000
"""The most rows from which something is read: more change the figure in its third place."""
AT_ONCE = 1000


@dataclass(frozen=True)
class LabelledRows:
    """columns (N, F) float64 without the sensitive one, nan where a value is missing; positive (N,) bool: of the class
    that it is good to be given; groups (N,) int64; codes (N, columns + 1): the bins."""

    columns: np.ndarray
    positive: np.ndarray
    groups: np.ndarray
    codes: Tensor

    def __len__(self) -> int:
        return len(self.positive)

    def at(self, places: np.ndarray) -> LabelledRows:
        return LabelledRows(
            self.columns[places], self.positive[places], self.groups[places], self.codes[torch.from_numpy(places)]
        )

    def some(self, count: int) -> LabelledRows:
        """At most `count` of them, always the same."""
        return self if len(self) <= count else self.at(np.random.default_rng(0).permutation(len(self))[:count])


def labelled_rows(model: AutoEncoder, rows: Mapping[str, Tensor], labels: Tensor) -> LabelledRows:
    """Rows as they travel, real or made, as a user of them and these figures see them."""
    task, name = model.bins.task, model.sensitive.column
    matrix = Table(task.inputs).preprocessor({"door": "matrix"})(rows)
    assert isinstance(matrix, Tensor)
    others = [place for place, column in enumerate(task.inputs.columns) if column.name != name]
    levels = rows["categories"][:, [column.name for column in task.inputs.categories].index(name)]
    return LabelledRows(
        matrix[:, others].numpy(), (labels == model.positive).numpy(), model.group_of_level[levels].numpy(),
        model.bins.codes(rows, labels),
    )  # fmt: skip


# -- a classifier that was trained on them


def classifier(model: AutoEncoder, seed: int = 0) -> Any:
    """Boosted trees of a histogram, which take missing values and categories as they are."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    levels = [bool(column.levels) for column in model.bins.columns]
    categories: Any = levels if any(levels) else None
    return HistGradientBoostingClassifier(categorical_features=categories, random_state=seed)


def served(chosen: np.ndarray, scores: np.ndarray, real: LabelledRows) -> dict[str, float]:
    """What answers do to real rows. chosen (N,) bool: who is given the good class; scores (N,): how surely.

    dpr: the lowest share of a group that is chosen over the highest, 1 where nobody is: then all are treated alike.
    eor: the lower of the same of those who deserve it and of those who do not, in the groups `of_both`, and not there
    where these are fewer than two.
    """
    sk = import_module("sklearn.metrics")
    sides = len(np.unique(real.positive)) == 2
    figures = {
        "auroc": float(sk.roc_auc_score(real.positive, scores)) if sides else 0.5,
        "balanced_accuracy": float(sk.balanced_accuracy_score(real.positive, chosen)),
        "accuracy": float((chosen == real.positive).mean()),
        "f1": float(sk.f1_score(real.positive, chosen, zero_division=0)),
        "positive_rate": float(chosen.mean()),
        "dpr": _parity(chosen, real.groups),
    }  # fmt: skip
    compared = of_both(real)
    if len(compared) > 1:
        inside = np.isin(real.groups, compared)
        sides = (inside & real.positive, inside & ~real.positive)
        # fairlearn's equalized_odds_ratio, but that it takes 0 over 0 for 0 on one side and for nothing on the other.
        figures["eor"] = min(_parity(chosen[side], real.groups[side]) for side in sides)
    return figures


def _parity(chosen: np.ndarray, groups: np.ndarray) -> float:
    """The lowest share of a group that is chosen over the highest, 0..1."""
    ratio = _fairlearn().demographic_parity_ratio
    return float(ratio(chosen, chosen, sensitive_features=groups)) if chosen.any() else 1.0


def of_both(real: LabelledRows) -> list[int]:
    """The groups with rows of either class. Of the others one of both rates does not exist, which fairlearn takes for
    0: it would make the ratio 0 for whoever is never wrong."""
    sides = ((group, real.positive[real.groups == group]) for group in np.unique(real.groups).tolist())
    return [group for group, positive in sides if positive.any() and not positive.all()]


def downstream(model: AutoEncoder, rows: LabelledRows, real: LabelledRows) -> dict[str, float]:
    """The figures of `served` of a classifier that was trained on `rows`."""
    if rows.positive.all() or not rows.positive.any():
        return constant(real, bool(rows.positive[0]))
    fitted = classifier(model).fit(rows.columns, rows.positive)
    return served(fitted.predict(real.columns), fitted.predict_proba(real.columns)[:, 1], real)


def constant(real: LabelledRows, positive: bool) -> dict[str, float]:
    """Of the answer that is the same for all."""
    return served(np.full(len(real), positive), np.zeros(len(real)), real)


def readable(columns: np.ndarray, sought: np.ndarray, judge: Any) -> float:
    """How well `sought` (N,) can be read from `columns` (N, F) by `judge`, which learns on one half and is asked about
    the other: the area under the ROC curve, of several values the mean over each against the rest; .5 is not at all."""
    from sklearn.metrics import roc_auc_score

    order = np.random.default_rng(0).permutation(len(sought))[:ASKED]
    learn, ask = np.array_split(order, 2)
    if len(np.unique(sought[learn])) < 2 or len(np.unique(sought[ask])) < 2:
        return 0.5
    shares = judge.fit(columns[learn], sought[learn]).predict_proba(columns[ask])
    known = [at for at, value in enumerate(judge.classes_) if 0 < (sought[ask] == value).mean() < 1]
    each = [roc_auc_score(sought[ask] == judge.classes_[at], shares[:, at]) for at in known]
    return float(np.mean(each[-1:] if len(judge.classes_) == 2 else each))


def latent_aucs(latents: Tensor, groups: Tensor, labels: np.ndarray) -> tuple[float, float]:
    """How well the group (N,) and the class (N,) can be read from latents (N, Z) of real rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    judge, values = HistGradientBoostingClassifier(max_iter=60, random_state=0), latents.numpy()
    return readable(values, groups.numpy(), judge), readable(values, labels, judge)


# -- rows beside rows


def closeness(rows: LabelledRows, real: LabelledRows) -> dict[str, float]:
    """density: real rows within whose reach a made row is, mean, over k; coverage: real rows that have a made one
    within reach. Reach is as far as the k-th neighbour among the real ones.

    Deviation: what lies just at reach is within it, while the released code asks for less. Distances here are whole
    numbers, many of them equal, so that the neighbours themselves would be left out; density is above 1 for it.
    """
    made, sought = rows.some(COMPARED), real.some(COMPARED)
    reach = _nearest(sought.codes, sought.codes, NEIGHBOURS + 1)[:, -1]
    inside, covered = 0.0, []
    for start in range(0, len(sought), AT_ONCE):
        apart = _apart(sought.codes[start : start + AT_ONCE], made.codes)
        within = apart <= reach[start : start + AT_ONCE, None]
        inside += float(within.sum())
        covered.append(within.any(1))
    share = torch.cat(covered).double().mean()
    return {"density": inside / (NEIGHBOURS * len(made)), "coverage": float(share)}


def copies(rows: LabelledRows, training: LabelledRows, held_out: LabelledRows) -> dict[str, float]:
    """closest_record: columns in which a made row differs from the nearest of the training rows, mean; of real rows
    that were held out, `closest_record_of_real`. nearer_to_training: share of the made rows that are nearer to a
    training row than to one of as many that were held out; a half is what a generator has that copies nobody."""
    count = min(COMPARED, len(training), len(held_out))
    made, learnt, other = rows.some(COMPARED), training.some(count), held_out.some(count)
    to_learnt, to_other = (_nearest(made.codes, side.codes, 1)[:, 0] for side in (learnt, other))
    nearer = (to_learnt < to_other).double() + 0.5 * (to_learnt == to_other).double()
    return {
        "closest_record": float(to_learnt.double().mean()),
        "closest_record_of_real": float(_nearest(other.codes, learnt.codes, 1).double().mean()),
        "nearer_to_training": float(nearer.mean()),
    }


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """(N, M) how many columns differ."""
    return (one[:, None] != other[None]).sum(2)


def _nearest(one: Tensor, other: Tensor, count: int) -> Tensor:
    """(N, count) the distances of each to its nearest, ascending; itself among them where it is there."""
    count = min(count, len(other))
    parts = [_apart(part, other).topk(count, 1, largest=False).values for part in one.split(AT_ONCE)]
    return torch.cat(parts)


def _fairlearn() -> Any:
    try:
        return import_module("fairlearn.metrics")
    except ImportError:
        raise MissingLibraryError(
            "figures of fairness need the library fairlearn, which is not installed: pip install fairlearn"
        ) from None


# -- as findings

SERVED = ("auroc", "balanced_accuracy", "accuracy", "f1", "positive_rate", "dpr", "eor")
"""What `served` measures: of a classifier, and not of the rows themselves."""
MEANINGS: dict[str, tuple[str, str, str]] = {
    "auroc": ("number", "higher", "of a classifier trained on the rows and tested on real ones: how well it ranks"),
    "balanced_accuracy": ("share", "higher", "of the same; one answer for all has 50 %"),
    "accuracy": ("share", "higher", "of the same"),
    "f1": ("number", "higher", "of the same, of the good class"),
    "positive_rate": ("share", "", "of real rows that it gives the good class"),
    "dpr": ("number", "higher", "demographic parity: lowest share of a group given the good class over the highest"),
    "eor": ("number", "higher", "equalized odds: the same of those who deserve it, and of those who do not; the lower"),
    "label_rate": ("share", "", "of the rows themselves that have the good class"),
    "label_dpr": ("number", "higher", "the same ratio of the rows' own classes"),
    "s_auc": ("number", "lower", "how well the group can be read from the other columns of the rows; .5: not at all"),
    "latent_s_auc": ("number", "lower", "how well the group can be read from latents of the real rows; .5: not at all"),
    "latent_class_auc": ("number", "higher", "how well the class can be read from them"),
    "density": ("number", "", "rows within reach of a real one; 1: as a perfect copy has"),
    "coverage": ("share", "higher", "real rows that have a row within reach"),
    "closest_record": ("number", "", "columns in which a row differs from the nearest training row, mean"),
    "closest_record_of_real": ("number", "", "the same of real rows that were held out"),
    "nearer_to_training": ("share", "", "rows nearer to a training row than to one held out; 50 %: copies nobody"),
}  # fmt: skip
"""name -> (unit, better, meaning)."""


def figures_of(measured: Mapping[str, float], suffix: str = "") -> list[Finding]:
    """As the report shows them. suffix: behind each name."""
    figures: list[Finding] = []
    for name, value in measured.items():
        unit, better, meaning = MEANINGS[name]
        of_classifier = "downstream_" if name in SERVED else ""
        figures.append(Figure(f"{of_classifier}{name}{suffix}", value, unit, meaning, better))  # type: ignore[arg-type]
    return figures


def plane(points: Mapping[str, tuple[float, float]]) -> Drawing:
    """The plane of fairness and utility: name -> (dpr, auroc)."""
    data = {name: [[round(dpr, 4), round(auroc, 4)]] for name, (dpr, auroc) in points.items()}
    meaning = "across: DPR, 1 is fair; up: AUROC on real rows. One answer for all is fair and useless (1, .5)"
    return Drawing("fairness_and_utility", "points", data, meaning)
