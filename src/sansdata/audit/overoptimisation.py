"""C: whether the student has learned its teacher, or only the teacher on what both were shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import columns
from ..contracts import Access
from ..evaluate.labelled import Predict
from ..figures import Drawing, Warned
from ..kinds.outputs.class_metrics import wilson_interval
from ..streams import Streams
from ..validation.resampling import Estimate, Share, interval_of, resamples
from .evidence import Answered, Evidence
from .levels import Entry, Level, Unmeasured, entry

WIDE = 0.1
"""A gap of agreement from which a student is over-fitted to its synthetic inputs: the methods card's."""
FEW, ATTACKED = 1000, 256
"""Inputs that are corrupted, and those that are attacked, spread evenly over their set."""
SEVERITIES = (1, 2, 3)
EPSILON, STEPS = 4 / 255, 10
"""Of PGD, in units of the pixel range; each step is a quarter of epsilon (Madry et al. 2018)."""
Found = Entry | Unmeasured | Drawing | Warned


def over_optimisation(evidence: Evidence) -> Iterator[Found]:
    """C8 to C10."""
    yield from fidelity_gap(evidence)
    yield from _selection(evidence)
    yield from robustness(evidence)


def fidelity_gap(evidence: Evidence) -> Iterator[Found]:
    """C8: agreement on what the student learned from, less that elsewhere."""
    sets = evidence.sets()
    learned, _ = sets["training synthetic"]
    if len(sets) == 1:
        yield Unmeasured(
            "C8", "fidelity gap",
            "inputs that the student did not learn from: another run's (--held-out DIR) or natural ones (--inputs)",
        )  # fmt: skip
    for name, (data, level) in sets.items():
        if data is learned:
            continue
        gap = difference_of_agreement(learned, data)
        caveat = "agreement on what it learned from, less agreement here; near 0: it learned its teacher"
        yield entry("C8", f"fidelity gap to {name}", gap, len(data), level, caveat, "number", "lower")
        if gap.value > WIDE and gap.interval is not None and gap.interval[0] > 0:
            yield Warned(
                f"over-fitted to synthetic inputs, beside {name}", gap.value,
                "the student agrees with its teacher on what it learned from and much less elsewhere: the value is the "
                "gap. More samples or rounds help, not more steps on the same ones.",
            )  # fmt: skip


def difference_of_agreement(one: Answered, other: Answered) -> Estimate:
    """Share of the first on which student and teacher agree, less that of the second, each drawn again by itself."""
    same = [data.student.argmax(1) == data.teacher.argmax(1) for data in (one, other)]
    drawn = []
    for seed, which in enumerate(same):
        parts = [weights @ which / weights.sum(1) for weights in resamples(np.arange(len(which)), seed=seed)]
        drawn.append(np.concatenate(parts))
    gap, fewer = float(same[0].mean() - same[1].mean()), min(map(len, same))
    return Estimate(gap, interval_of(drawn[0] - drawn[1], gap, lambda: Share(fewer, -1.0)))


def _selection(evidence: Evidence) -> Iterator[Found]:
    """C9: by what the student was chosen, as the run says it."""
    if not evidence.chosen_by:
        yield Unmeasured("C9", "selection rule", "a run that records how a snapshot was preferred")
    else:
        evidence.notes.append(f"[C9] the run preferred a snapshot by {evidence.chosen_by}; no real label had a say")


# -- C10


def corruptions() -> dict[str, Callable[[Tensor, int], Tensor]]:
    """Name -> (images (B, C, H, W) in 0..1, severity 1 to 3) -> the same, a little worse."""
    return {"noise": _noise, "blur": _blur, "shift": _shift}


def robustness(evidence: Evidence) -> Iterator[Found]:
    """C10: agreement on inputs that are a little worse, and under attack of natural ones."""
    if evidence.task.pair[0] != "image":
        yield Unmeasured("C10", "robustness drift", "images: what a small corruption is, other kinds do not say")
        return
    level = Level.L0 if evidence.natural is None else Level.L1
    data = evidence.natural or evidence.held_out or evidence.synthetic
    few = columns.evenly(data.packed, FEW)
    images = evidence.unpacked(few)
    assert isinstance(images, Tensor)
    curves: dict[str, list[list[float]]] = {}
    for name, worsen in corruptions().items():
        points = [[0.0, 100 * _agreement(evidence, images)[0]]]
        for severity in SEVERITIES:
            share, count = _agreement(evidence, worsen(images, severity))
            points.append([float(severity), 100 * share])
            caveat = f"agreement where the images have {name} of severity {severity} of 3; the teacher sees them too"
            estimate = Estimate(share, wilson_interval(round(share * count), count))
            yield entry("C10", f"agreement under {name} {severity}", estimate, count, level, caveat, "share", "higher")
        curves[name] = points
    yield Drawing("agreement under corruption", "curve", curves, "up: agreement in per cent; right: severity, 0 none")
    yield from _attacked(evidence)


def _attacked(evidence: Evidence) -> Iterator[Found]:
    if evidence.natural is None or evidence.forward is None or evidence.teacher.access < Access.GRADIENTS:
        yield Unmeasured("C10", "adversarial gap", "natural images (--inputs) and a teacher that gives gradients")
        return
    few = columns.evenly(evidence.natural.packed, ATTACKED)
    images = evidence.unpacked(few)
    assert isinstance(images, Tensor)
    for who, ask in (("teacher", lambda x: evidence.teacher(x).value), ("student", evidence.forward)):
        before = _classes(ask, images)
        after = _classes(ask, attacked(ask, images, before))
        kept = after == before
        estimate = Estimate(float(kept.float().mean()), wilson_interval(int(kept.sum()), len(kept)))
        caveat = f"share of answers that stand under PGD of {EPSILON * 255:.0f} grey levels; one attack of many"
        yield entry("C10", f"{who} under PGD", estimate, len(kept), Level.L1, caveat, "share", "higher")


def attacked(ask: Predict, images: Tensor, labels: Tensor) -> Tensor:
    """images (B, C, H, W) in 0..1 moved within EPSILON of themselves, uphill in the loss of `labels` (B,)."""
    moved = images.clone()
    for _ in range(STEPS):
        leaf = moved.detach().requires_grad_(True)
        loss = F.cross_entropy(ask(leaf), labels, reduction="sum")
        (slope,) = torch.autograd.grad(loss, leaf)
        moved = leaf.detach() + EPSILON / 4 * slope.sign()
        moved = torch.min(torch.max(moved, images - EPSILON), images + EPSILON).clamp(0, 1)
    return moved


def _classes(ask: Predict, images: Tensor) -> Tensor:
    with torch.no_grad():
        return ask(images).argmax(1).cpu()


def _agreement(evidence: Evidence, images: Tensor) -> tuple[float, int]:
    same = []
    with torch.no_grad():
        for part in images.clamp(0, 1).split(256):
            theirs, ours = evidence.teacher(part).value.argmax(1).cpu(), evidence.ask(part).argmax(1).cpu()
            same.append(theirs == ours)
    whole = torch.cat(same)
    return float(whole.float().mean()), len(whole)


def _noise(images: Tensor, severity: int) -> Tensor:
    return images + 0.04 * severity * torch.randn(images.shape, generator=Streams(severity)("audit noise"))


def _blur(images: Tensor, severity: int) -> Tensor:
    """Gaussian, 0.5 pixels wide for each severity."""
    width = 0.5 * severity
    places = torch.arange(-2 * severity, 2 * severity + 1, dtype=images.dtype)
    line = torch.exp(-(places**2) / (2 * width**2))
    line = line / line.sum()
    channels = images.shape[1]
    padded = F.pad(images, (2 * severity,) * 4, mode="replicate")
    across = F.conv2d(padded, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(across, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)


def _shift(images: Tensor, severity: int) -> Tensor:
    """By a pixel down and right for each severity, the edge repeated."""
    height, width = images.shape[2:]
    padded = F.pad(images, (severity, 0, severity, 0), mode="replicate")
    return padded[:, :, :height, :width]
