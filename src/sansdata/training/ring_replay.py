"""Replay from stored images (MB-DFKD, Binici et al., WACV 2022): a ring of small batches, filled over the run."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .. import columns
from ..contracts import Batch, Stateful
from ..memory import Slot
from ..method import Context
from ..settings import RetainSettings


class RingReplay:
    """A share of a batch, stored at `pushes` even moments of the run; the oldest make room."""

    def __init__(self, context: Context, settings: RetainSettings) -> None:
        self.context, self.settings = context, settings
        self.ring = Slot(images=[], targets=[], pushed=0)

    def recall(self) -> Batch | None:
        """A stored batch, picked at random, with the teacher's answers; none where nothing is stored."""
        images, targets = self.ring["images"], self.ring["targets"]
        if not images:
            return None
        place = int(torch.randint(len(images), (), generator=self.context.streams("retain")))
        runtime, labels = self.context.runtime, targets[place]
        return self.context.teach(
            runtime.place(images[place]), targets=None if labels is None else labels.to(runtime.device)
        )

    def remember(self, batch: Batch, replayed: Batch | None) -> dict[str, Tensor]:
        """A share of this batch into the ring, if its moment has come."""
        settings, progress = self.settings, self.context.progress
        if int((progress.steps + 1) * settings.pushes / progress.planned) <= self.ring["pushed"]:
            return {}
        count = max(2, round(settings.share * columns.count(batch.inputs)))
        images, targets = self.ring["images"], self.ring["targets"]
        images.append(columns.each(lambda column: column[:count].detach().cpu(), batch.inputs))
        targets.append(None if batch.targets is None else batch.targets[:count].cpu())
        del images[: -settings.slots], targets[: -settings.slots]
        self.ring["pushed"] += 1
        return {}

    def state(self) -> Mapping[str, Stateful]:
        return {"memory": self.ring}
