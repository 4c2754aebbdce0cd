"""What the samples were like, and what went wrong: named, with a number, what it means and what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..memory import dequantise
from ..objectives import agreement
from ..objectives.logits import entropy
from ..synthesis.folder import ImagePool
from ..tasks import ImageTask
from ..teachers.normalisation import PROBLEM

COLLAPSED_ENTROPY = 0.6
RARE = 0.1
"""Of an even share: a class below it is as good as not there."""
COUNTABLE = 20
"""Samples a class must be due for its share to say anything; with fewer, chance empties classes."""
SAME_IMAGES = 0.02
SATURATED = 0.9
"""Of the pixels. Real drawings on a plain ground reach 0.8 (handwritten digits), photographs a few hundredths."""
LITTLE_LEARNED = 0.15
"""Of the way from guessing to full agreement."""
NAMED = 5


def describe_samples(images: Tensor, logits: Tensor, late: Tensor | None = None) -> dict[str, Any]:
    """images uint8 (N, C, H, W) from the whole run; logits (N, K) of the teacher on them, late (M, K) on the newest."""
    found = {
        "class_histogram": [round(v, 6) for v in agreement.class_histogram(logits).tolist()],
        "class_entropy": agreement.class_entropy(logits),
        "confidence": agreement.confidence(logits),
        "saturated": agreement.saturation(dequantise(images)),
        "pairwise_distance": agreement.pairwise_distance(dequantise(images)),
        "scored": len(images),
    }
    if late is not None and len(late) > 1:
        found["late_class_entropy"] = _entropy_of_few(late)
    return found


def _entropy_of_few(logits: Tensor) -> float:
    """As class_entropy, over the most that so few samples can have: 64 samples cannot show 1,000 classes."""
    most = math.log(min(len(logits), logits.shape[1]))
    return entropy(agreement.class_histogram(logits)).item() / most


def warnings(samples: Mapping[str, Any], scores: Mapping[str, float], task: ImageTask) -> list[dict[str, Any]]:
    """Each with `name`, `value`, and `text` that says what it means and what to do.

    samples: of describe_samples. scores: of selection.score, for the last student.
    """
    found = [
        _collapse(samples, task), _imbalance(samples, task), _same_images(samples), _saturation(samples),
        _little_learned(scores["probe_agreement"], task.classes),
    ]  # fmt: skip
    return [one for one in found if one is not None]


def before_the_run(texts: Sequence[str]) -> list[dict[str, Any]]:
    """What preflight found, as warnings."""
    return [
        _warning("wrong mean and std" if text.startswith(PROBLEM) else "before the run", None, text) for text in texts
    ]


def of_pool(pool: ImagePool | None) -> list[dict[str, Any]]:
    """How many files of the pool had to be left out, where some had."""
    if pool is None or not pool.skipped:
        return []
    text = f"of {pool.files} image files of the pool could not be read; events.log names the first."
    return [_warning("pool files skipped", pool.skipped, text)]


def _warning(name: str, value: float | None, text: str) -> dict[str, Any]:
    return {"name": name, "value": value, "text": text}


def _collapse(samples: Mapping[str, Any], task: ImageTask) -> dict[str, Any] | None:
    """Few classes over the run, or at its end: a generator that falls late has spread its samples before."""
    whole, late = samples["class_entropy"], samples.get("late_class_entropy", 1.0)
    if min(whole, late) >= COLLAPSED_ENTROPY:
        return None
    shares = samples["class_histogram"]
    top = max(range(len(shares)), key=shares.__getitem__)
    when = "" if whole < COLLAPSED_ENTROPY else " at the end of the run, after a better start"
    return _warning(
        "collapse of classes", min(whole, late),
        f"the teacher sees few of the {task.classes} classes in the samples{when}; most often '{task.name_of(top)}' "
        f"({shares[top]:.0%}). The value is the entropy of the classes over its maximum: 1 is even, 0 a single class. "
        "The student has hardly seen the others. Raise the weight that spreads classes (dafl: entropy; others: ce), "
        "lower the generator's rate, or take a larger batch; another seed may help too.",
    )  # fmt: skip


def _imbalance(samples: Mapping[str, Any], task: ImageTask) -> dict[str, Any] | None:
    shares, count = samples["class_histogram"], samples["scored"]
    if samples["class_entropy"] < COLLAPSED_ENTROPY or count / task.classes < COUNTABLE:
        return None
    rare = sorted((share, label) for label, share in enumerate(shares) if share < RARE / task.classes)
    if not rare:
        return None
    named = ", ".join(f"'{task.name_of(label)}'" for _, label in rare[:NAMED]) + (", ..." if len(rare) > NAMED else "")
    what = "is" if len(rare) == 1 else "are"
    never = "never" if rare[-1][0] == 0 else "hardly ever"
    return _warning(
        "class imbalance", rare[0][0],
        f"{named} {what} {never} among the {count:,} samples, by the teacher's eyes; an even share would be "
        f"{1 / task.classes:.1%}. The student will seldom name what it has not seen. Raise the weight of the class "
        "loss (ce, entropy), or give the run more rounds; noise has no say in its classes.",
    )  # fmt: skip


def _same_images(samples: Mapping[str, Any]) -> dict[str, Any] | None:
    if samples["pairwise_distance"] >= SAME_IMAGES:
        return None
    return _warning(
        "identical samples", samples["pairwise_distance"],
        "mean distance between two samples, in units of the full pixel range: the samples hardly differ, so the "
        "student learned one image. Lower the generator's rate, take a longer latent code (latent) or a larger batch.",
    )  # fmt: skip


def _saturation(samples: Mapping[str, Any]) -> dict[str, Any] | None:
    if samples["saturated"] <= SATURATED:
        return None
    return _warning(
        "saturated samples", samples["saturated"],
        "share of pixels at pure black or white: the generator is stuck at the ends of its range, where no gradient "
        "moves it, or the task's mean and std are wrong for this teacher. Look at mean and std, then lower "
        "generator_lr (or pixel_lr). Drawings in plain black and white may be so by nature.",
    )  # fmt: skip


def _little_learned(agreed: float, classes: int) -> dict[str, Any] | None:
    if (agreed - 1 / classes) / (1 - 1 / classes) >= LITTLE_LEARNED:
        return None
    return _warning(
        "low agreement", agreed,
        f"on images made from the teacher alone the student names the teacher's class hardly more often than by "
        f"guessing ({1 / classes:.1%}): it has not learned what the teacher knows. If another warning speaks of the "
        "samples, mend that first; else give more budget, or a larger student.",
    )  # fmt: skip
