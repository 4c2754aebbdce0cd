"""The next token out of its logits, against plain Python."""

from __future__ import annotations

import math

import pytest
import torch

from sansdata.teachers.writers import sampling
from sansdata.teachers.writers.base import Debias, Decoding
from sansdata.teachers.writers.sampling import candidates, debiased, drawn


def reference(logits: list[float], how: Decoding) -> dict[int, float]:
    """Probability of each token that may be next."""
    weights = [math.exp(value / how.temperature) for value in logits]
    order = sorted(range(len(logits)), key=lambda token: -weights[token])[: how.top_k or None]
    total, kept, running = sum(weights[token] for token in order), [], 0.0
    for token in order:
        if running >= how.top_p:
            break
        kept.append(token)
        running += weights[token] / total
    mass = sum(weights[token] for token in kept)
    return {token: weights[token] / mass for token in kept}


@pytest.mark.parametrize(
    "how",
    [
        Decoding(), Decoding(top_p=1.0), Decoding(top_p=0.3), Decoding(top_k=5, top_p=1.0),
        Decoding(top_k=7, top_p=0.5), Decoding(temperature=0.2),
        Decoding(temperature=3.0, top_p=0.95), Decoding(top_k=1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("head", [4, 1024])
def test_candidates_are_the_nucleus(how: Decoding, head: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "HEAD", head)
    logits = torch.randn(6, 40, generator=torch.Generator().manual_seed(1)) * 2
    ids, shares = candidates(logits, how)
    for row in range(6):
        expected = reference(logits[row].tolist(), how)
        found = {token: share for token, share in zip(ids[row].tolist(), shares[row].tolist()) if share > 0}
        assert found == pytest.approx(expected, rel=1e-4)


def test_draws_follow_the_probabilities_and_nothing_else_is_drawn() -> None:
    how = Decoding(top_p=0.8)
    logits = torch.randn(1, 12, generator=torch.Generator().manual_seed(2)).repeat(4000, 1)
    found = drawn(logits, how, torch.linspace(0, 1, 4001, dtype=torch.float64)[:-1]).bincount(minlength=12) / 4000
    expected = reference(logits[0].tolist(), how)
    for token in range(12):
        assert float(found[token]) == pytest.approx(expected.get(token, 0.0), abs=1e-3)
    assert int(drawn(logits[:1], how, torch.ones(1, dtype=torch.float64))) in expected


def test_debiasing_is_nothing_without_decay_or_between_equal_prompts() -> None:
    logits, others = torch.randn(3, 9), torch.randn(2, 3, 9)
    assert torch.equal(debiased(logits, others, Debias(decay=0.0)), logits)
    assert torch.equal(debiased(logits, logits[None], Debias(decay=200.0)), logits)


def test_debiasing_weighs_down_what_the_other_class_would_rather_say() -> None:
    logits, others = torch.randn(2, 7), torch.randn(2, 2, 7)
    how = Debias(decay=20.0, floor=0.05)
    changed = debiased(logits, others, how).softmax(1)
    for row in range(2):
        own, rivals = logits[row].softmax(0), others[:, row].softmax(1).amax(0)
        weights = [max(math.exp(-20 * max(float(q - p), 0)), 0.05) for p, q in zip(own, rivals)]
        weighed = [float(p) * weight for p, weight in zip(own, weights)]
        assert changed[row].tolist() == pytest.approx([one / sum(weighed) for one in weighed], rel=1e-4)
