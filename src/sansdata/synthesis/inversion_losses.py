"""What an image is asked for: the wanted class, the data's statistics, and a student that errs (CMI; FM)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from ..contracts import Losses, Outputs
from ..method import Context
from ..objectives.batch_stats import BatchStatistics
from ..objectives.logits import cross_entropy, decision_adversarial
from .augment import Augment, augment
from .layouts import together


def inversion_losses(
    images: Tensor,
    targets: Tensor,
    context: Context,
    statistics: BatchStatistics,
    *,
    ce: float,
    bn: float,
    adversarial: float,
    view: Augment,
    taps: Sequence[str] = (),
) -> tuple[Losses, Outputs]:
    """The weighted terms on one augmented view of images (B, C, H, W) in unit space, targets (B,) or layouts
    (B, H, W), and what the teacher gave on that view, with `taps` beside those of `statistics`.

    The inversion loss of CMI, FM and NAYER in their released code. The student is asked in its present mode,
    and only where `adversarial` is not 0. The view is drawn from the stream 'synthesis-view'.
    """
    stream = context.streams("synthesis-view")
    viewed, targets = together(lambda seen: augment(seen, view, stream), images, targets)
    return inversion_terms(
        viewed, targets, context, statistics, lambda: context.student_outputs(viewed), ce=ce, bn=bn,
        adversarial=adversarial, taps=taps,
    )  # fmt: skip


def inversion_terms(
    viewed: Tensor,
    targets: Tensor,
    context: Context,
    statistics: BatchStatistics,
    student: Callable[[], Outputs],
    *,
    ce: float,
    bn: float,
    adversarial: float,
    taps: Sequence[str] = (),
) -> tuple[Losses, Outputs]:
    """The same of images as they are seen. student: its outputs on them."""
    outputs = context.teacher(viewed, tuple(dict.fromkeys((*statistics.taps, *taps))))
    losses = context.acquire_losses(viewed, outputs)
    losses.add("ce", ce, lambda: cross_entropy(outputs.logits, targets))
    losses.add("bn", bn, lambda: statistics(outputs.taps))
    losses.add("adversarial", adversarial, lambda: decision_adversarial(student().logits, outputs.logits))
    return losses, outputs
