"""The reader of contexts: what lies behind a text changes nothing, and no place without a token is an answer."""

from __future__ import annotations

import torch

from sansdata.models.span_nets import OUT, SpanReader


def test_padding_changes_nothing_and_is_no_answer() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        reader = SpanReader(30, 8).eval()
        first, second = torch.randint(30, (3, 9)), torch.randint(30, (3, 5))
    masks = torch.arange(9)[None] < torch.tensor([[9], [5], [1]]), torch.arange(5)[None] < torch.tensor([[5], [2], [1]])
    with torch.no_grad():
        logits = reader(first, masks[0], second, masks[1])
        other = reader(first.masked_fill(~masks[0], 7), masks[0], second.masked_fill(~masks[1], 7), masks[1])
        short = reader(first[1:2, :5], masks[0][1:2, :5], second[1:2, :2], masks[1][1:2, :2])
    assert logits.shape == (3, 9, 2)
    assert torch.allclose(logits, other, atol=1e-6)
    assert torch.allclose(logits[1, :5], short[0], atol=1e-5)
    assert bool((logits[~masks[0]] == OUT).all())
