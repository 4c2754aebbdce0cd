"""What the samples were like, and what went wrong, named and with a number."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..memory import dequantise
from ..objectives import agreement

COLLAPSED_ENTROPY = 0.6
UNEVEN_SHARE = 0.1
SAME_IMAGES = 0.02
SATURATED = 0.6
LOW_AGREEMENT = 0.6


def describe_samples(images: Tensor, logits: Tensor) -> dict[str, Any]:
    """images uint8 (N, C, H, W), logits (N, K) of the teacher on them."""
    return {
        "class_histogram": [round(v, 6) for v in agreement.class_histogram(logits).tolist()],
        "class_entropy": agreement.class_entropy(logits),
        "confidence": agreement.confidence(logits),
        "saturated": agreement.saturation(dequantise(images)),
        "pairwise_distance": agreement.pairwise_distance(dequantise(images)),
        "scored": len(images),
    }


def warnings(samples: dict[str, Any], last_agreement: float, classes: int) -> list[dict[str, Any]]:
    """Each with `name`, `value`, and `text` that says what it means and what may help."""
    found = []

    def warn(name: str, value: float, text: str) -> None:
        found.append({"name": name, "value": value, "text": text})

    if samples["class_entropy"] < COLLAPSED_ENTROPY:
        warn(
            "collapse of classes", samples["class_entropy"],
            f"the teacher sees few of the {classes} classes in the samples (entropy over its maximum; 1 is even): the "
            "student has not seen the others. Raise the weight that spreads classes, or the batch.",
        )  # fmt: skip
    elif (least := min(samples["class_histogram"])) < UNEVEN_SHARE / classes:
        warn(
            "class imbalance", least,
            f"the rarest class makes up this share of the samples; even would be {1 / classes:.3g}.",
        )  # fmt: skip
    if samples["pairwise_distance"] < SAME_IMAGES:
        warn(
            "identical samples", samples["pairwise_distance"],
            "mean distance between two samples, in units of the full pixel range: the samples hardly differ.",
        )  # fmt: skip
    if samples["saturated"] > SATURATED:
        warn(
            "saturated samples", samples["saturated"],
            "share of pixels at black or white: the generator is stuck at its limits, or the task's mean and std are "
            "wrong for this teacher. Images with a plain background can be so by nature.",
        )  # fmt: skip
    if last_agreement < LOW_AGREEMENT:
        warn(
            "low agreement", last_agreement,
            "the student does not yet answer like the teacher on the samples: more budget, or a larger student.",
        )  # fmt: skip
    return found
