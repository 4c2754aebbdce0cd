"""How far few real cases reach, with and without synthetic inputs: when do synthetic inputs stop helping?"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..datasets.labelled import KindSet
from ..errors import DataError
from ..network import Network
from ..streams import Streams
from ..tasks import Task
from .loop import Synthetic, fine_tune, real_loss, synthetic_loss
from .settings import FineTuneSettings

ARMS = ("real alone", "real and synthetic", "fine-tuned")
STEPS, RATE = 600, 1e-3


@dataclass(frozen=True)
class Trial:
    """arm: 'real alone' and 'real and synthetic' begin from the same random weights; 'fine-tuned' is the distilled
    student, taught on the last layers. count: real cases. accuracy and auroc (of two classes, else nan): on the test
    set."""

    arm: str
    count: int
    seed: int
    accuracy: float
    auroc: float


def few_real(
    student: Network, fresh: nn.Module, task: Task, real: KindSet, test: KindSet, synthetic: Synthetic,
    counts: Sequence[int], seeds: Sequence[int], settings: FineTuneSettings, steps: int = STEPS,
) -> Iterator[Trial]:  # fmt: skip
    """A trial of every arm for each number of cases and seed, and first the student as it is (0 cases).

    student: distilled. fresh: a module of the same architecture with random weights; both are copied. The cases of a
    smaller number are among those of a larger one of the same seed; a quarter of them stop the fine-tuning. Raises
    DataError where there are fewer real cases than asked.
    """
    if max(counts) > len(real) or min(counts) < 8:
        raise DataError(f"asked for {min(counts)} to {max(counts)} real cases; there are {len(real)}, and 8 are needed")
    yield Trial("fine-tuned", 0, 0, *measured(student, test))
    for seed in seeds:
        order = np.random.RandomState(seed).permutation(len(real))
        for count in counts:
            cases = real.subset(order[:count])
            for arm in ARMS[:2]:
                network = student.around(copy.deepcopy(fresh))
                _from_scratch(network, task, cases, synthetic if arm == ARMS[1] else None, settings, seed, steps)
                yield Trial(arm, count, seed, *measured(network, test))
            network = student.around(copy.deepcopy(student.module))
            stop = np.arange(count) % 4 == 0
            tuning, stopping = (cases.subset(np.flatnonzero(which)) for which in (~stop, stop))
            fine_tune(network, task, tuning, stopping, synthetic, settings, seed)
            yield Trial("fine-tuned", count, seed, *measured(network, test))


def measured(network: Network, test: KindSet) -> tuple[float, float]:
    """(accuracy, area under the ROC curve of class 1 where there are two, else nan)."""
    parts = []
    network.module.eval()
    with torch.no_grad():
        for inputs, _ in test.batches(256):
            parts.append(network(inputs).value)
    logits = torch.cat(parts).numpy()
    right = float((logits.argmax(1) == test.labels).mean())
    if logits.shape[1] != 2:
        return right, float("nan")
    from sklearn.metrics import roc_auc_score

    return right, float(roc_auc_score(test.labels, logits[:, 1] - logits[:, 0]))


def _from_scratch(
    network: Network, task: Task, cases: KindSet, synthetic: Synthetic | None, settings: FineTuneSettings, seed: int,
    steps: int,
) -> None:  # fmt: skip
    """All weights, by the cases and, where given, by the teacher's answers to synthetic inputs, each at full weight."""
    streams = Streams(seed)
    network.module.train().requires_grad_(True)
    optimiser = torch.optim.Adam(network.module.parameters(), RATE)
    for _ in range(steps):
        ids = torch.randint(0, len(cases), (settings.batch,), generator=streams("cases"))
        loss = real_loss(network, task, cases, ids)
        if synthetic is not None:
            chosen = torch.randint(0, len(synthetic), (settings.batch,), generator=streams("synthetic"))
            loss = loss + synthetic_loss(network, task, synthetic, chosen, settings.temperature)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
