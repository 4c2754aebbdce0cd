"""A class for each pixel: answers are logits (B, K, H, W) float32, of clips (B, K, T, H, W).

Kept answers are probabilities as bytes: of two classes that of the second, (B, 1, ...), else of all, (B, K, ...).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...contracts import Outputs
from ...errors import DivergedError, TeacherError
from ...figures import Drawing, Figure, Finding, Preview, Warned
from ...models.taps import logits_of
from ...objectives import agreement, logits
from ...objectives.masks import class_shares, mean_soft_dice
from ...tasks import MasksSpec
from ..base import OutputKind, all_alike, not_finite, unmoved
from . import mask_drawing
from . import mask_metrics as metrics

NameOf = Callable[[int], str]
EMPTY = 0.9
"""Share of samples with one class at every pixel above which they teach no boundaries."""
COLLAPSED = 0.999
"""Share of all pixels of one class. Nine tenths are common: most of a street is road, of a retina no vessel."""
MOST_BOUNDARIES = 200
"""Masks on which boundary figures are taken, evenly spread: distances cost more than the network."""


class Masks(OutputKind):
    """spec.classes is K; spec.size the sizes behind it, (H, W) or (T, H, W)."""

    Spec = MasksSpec
    unit = "classes of pixels"
    draws = True

    def read(self, raw: Any) -> Tensor:
        """One map of logits z for two classes stands for the two maps -z/2 and z/2, whose softmax is its sigmoid."""
        answers = logits_of(raw, self.spec.classes, self.spec.answers).float()
        if answers.ndim > 2 and answers.shape[1] == 1 and self.spec.classes == 2:
            return torch.cat([-answers, answers], 1) / 2
        return answers

    def faults(self, raw: Any, count: int) -> list[str]:
        try:
            answers = logits_of(raw, self.spec.classes, self.spec.answers)
        except TeacherError as fault:
            return [str(fault)]
        classes, size = self.spec.classes, tuple(self.spec.size)
        shape, expected = tuple(answers.shape), f"expected {(count, classes, *size)} logits for {count} inputs"
        if not answers.is_floating_point():
            return [f"the teacher returned {answers.dtype}: {expected}, not labels"]
        if len(shape) == 2:
            return [f"the teacher returned {list(shape)}, a row per input: a classifier; {expected}"]
        if len(shape) != len(size) + 2 or shape[0] != count:
            return [f"the teacher returned shape {list(shape)}; {expected}"]
        if shape[1] != classes and not (shape[1] == 1 and classes == 2):
            return [f"the teacher gives {shape[1]} classes and the task has {classes}: choose the task of this teacher"]
        if shape[2:] != size:
            return [
                f"the teacher's masks are {list(shape[2:])} and the task's {list(size)}: enlarge them in its forward "
                "(torch.nn.functional.interpolate), or give the task their size"
            ]
        return []

    def judge(self, answers: Tensor, name_of: NameOf) -> tuple[str, list[str], list[str]]:
        if faults := not_finite(answers, "logits"):
            return "unknown", faults, []
        form = _form(answers)
        if form != "logits":
            faults.append(f"the teacher returns {form}, not logits: leave out its last activation")
        if bool(unmoved(answers).all()):
            faults.append(all_alike("mask"))
        if faults:
            return form, faults, []
        shares = class_shares(answers)
        top = int(shares.argmax())
        if float(shares[top]) > COLLAPSED:
            share = f"'{name_of(top)}' at {float(shares[top]):.1%} of the pixels of pure noise"
            return form, [], [f"the teacher sees {share}: noise alone teaches little"]
        return form, [], []

    def match(self, student: Outputs, teacher: Outputs, how: Any) -> Tensor:
        return logits.match(how.match, student.value, teacher.value, how.temperature)

    def same(self, one: Tensor, other: Tensor) -> Tensor:
        """Whether all but a hundredth of the pixels are of the same class."""
        return (one.argmax(1) == other.argmax(1)).flatten(1).float().mean(1) >= 0.99

    def agreement(self, student: Tensor, teacher: Tensor) -> Mapping[str, float]:
        """Pixels of the same class, balanced over the classes that the teacher sees; the soft Dice of both."""
        return {
            "agreement": agreement.balanced_agreement(student, teacher),
            "overlap": mean_soft_dice(student, teacher),
            "kl": logits.kl(student, teacher).mean().item(),
        }

    def describe(self, answers: Tensor, late: Tensor | None = None) -> list[Finding]:
        shares = class_shares(answers)
        even = float(logits.entropy(shares)) / float(np.log(self.spec.classes))
        described: list[Finding] = [
            Drawing(
                "class_histogram", "bars", [round(share, 6) for share in shares.tolist()],
                "share of all pixels that the teacher takes for a class", self.spec.class_names,
            ),
            Figure("class_entropy", even, "number", "of the pixels; 1: all classes alike, 0: a single class"),
            Figure("uniform_masks", _uniform(answers), "share", "samples with one class at every pixel", "lower"),
            Figure("confidence", agreement.confidence(answers), "share", "the teacher's, mean over the pixels"),
        ]  # fmt: skip
        if late is not None and len(late) > 1:
            meaning = "of the newest samples: above the whole, the samples have narrowed"
            described.append(Figure("late_uniform_masks", _uniform(late), "share", meaning, "lower"))
        return described

    def warnings(self, described: Mapping[str, Any], agreed: float, count: int, name_of: NameOf) -> list[Warned]:
        shares, warned = described["class_histogram"], []
        top = max(range(len(shares)), key=shares.__getitem__)
        uniform = max(described["uniform_masks"], described.get("late_uniform_masks", 0.0))
        if uniform > EMPTY:
            warned.append(Warned(
                "empty masks", uniform,
                "share of the samples in which the teacher sees one class at every pixel, so that the student learns "
                "no boundaries. Take a method that seeks disagreement (dfad), images of another kind (noise with "
                "source=dead-leaves, --pool), or more steps.",
            ))  # fmt: skip
        elif shares[top] > COLLAPSED:
            warned.append(Warned(
                "one class everywhere", shares[top],
                f"share of all pixels that the teacher takes for '{name_of(top)}': the student has hardly seen the "
                "other classes.",
            ))  # fmt: skip
        unseen = [name_of(label) for label, share in enumerate(shares) if share == 0]
        if unseen and not warned:
            warned.append(Warned(
                "classes that never occur", len(unseen) / len(shares),
                f"share of the classes that the teacher sees at no pixel of the samples ({', '.join(unseen[:5])}): "
                "what the student says of them is chance.",
            ))  # fmt: skip
        return warned

    def evaluate(self, answers: np.ndarray, truth: np.ndarray, teacher: np.ndarray | None = None) -> list[Finding]:
        """answers (N, K, ...), truth uint8 (N, ...), where VOID does not count. Frames of a clip count as images."""
        predicted, true = _as_images(answers.argmax(1)), _as_images(truth)
        findings = _measured(true, predicted, self.spec.classes, self.spec.class_names)
        if teacher is None:
            return findings
        theirs, names = _as_images(teacher.argmax(1)), ("mean_iou", "mean_dice", "pixel_accuracy")
        beside = {
            one.name: one.value for one in _overlap(true, theirs, self.spec.classes) if isinstance(one, Figure)
        }  # fmt: skip
        counted = true != metrics.VOID
        return [
            *findings,
            *(Figure(f"teacher_{name}", beside[name], "share", "on the same samples") for name in names),
            Figure("agreement", float((predicted == theirs)[counted].mean()), "share",
                   "pixels at which student and teacher name the same class", "higher"),
        ]  # fmt: skip

    def targets(self, answers: Tensor) -> np.ndarray:
        return answers.argmax(1).to(torch.uint8).numpy()

    def captions(self, answers: np.ndarray, name_of: NameOf) -> Sequence[tuple[str, str]]:
        """The most frequent class and its share of the pixels."""
        if answers.ndim < 3:
            return []
        labels = np.nan_to_num(answers).argmax(1).reshape(len(answers), -1)
        counts = [np.bincount(row, minlength=answers.shape[1]) for row in labels]
        return [(name_of(int(row.argmax())), f"{100 * row.max() / row.sum():.0f} % of it") for row in counts]

    def drawn(self, previews: Sequence[Preview], several: Mapping[str, Tensor]) -> Sequence[Preview]:
        return mask_drawing.drawn(previews, {whose: self.targets(answers) for whose, answers in several.items()})

    def legend(self, whose: Sequence[str]) -> str:
        return mask_drawing.legend(whose)

    def signature(self) -> tuple[str, tuple[int, ...]]:
        return "masks", (self.spec.classes, *self.spec.size)

    # -- answers that are kept

    def pack(self, answers: Tensor) -> Tensor:
        """Raises DivergedError for answers that are not finite, which a byte could not say."""
        if not bool(torch.isfinite(answers).all()):
            raise DivergedError("answers that were to be kept are not finite: the teacher's, or those of the student")
        shares = answers.detach().float().softmax(1).cpu()
        return (shares[:, 1:] if self.spec.classes == 2 else shares).mul(255).round().to(torch.uint8)

    def unpack(self, packed: Tensor) -> Tensor:
        """A byte of 0 or 255 is taken for a quarter of a step from it: the probability may be anything up to half."""
        shares = packed.float().div(255).clamp(0.25 / 255, 1 - 0.25 / 255)
        if self.spec.classes == 2:
            return torch.cat([-shares.logit(), shares.logit()], 1) / 2
        return shares.log()

    def from_array(self, array: np.ndarray, count: int) -> Tensor | None:
        maps = 1 if self.spec.classes == 2 else self.spec.classes
        if array.dtype != np.uint8 or array.shape != (count, maps, *self.spec.size):
            return None
        return self.unpack(torch.from_numpy(np.ascontiguousarray(array)))


def _as_images(masks: np.ndarray) -> np.ndarray:
    """(N, H, W) or (N, T, H, W) -> uint8 (M, H, W)."""
    return masks.astype(np.uint8).reshape(-1, *masks.shape[-2:])


def _form(answers: Tensor) -> str:
    """'logits', or what they are instead."""
    two = answers.shape[1] == 2 and torch.equal(answers[:, 0], -answers[:, 1])
    values = 2 * answers[:, 1] if two else answers
    within = bool((values >= 0).all() and (values <= 1).all()) and float(values.max()) > float(values.min())
    if within and two:
        return "probabilities (sigmoid)"
    sums = answers.sum(1)
    return "probabilities (softmax)" if within and torch.allclose(sums, torch.ones_like(sums), atol=1e-3) else "logits"


def _uniform(answers: Tensor) -> float:
    """Share of samples, 0..1, with one class at every pixel."""
    labels = answers.argmax(1).flatten(1)
    return float((labels == labels[:, :1]).all(1).float().mean())


def _overlap(truth: np.ndarray, predicted: np.ndarray, classes: int, names: tuple[str, ...] = ()) -> list[Finding]:
    counts = metrics.confusion(truth, predicted, classes)
    dice, iou = metrics.overlaps(counts)
    there = counts.sum(1) > 0
    right = int(np.diag(counts).sum())
    return [
        Figure("mean_iou", metrics.mean_iou(counts), "share",
               "intersection over union, mean over the classes that occur", "higher"),
        Figure("mean_dice", float(dice[there].mean()), "share", "the same of Dice", "higher"),
        Figure("pixel_accuracy", right / max(1, int(counts.sum())), "share", "pixels of the right class", "higher"),
        Figure("majority_share", float(counts.sum(1).max() / max(1, counts.sum())), "share",
               "pixel accuracy of always naming the most frequent class"),
        Drawing("iou_per_class", "bars", _or_none(np.where(there, iou, np.nan)), "IoU of each class", names),
        Drawing("dice_per_class", "bars", _or_none(np.where(there, dice, np.nan)), "Dice of each class", names),
        Drawing("confusion", "heat", counts.tolist(), "pixels: rows true, columns predicted", names),
    ]  # fmt: skip


def _measured(truth: np.ndarray, guesses: np.ndarray, classes: int, names: tuple[str, ...]) -> list[Finding]:
    """All figures of masks (`guesses`) against true ones, both uint8 (N, H, W)."""
    some = np.unique(np.linspace(0, len(truth) - 1, min(len(truth), MOST_BOUNDARIES)).round().astype(np.int64))
    far: list[list[float]] = [[] for _ in range(classes)]
    near: list[list[float]] = [[] for _ in range(classes)]
    for label, true, predicted in metrics.by_mask(truth[some], guesses[some], classes):
        if true.any() or predicted.any():
            far[label].append(metrics.hausdorff95(true, predicted))
            near[label].append(metrics.boundary_f1(true, predicted))
    hd95, f1 = ([float(np.mean(values)) if values else float("nan") for values in by] for by in (far, near))
    return [
        *_overlap(truth, guesses, classes, names),
        Figure("hd95", float(np.nanmean(hd95)), "number",
               "95th percentile of the distance between boundaries in pixels, mean over masks and classes; a class "
               "that is missed, or seen where it is not, counts as the image's diagonal", "lower"),
        Figure("boundary_f1", float(np.nanmean(f1)), "share",
               f"boundaries that lie within {metrics.TOLERANCE} pixels of each other, mean over masks and classes; 0 "
               "for a class that is missed, or seen where it is not", "higher"),
        Drawing("hd95_per_class", "bars", _or_none(np.array(hd95)), "HD95 of each class in pixels", names, "number"),
    ]  # fmt: skip


def _or_none(values: np.ndarray) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else float(value) for value in values)
