"""How alike two models answer, and what a set of samples is like. Metrics: no gradient is meant to flow."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .logits import entropy


def agreement(a: Tensor, b: Tensor) -> float:
    """Share of samples, 0..1, on which logits a and b (B, K) decide alike."""
    return (a.argmax(1) == b.argmax(1)).float().mean().item()


def balanced_agreement(student: Tensor, teacher: Tensor) -> float:
    """Mean over the classes the teacher sees of the share that the student sees alike, 0..1.

    A generator that falls onto one class makes plain agreement look perfect; here that class counts once.
    """
    labels = teacher.argmax(1)
    return _by_class((student.argmax(1) == labels).float(), labels)


def overlap(student: Tensor, teacher: Tensor) -> Tensor:
    """(B,) what the softmax of two logits (B, K) have in common: 1 less their total variation distance, 0..1."""
    return 1 - 0.5 * (F.softmax(student, dim=1) - F.softmax(teacher, dim=1)).abs().sum(1)


def balanced_overlap(student: Tensor, teacher: Tensor) -> float:
    """Mean over the classes the teacher sees of the overlap on their samples, 0..1."""
    return _by_class(overlap(student, teacher), teacher.argmax(1))


def _by_class(values: Tensor, labels: Tensor) -> float:
    """Mean of `values` (B,) per label, then over the labels (B,) that occur."""
    return torch.stack([values[labels == c].mean() for c in labels.unique()]).mean().item()


def class_histogram(logits: Tensor) -> Tensor:
    """(K,) share of samples per argmax class."""
    return torch.bincount(logits.argmax(1), minlength=logits.shape[1]).float() / len(logits)


def class_entropy(logits: Tensor) -> float:
    """Entropy of the class histogram over ln K: 1 is even, 0 is a single class."""
    return (entropy(class_histogram(logits)) / math.log(logits.shape[1])).item()


def saturation(images: Tensor) -> float:
    """Share of pixels within 1/255 of black or white, or beyond; images in unit space."""
    return ((images <= 1 / 255) | (images >= 1 - 1 / 255)).float().mean().item()


def pairwise_distance(images: Tensor) -> float:
    """Mean root-mean-square distance per pixel between each image and the next; 0 when all are equal."""
    flat = images.flatten(1).float()
    return (flat - flat.roll(1, 0)).square().mean(1).sqrt().mean().item()


def confidence(logits: Tensor) -> float:
    """Mean of the highest softmax probability."""
    return F.softmax(logits, dim=1).amax(1).mean().item()
