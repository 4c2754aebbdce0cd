"""Few-shot tasks out of what is remembered: some classes, images of each to learn from, others to be asked about."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ...memory import Pool


@dataclass(frozen=True)
class Episode:
    """Images (B, C, H, W) in unit space with their ways (B,) int64, class by class."""

    support: Tensor
    support_ways: Tensor
    query: Tensor
    query_ways: Tensor


def draw_episode(memory: Pool, ways: int, shots: int, queries: int, generator: Generator) -> Episode:
    """A task of `ways` classes that are remembered, evenly drawn, with `shots` and `queries` images of each.

    A class with fewer images has some of them twice. Raises RuntimeError where fewer classes are remembered.
    """
    assert memory.targets is not None
    known = memory.targets[: len(memory)]
    classes = known.unique()
    if len(classes) < ways:
        raise RuntimeError(f"{len(classes)} classes are remembered, and a task takes {ways}")
    chosen = classes[torch.randperm(len(classes), generator=generator)[:ways]]
    support, query = [], []
    for one in chosen:
        places = (known == one).nonzero().flatten()
        order = torch.randperm(len(places), generator=generator)
        drawn = places[order[torch.arange(shots + queries) % len(places)]]
        support.append(drawn[:shots])
        query.append(drawn[shots:])
    ids = torch.arange(ways)
    stored = memory.packed()
    assert isinstance(stored, Tensor)
    return Episode(
        memory.codec.unpack(stored[torch.cat(support)]), ids.repeat_interleave(shots),  # type: ignore[arg-type]
        memory.codec.unpack(stored[torch.cat(query)]), ids.repeat_interleave(queries),  # type: ignore[arg-type]
    )  # fmt: skip
