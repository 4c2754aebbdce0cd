"""Losses between a student's and a teacher's logits, both (B, K). Each returns (B,), one value per sample.

Of logits at many positions, (B, K, ...), they return (B, ...), a value per position; `per_sample` makes (B,) of it.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """temperature^2 * KL(teacher || student) of the softened outputs (Hinton et al. 2015, eq. 1 and section 2)."""
    log_s = F.log_softmax(student / temperature, dim=1)
    log_t = F.log_softmax(teacher / temperature, dim=1)
    return temperature**2 * (log_t.exp() * (log_t - log_s)).sum(1)


def binary_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """temperature^2 * KL(teacher || student) of K softened answers yes or no that do not hang together: the sum of
    theirs."""
    s, t = student / temperature, teacher / temperature
    yes = t.sigmoid() * (F.logsigmoid(t) - F.logsigmoid(s))
    no = (-t).sigmoid() * (F.logsigmoid(-t) - F.logsigmoid(-s))
    return temperature**2 * (yes + no).sum(1)


def l1(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over classes of |S - T|: keeps its gradient where the softmax saturates (DFAD, eq. 2)."""
    return (student - teacher).abs().mean(1)


def mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over classes of (S - T)^2."""
    return (student - teacher).square().mean(1)


def disagreement_weights(student: Tensor, teacher: Tensor) -> Tensor:
    """(B,) sigmoid of the L2 distance between the logits, 0.5..1, without gradient (KD3, released).

    With many classes distances are large and all weights are near 1.
    """
    return torch.sigmoid((student - teacher).detach().norm(dim=1))


def noisy_label_loss(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """-log p(label) per sample (DFND): log_probabilities (B, K) of the noisy label, after the noise's transitions."""
    return F.nll_loss(log_probabilities, labels, reduction="none")


def decision_adversarial(student: Tensor, teacher: Tensor) -> Tensor:
    """-KL(teacher || student) where both decide alike, 0 elsewhere, to be minimised by the image maker.

    Only samples on which the student still agrees are pushed away from it (CMI, eq. 9; FM, section 3.3).
    """
    same = (student.argmax(1) == teacher.argmax(1)).to(student.dtype)
    return per_sample(-same * kl(student, teacher))


def jsd(student: Tensor, teacher: Tensor, temperature: float = 3.0) -> Tensor:
    """1/2 KL(M || P) + 1/2 KL(M || Q) of the softened outputs P, Q and their mean M, each clamped to 0.01..0.99.

    As in DeepInversion's released code: the divergences are from the mean, not to it, and after the clamp the rows need
    not sum to 1, so the value may exceed ln 2 and lie below 0.
    """
    p, q = F.softmax(student / temperature, dim=1), F.softmax(teacher / temperature, dim=1)
    m = (0.5 * (p + q)).clamp(0.01, 0.99)
    p, q = p.clamp(0.01, 0.99), q.clamp(0.01, 0.99)
    return per_sample((m * (m.log() - 0.5 * (p.log() + q.log()))).sum(1))


def jsd_adversarial(student: Tensor, teacher: Tensor, classes: Literal["sum", "mean"] = "sum") -> Tensor:
    """1 - JSD, a scalar in 0..1 to be minimised by the image maker (Adaptive DeepInversion, eq. 8).

    The batch mean is what is clamped to 0..1, as released. classes: PRE-DFKD's released code has the mean over them,
    which makes the divergence, and the pull of this term, K times smaller.
    """
    divergence = jsd(student, teacher).mean()
    if classes == "mean":
        divergence = divergence / student.shape[1]
    return 1 - divergence.clamp(0, 1)


def per_sample(values: Tensor) -> Tensor:
    """(B,) the mean over the positions of each sample of values (B, ...); what is (B,) already stays as it is."""
    return values if values.ndim < 2 else values.flatten(1).mean(1)


def in_rows(logits: Tensor) -> Tensor:
    """(B * P, K): every position as a sample of its own, of logits (B, K, ...); what is (B, K) already stays."""
    return logits if logits.ndim == 2 else logits.flatten(2).transpose(1, 2).flatten(0, 1)


def match(name: str, student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """(B,) the named loss: 'kl', 'l1' or 'mse', the mean over positions; temperature counts for 'kl' only."""
    if name == "kl":
        return per_sample(kl(student, teacher, temperature))
    return per_sample({"l1": l1, "mse": mse}[name](student, teacher))


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """CE(logits (B, K, ...), targets (B, ...) int64) per sample; of many positions the mean over those that have a
    target, which is not torch's -100."""
    values = F.cross_entropy(logits, targets, reduction="none")
    if values.ndim == 1:
        return values
    return values.flatten(1).sum(1) / (targets >= 0).flatten(1).sum(1).clamp_min(1)


def hard_cross_entropy(logits: Tensor, teacher: Tensor) -> Tensor:
    """CE of logits (B, K) against the class that the teacher's logits (B, K) name, per sample; nan where the teacher's
    are no numbers, of which `argmax` would name a class all the same."""
    values = cross_entropy(logits, teacher.argmax(1))
    return values.masked_fill(~teacher.isfinite().all(1), float("nan"))


def mixed_cross_entropy(logits: Tensor, targets: Tensor, pasted: Tensor, share: Tensor) -> Tensor:
    """(1 - share) CE(logits, targets) + share CE(logits, pasted) per sample: two images in one (CutMix, eq. 1).

    logits (B, K); targets, pasted (B,) int64; share (B,) in 0..1 of the second image.
    """
    return (1 - share) * cross_entropy(logits, targets) + share * cross_entropy(logits, pasted)


def soft_cross_entropy(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    """-sum y log softmax(logits / temperature) per sample, targets y (B, K) that sum to 1 (ZSKD, eq. 3)."""
    return -(targets * F.log_softmax(logits / temperature, dim=1)).sum(1)


def entropy(probabilities: Tensor) -> Tensor:
    """-sum p ln p over the last dimension, with 0 ln 0 = 0 and a finite gradient there.

    A confident teacher gives probabilities of exactly 0 in float32, where the true gradient -ln p - 1 is infinite.
    """
    smallest = torch.finfo(probabilities.dtype).tiny
    return -(probabilities * probabilities.clamp_min(smallest).log()).sum(-1)
