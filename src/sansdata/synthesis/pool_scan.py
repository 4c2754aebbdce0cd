"""A network's answers on many images of the pool, a chunk a move, so that a run can stop in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..contracts import Outputs
from ..method import Context
from .given import pool_of

BATCH = 256
"""Images that a network is run on at once."""


class PoolScan:
    """logits: (n, K) on the images `ids` (n,) of the pool, in eval mode and as they lie there: views are for teaching.

    Deviation: KD3's released code scores randomly augmented images, so that scores change between epochs by chance.
    """

    def __init__(self, context: Context, ids: Tensor, moves: int) -> None:
        """moves: in how many chunks a whole scan is made; some are empty where there are fewer images."""
        self.context, self.ids, self.moves = context, ids, moves
        self.logits = torch.zeros(len(ids), context.task.classes)
        self.next = 0

    def step(self, answer: Callable[[Tensor], Outputs]) -> bool:
        """Asks `answer`, images (B, C, H, W) in unit space to outputs, about the next chunk. True after the last."""
        start, end = (len(self.ids) * at // self.moves for at in (self.next, self.next + 1))
        pool, place = pool_of(self.context), self.context.runtime.place
        with torch.no_grad():
            for first in range(start, end, BATCH):
                here = slice(first, min(first + BATCH, end))
                self.logits[here] = answer(place(pool.at(self.ids[here]))).logits.float().cpu()
        self.next = (self.next + 1) % self.moves
        return self.next == 0

    def state_dict(self) -> Mapping[str, Any]:
        return {"logits": self.logits, "next": self.next}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.logits, self.next = state["logits"].cpu(), state["next"]


def short_scan(moves: int, share: float) -> dict[str, float]:
    """The settings `scan_moves` and `share` of a scan of at most 5 moves, each as long as one of the whole scan."""
    fewer = min(moves, 5)
    return {"scan_moves": fewer, "share": share * fewer / moves}


def best_of(ids: Tensor, worth: Tensor, passes: Tensor, least: int) -> Tensor:
    """The ids (n,) that pass, bool (n,); where they are fewer than `least`, the `least` of the highest worth (n,)."""
    if int(passes.sum()) >= min(least, len(ids)):
        return ids[passes]
    return ids[worth.topk(min(least, len(ids))).indices.sort().values]
