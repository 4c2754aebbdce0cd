"""One of K exclusive classes: answers are logits (B, K) float32."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...contracts import Outputs
from ...errors import TeacherError
from ...figures import Drawing, Figure, Finding, Warned
from ...models.taps import chosen, logits_of, outputs_of
from ...objectives import agreement, logits
from ...objectives.logits import entropy, kl
from ...tasks import ClassesSpec
from ..base import OutputKind, all_alike, not_finite, unmoved
from . import class_metrics as metrics

CONFIDENT = 0.99
MANY_CLASSES = 1000
COLLAPSED_ENTROPY = 0.6
RARE = 0.1
"""Share of an even share: a class below it is as good as not there."""
COUNTABLE = 20
"""Samples a class must be due for its share to say anything; with fewer, chance empties classes."""
LITTLE_LEARNED = 0.15
"""Share of the way from guessing to full agreement."""
NAMED = 5
MAX_CONFUSION_CLASSES = 1_000
"""Beyond it the matrix would be larger than all else in a report."""
MAX_RANKED_CLASSES = 200
"""Beyond it ranking every class against the rest takes longer than the model."""

NameOf = Callable[[int], str]


class Classes(OutputKind):
    """spec.classes is K."""

    Spec = ClassesSpec
    unit = "classes"

    def read(self, raw: Any) -> Tensor:
        return logits_of(raw, self.spec.classes, self.spec.answers).float()

    def choice(self, raw: Any) -> str:
        tensors = outputs_of(raw)
        if len(tensors) < 2 or self.faults(raw, len(next(iter(tensors.values())))):
            return ""
        return f"'{chosen(raw, self.spec.classes, self.spec.answers)}' of {len(tensors)} outputs that are tensors"

    def faults(self, raw: Any, count: int) -> list[str]:
        try:
            answers = logits_of(raw, self.spec.classes, self.spec.answers)
        except TeacherError as fault:
            return [_other_job(raw) or str(fault)]
        problem = self._wrong_shape(answers, count)
        return [problem] if problem else []

    def _wrong_shape(self, answers: Tensor, count: int) -> str | None:
        classes = self.spec.classes
        shape, expected = list(answers.shape), f"expected ({count}, {classes}) logits for {count} inputs"
        if not answers.is_floating_point():
            return f"the teacher returned {answers.dtype}: {expected}, not labels"
        if answers.ndim == 4:
            what = "a map per input: a segmentation model (outputs of kind masks) or a feature extractor"
            return f"the teacher returned {shape}, {what}; {expected}"
        if answers.ndim != 2 or shape[0] != count:
            return f"the teacher returned shape {shape}; {expected}"
        if shape[1] == 1:
            return (
                "the teacher has 1 output: at least 2 classes are needed. For a yes/no model with one logit z return "
                "the two logits torch.cat([-z, z], 1) / 2"
            )
        if shape[1] != classes:
            return f"the teacher gives {shape[1]} classes and the task has {classes}: choose the task of this teacher"
        return None

    def judge(self, answers: Tensor, name_of: NameOf) -> tuple[str, list[str], list[str]]:
        if faults := not_finite(answers, "logits"):
            return "unknown", faults, []
        form, faults, warnings = _form(answers), [], []
        if form == "probabilities":
            faults.append("the teacher returns probabilities (rows sum to 1), not logits: leave out its final softmax")
        elif form == "sigmoids":
            faults.append(
                "the teacher returns independent probabilities (sigmoid): a multi-label model needs outputs of kind "
                "multilabel in the task, and a model of exclusive classes must return logits"
            )
        still = unmoved(answers)
        if bool(still.all()):
            return form, [*faults, all_alike("answer")], warnings
        dead = [name_of(label) for label in still.nonzero().flatten().tolist()]
        if dead:
            warnings.append(f"dead outputs: {len(dead)} class(es) never change ({', '.join(dead[:5])})")
        confidence = float(answers.softmax(dim=1).amax(dim=1).mean())
        if confidence > CONFIDENT and not faults:
            warnings.append(
                f"the teacher is {confidence:.1%} sure of pure noise: soft labels carry little; a temperature above 1 "
                "helps"
            )
        if answers.shape[1] == 2:
            warnings.append("2 classes: an answer carries little beyond the label, so more samples are needed")
        elif answers.shape[1] > MANY_CLASSES:
            warnings.append(f"{answers.shape[1]:,} classes: a batch rarely meets a class twice; plan a long run")
        return form, faults, warnings

    def match(self, student: Outputs, teacher: Outputs, how: Any) -> Tensor:
        return logits.match(how.match, student.logits, teacher.logits, how.temperature)

    def same(self, one: Tensor, other: Tensor) -> Tensor:
        return one.argmax(1) == other.argmax(1)

    def agreement(self, student: Tensor, teacher: Tensor) -> Mapping[str, float]:
        """Balanced over the classes that the teacher sees, so that a collapsed generator is no success."""
        return {
            "agreement": agreement.balanced_agreement(student, teacher),
            "overlap": agreement.balanced_overlap(student, teacher),
            "kl": kl(student, teacher).mean().item(),
        }

    def describe(self, answers: Tensor, late: Tensor | None = None) -> list[Finding]:
        shares = [round(share, 6) for share in agreement.class_histogram(answers).tolist()]
        described: list[Finding] = [
            Drawing(
                "class_histogram", "bars", shares, "share of the samples that the teacher takes for a class",
                self.spec.class_names,
            ),
            Figure(
                "class_entropy", agreement.class_entropy(answers), "number",
                "1: all classes alike, 0: a single class", "higher",
            ),
            Figure("confidence", agreement.confidence(answers), "share", "the teacher's, mean over the samples"),
        ]  # fmt: skip
        if late is not None and len(late) > 1:
            described.append(
                Figure(
                    "late_class_entropy", _entropy_of_few(late), "number",
                    "of the newest samples: below the whole, the samples have narrowed", "higher",
                )
            )  # fmt: skip
        return described

    def warnings(self, described: Mapping[str, Any], agreed: float, count: int, name_of: NameOf) -> list[Warned]:
        classes = self.spec.classes
        several = [
            _collapse(described, classes, name_of), _imbalance(described, classes, count, name_of),
            _little_learned(agreed, classes),
        ]  # fmt: skip
        return [one for one in several if one is not None]

    def evaluate(self, answers: np.ndarray, truth: np.ndarray, teacher: np.ndarray | None = None) -> list[Finding]:
        """answers (N, K), truth (N,) int64."""
        classes, count, names = self.spec.classes, len(truth), self.spec.class_names
        log_probs, predictions = metrics.log_softmax(answers), answers.argmax(axis=1)
        correct = predictions == truth
        confidence = np.exp(log_probs.max(axis=1))
        bins = metrics.reliability(confidence, correct)
        per_class = metrics.per_class_accuracy(truth, predictions, classes)
        shares = tuple(None if np.isnan(share) else float(share) for share in per_class)
        right = int(correct.sum())
        findings: list[Finding] = [
            Figure(
                "accuracy", right / count, "share", _constant(predictions, names), "higher",
                metrics.wilson_interval(right, count),
            ),
            Figure(
                "majority_share", float(np.bincount(truth).max() / count), "share",
                "accuracy of always naming the most frequent class",
            ),
            Figure(
                "balanced_accuracy", float(np.nanmean(per_class)), "share",
                f"mean over the classes; guessing has {100 / classes:.1f} %", "higher",
            ),
            *_rankings(metrics.log_odds(answers), truth),
            Figure("ece", metrics.expected_calibration_error(bins), "number",
                   "mean gap between confidence and accuracy; 0 is perfect", "lower"),
            Figure("mean_confidence", float(confidence.mean()), "share",
                   metrics.sureness(float(confidence.mean()), right / count)),
            Figure("nll", metrics.negative_log_likelihood(log_probs, truth), "nats", "of the true class", "lower"),
            Figure("brier", metrics.brier_score(log_probs, truth), "number",
                   "squared error of the probabilities, 0..2", "lower"),
            Drawing("per_class", "bars", shares, "accuracy of each class", names),
            Drawing("reliability", "reliability", [asdict(one) for one in bins], "confidence against accuracy"),
        ]  # fmt: skip
        if classes <= MAX_CONFUSION_CLASSES:
            matrix = metrics.confusion_matrix(truth, predictions, classes).tolist()
            findings.append(Drawing("confusion", "heat", matrix, "rows true, columns predicted", names))
        return findings if teacher is None else findings + _beside(answers, teacher, truth)

    def targets(self, answers: Tensor) -> np.ndarray:
        return answers.argmax(1).numpy()

    def captions(self, answers: np.ndarray, name_of: NameOf) -> Sequence[tuple[str, str]]:
        if answers.ndim != 2 or answers.shape[1] < 1:
            return []
        plain = np.nan_to_num(answers.astype(np.float64), nan=-1e30, posinf=1e30, neginf=-1e30)
        weights = np.exp(plain - plain.max(1, keepdims=True))
        sure = weights.max(1) / weights.sum(1)
        return [(name_of(int(label)), f"{100 * share:.0f} %") for label, share in zip(plain.argmax(1), sure)]

    def signature(self) -> tuple[str, tuple[int, ...]]:
        return "logits", (self.spec.classes,)


def _constant(predictions: np.ndarray, names: Sequence[str]) -> str:
    """What must stand beside an accuracy where it takes no model to reach it."""
    first = int(predictions[0])
    if len(predictions) == 1 or (predictions != first).any():
        return ""
    return f"every answer is {repr(names[first]) if names else f'class {first}'}"


def _rankings(odds: np.ndarray, truth: np.ndarray) -> list[Finding]:
    """Area under the ROC and the precision-recall curve, where every class occurs: of class 1 where there are two, else
    the mean over the classes of each against the rest. odds: (N, K) of each class, in logarithms."""
    classes = odds.shape[1]
    if len(np.unique(truth)) < classes or classes > MAX_RANKED_CLASSES:
        return []
    from sklearn.metrics import average_precision_score, roc_auc_score

    positives = [1] if classes == 2 else range(classes)
    curves = [
        (roc_auc_score(truth == c, odds[:, c]), average_precision_score(truth == c, odds[:, c])) for c in positives
    ]
    roc, precision = (float(np.mean(values)) for values in zip(*curves))
    chance = float(np.mean([(truth == c).mean() for c in positives]))
    whose = "of class 1" if classes == 2 else "mean over the classes"
    return [
        Figure("auroc", roc, "number", f"{whose}: how well it ranks; guessing has 0.5", "higher"),
        Figure("auprc", precision, "number", f"{whose}: precision over recall; guessing has {chance:.3f}", "higher"),
    ]


def _beside(answers: np.ndarray, teacher: np.ndarray, truth: np.ndarray) -> list[Finding]:
    theirs, count = teacher.argmax(axis=1), len(truth)
    right, same = int((theirs == truth).sum()), int((theirs == answers.argmax(axis=1)).sum())
    divergence = metrics.mean_kl(metrics.log_softmax(teacher), metrics.log_softmax(answers))
    ranked = [replace(one, name=f"teacher_{one.name}") for one in _rankings(metrics.log_odds(teacher), truth)]  # type: ignore[type-var]
    return [
        Figure("teacher_accuracy", right / count, "share", "on the same samples", "",
               metrics.wilson_interval(right, count)),
        *ranked,
        Figure("agreement", same / count, "share", "student and teacher name the same class", "higher",
               metrics.wilson_interval(same, count)),
        Figure("kl", divergence, "nats", "KL to the teacher; 0 means the same probabilities", "lower"),
    ]  # fmt: skip


def _other_job(raw: Any) -> str | None:
    """Jobs that are out of scope, by what they return."""
    one = raw[0] if isinstance(raw, (list, tuple)) and raw else raw
    if isinstance(one, Mapping) and "boxes" in one:
        return "the teacher is a detection model (it returns boxes), and boxes are no kind of output here"
    return None


def _form(answers: Tensor) -> str:
    sums = answers.sum(dim=1)
    within = bool((answers >= 0).all() and (answers <= 1).all())
    if within and torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        return "probabilities"
    if within and float(answers.max()) > float(answers.min()):
        return "sigmoids"
    lse = answers.logsumexp(dim=1)
    return "log-probabilities" if torch.allclose(lse, torch.zeros_like(lse), atol=1e-4) else "logits"


def _entropy_of_few(answers: Tensor) -> float:
    """As class_entropy, over the most that so few samples can have: 64 samples cannot show 1,000 classes."""
    most = math.log(min(len(answers), answers.shape[1]))
    return entropy(agreement.class_histogram(answers)).item() / most


def _collapse(described: Mapping[str, Any], classes: int, name_of: NameOf) -> Warned | None:
    """Few classes over the run, or at its end: a generator that falls late has spread its samples before."""
    whole, late = described["class_entropy"], described.get("late_class_entropy", 1.0)
    if min(whole, late) >= COLLAPSED_ENTROPY:
        return None
    shares = described["class_histogram"]
    top = max(range(len(shares)), key=shares.__getitem__)
    when = "" if whole < COLLAPSED_ENTROPY else " at the end of the run, after a better start"
    return Warned(
        "collapse of classes", min(whole, late),
        f"the teacher sees few of the {classes} classes in the samples{when}; most often '{name_of(top)}' "
        f"({shares[top]:.0%}). The value is the entropy of the classes over its maximum: 1 is even, 0 a single class. "
        "The student has hardly seen the others. Raise the weight that spreads classes (dafl: entropy; others: ce), "
        "lower the generator's rate, or take a larger batch; another seed may help too.",
    )  # fmt: skip


def _imbalance(described: Mapping[str, Any], classes: int, count: int, name_of: NameOf) -> Warned | None:
    shares = described["class_histogram"]
    if described["class_entropy"] < COLLAPSED_ENTROPY or count / classes < COUNTABLE:
        return None
    rare = sorted((share, label) for label, share in enumerate(shares) if share < RARE / classes)
    if not rare:
        return None
    named = ", ".join(f"'{name_of(label)}'" for _, label in rare[:NAMED]) + (", ..." if len(rare) > NAMED else "")
    what = "is" if len(rare) == 1 else "are"
    never = "never" if rare[-1][0] == 0 else "hardly ever"
    return Warned(
        "class imbalance", rare[0][0],
        f"{named} {what} {never} among the {count:,} samples, by the teacher's eyes; an even share would be "
        f"{1 / classes:.1%}. The student will seldom name what it has not seen. Raise the weight of the class "
        "loss (ce, entropy), or give the run more rounds; noise has no say in its classes.",
    )  # fmt: skip


def _little_learned(agreed: float, classes: int) -> Warned | None:
    if (agreed - 1 / classes) / (1 - 1 / classes) >= LITTLE_LEARNED:
        return None
    return Warned(
        "low agreement", agreed,
        f"on inputs made from the teacher alone the student names the teacher's class hardly more often than by "
        f"guessing ({1 / classes:.1%}): it has not learned what the teacher knows. If another warning speaks of the "
        "samples, mend that first; else give more budget, or a larger student.",
    )  # fmt: skip
