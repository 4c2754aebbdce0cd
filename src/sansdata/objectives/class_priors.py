"""What a generator is asked of without data: confident, spread over classes, strongly felt (DAFL, section 3)."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from .logits import cross_entropy, entropy, in_rows


def one_hot(logits: Tensor) -> Tensor:
    """CE of logits (B, K) with their own argmax, per sample (DAFL, eq. 4)."""
    return cross_entropy(logits, logits.argmax(1))


def information_entropy(logits: Tensor) -> Tensor:
    """sum p log10 p of the batch-mean softmax: lowest, -log10 K, when classes are even (DAFL, eq. 6).

    Base 10 as in the released code: with natural logarithms its weight would count 2.3 times as much.
    """
    return evenness(logits) / math.log(10)


def evenness(logits: Tensor) -> Tensor:
    """sum p ln p of the softmax, mean over the batch and the positions of logits (B, K, ...), a scalar: lowest, -ln K,
    when classes are even (MosaicKD, released)."""
    return -entropy(F.softmax(in_rows(logits), dim=1).mean(0))


def activation(features: Tensor) -> Tensor:
    """-mean |f| of penultimate features (B, D), per sample: real images excite more units (DAFL, eq. 5)."""
    return -features.flatten(1).abs().mean(1)
