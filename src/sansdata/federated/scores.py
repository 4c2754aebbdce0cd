"""How good the models are: on the whole test set, and on each client's own mix of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..decoding import pixels
from ..models.modes import fixed
from ..network import Network
from ..runtime import Runtime
from ..tasks import Task

BATCH = 500


@dataclass(frozen=True, eq=False)
class TestSet:
    """images uint8 (N, C, H, W), labels (N,); per_client: index lists into them, empty where nothing fits a client."""

    __test__ = False  # no test of ours, whatever pytest thinks of the name

    images: Tensor
    labels: Tensor
    per_client: tuple[np.ndarray, ...]

    def correct(self, model: nn.Module, task: Task, runtime: Runtime, ids: np.ndarray | None = None) -> np.ndarray:
        """(N,) bool, in eval mode and without gradient; only the images at `ids` where given."""
        place = torch.arange(len(self.labels)) if ids is None else torch.from_numpy(ids)
        right = []
        with fixed(model), torch.no_grad():
            for chunk in place.split(BATCH):
                inputs = runtime.place(pixels.unpack(self.images[chunk]))
                logits = runtime.forward(Network.of(model, task), inputs, counters=None).logits
                right.append(logits.argmax(1).cpu() == self.labels[chunk])
        return torch.cat(right).numpy()


def spread(accuracies: Sequence[float]) -> dict[str, float]:
    """Mean, standard deviation, lowest, and the mean of the worst tenth of the clients (at least one)."""
    values = np.sort(np.asarray(accuracies, dtype=np.float64))
    tenth = values[: max(1, round(len(values) / 10))]
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "lowest": float(values[0]),
        "worst_tenth": float(tenth.mean()),
    }


def majority_share(counts: Tensor, labels: Tensor) -> float:
    """How many of a client's test labels (N,) are of the class that it has most training images of, counts (K,): what
    one gets without any network."""
    return float((labels == int(counts.argmax())).float().mean())


def rounds_to(lines: Sequence[Mapping], levels: Sequence[float]) -> dict[str, int | None]:
    """For each level of global accuracy, after how many rounds it was first measured; None where it never was."""
    measured = [(line["round"] + 1, line["accuracy"]) for line in lines if line.get("accuracy") is not None]
    return {f"{level:g}": next((n for n, accuracy in measured if accuracy >= level), None) for level in levels}
