"""What 50, 200 and 500 real cases add to a distilled student, and when synthetic inputs stop helping.

    python benchmarks/few_real.py RUN [--train DATA] [--test DATA] [--counts 50 200 500] [--seeds 3] [--json FILE]

RUN: a run directory of a classifier that kept its inputs. Three arms for each number of cases: a fresh network of the
student's architecture on the real cases alone, the same on real cases and synthetic inputs, and the distilled student
fine-tuned.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

import sansdata
from sansdata.api.finetune import synthetic_answers
from sansdata.audit.evidence import as_kind_set
from sansdata.datasets.load import load_set
from sansdata.finetuning.few_real import STEPS, few_real
from sansdata.finetuning.settings import FineTuneSettings
from sansdata.models.build import build
from sansdata.models.saved import read_model
from sansdata.network import Network


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


def _say(trials: list[dict[str, Any]]) -> None:
    """Mean over the seeds, a row for each number of cases."""
    print(f"\n{'cases':>6}" + "".join(f"{arm:>22}" for arm in ("real alone", "real and synthetic", "fine-tuned")))
    for count in sorted({one["count"] for one in trials}):
        cells = []
        for arm in ("real alone", "real and synthetic", "fine-tuned"):
            several = [one["accuracy"] for one in trials if (one["arm"], one["count"]) == (arm, count)]
            cells.append(f"{100 * np.mean(several):15.2f} ± {100 * np.std(several):4.2f}" if several else f"{'-':>22}")
        print(f"{count:>6}" + "".join(cells))


if __name__ == "__main__":
    main()
