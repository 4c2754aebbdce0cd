"""What 50, 200 and 500 real cases add to a distilled student, and when synthetic inputs stop helping.

    python benchmarks/few_real.py RUN [--train DATA] [--test DATA] [--counts 50 200 500] [--seeds 3] [--json FILE]

RUN: a run directory of a classifier that kept its inputs. Three arms for each number of cases: a fresh network of the
student's architecture on the real cases alone, the same on real cases and synthetic inputs, and the distilled student
fine-tuned.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch import nn

import sansdata
from sansdata.api.finetune import synthetic_answers
from sansdata.audit.evidence import as_kind_set
from sansdata.datasets.labelled import KindSet
from sansdata.datasets.load import load_set
from sansdata.errors import DataError
from sansdata.finetuning.loop import Synthetic, fine_tune, real_loss, synthetic_loss
from sansdata.finetuning.settings import FineTuneSettings
from sansdata.models.build import build
from sansdata.models.saved import read_model
from sansdata.network import Network
from sansdata.streams import Streams
from sansdata.tasks import Task

ARMS = ("real alone", "real and synthetic", "fine-tuned")
STEPS, RATE = 600, 1e-3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--counts", type=int, nargs="+", default=[50, 200, 500])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    run = sansdata.load(given.run)
    architecture = read_model(given.run / "student.safetensors").architecture
    torch.manual_seed(0)
    fresh = build(architecture)
    real, test = (as_kind_set(load_set(spec, run.task), run.task) for spec in (given.train, given.test))
    made, network = synthetic_answers(given.run, run.task), Network.of(run.student, run.task)
    started, trials = time.perf_counter(), []
    for one in few_real(
        network, fresh, run.task, real, test, made, given.counts, range(given.seeds), FineTuneSettings(), given.steps
    ):
        trials.append(vars(one))
        print(f"{one.arm:<20} {one.count:5} cases, seed {one.seed}: accuracy {one.accuracy:.4f}  AUROC {one.auroc:.4f}"
              f"   {time.perf_counter() - started:.0f} s", flush=True)  # fmt: skip
        if given.json:
            given.json.write_text(json.dumps(trials, indent=1) + "\n")
    _say(trials)


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


def _say(trials: list[dict[str, Any]]) -> None:
    """Mean over the seeds, a row for each number of cases."""
    print(f"\n{'cases':>6}" + "".join(f"{arm:>22}" for arm in ARMS))
    for count in sorted({one["count"] for one in trials}):
        cells = []
        for arm in ARMS:
            several = [one["accuracy"] for one in trials if (one["arm"], one["count"]) == (arm, count)]
            cells.append(f"{100 * np.mean(several):15.2f} ± {100 * np.std(several):4.2f}" if several else f"{'-':>22}")
        print(f"{count:>6}" + "".join(cells))


if __name__ == "__main__":
    main()
