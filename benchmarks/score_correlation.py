"""Does the data-free score rank runs as real accuracy does? Rank correlation over run directories, and a scatter plot.

    python benchmarks/score_correlation.py RUN... --data fashion-mnist [--held-out 5000] --json FILE
    python benchmarks/score_correlation.py --plot FILE.svg --of FILE.json...

Accuracy is taken on images held out of the *training* set, never on the test set. Scores are taken anew, from the
students and the teacher that the runs' config.yaml name, so that runs of an older version can be judged too.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from matplotlib.figure import Figure

import sansdata
from sansdata.config import read_yaml
from sansdata.datasets.images import holdout, load_images
from sansdata.datasets.imageset import ImageSet
from sansdata.engine import selection
from sansdata.engine.probes import make_probes
from sansdata.evaluate.labelled import evaluate_model
from sansdata.evaluate.snapshots import predictor
from sansdata.objectives import agreement
from sansdata.runtime import Runtime
from sansdata.tasks import load_task
from sansdata.teachers.specs import load_teacher


def ranks(values: Sequence[float]) -> np.ndarray:
    """1 for the lowest; equal values share the mean of their ranks."""
    array = np.asarray(values, dtype=np.float64)
    return np.array([(array < v).sum() + ((array == v).sum() + 1) / 2 for v in array])


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's rank correlation, -1..1; nan where one of the two is constant."""
    a, b = ranks(one), ranks(other)
    if a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


class Judge:
    """Teachers with their probe images, and the held-out set, each made once."""

    def __init__(self, data: str, held_out: int) -> None:
        self.data, self.held_out, self.runtime = data, held_out, Runtime()
        self.teachers: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self.images: dict[Any, ImageSet] = {}

    def __call__(self, directory: Path) -> dict[str, Any]:
        """Name, method, seed, steps, accuracy, score and agreement of a finished run."""
        config, result = read_yaml(directory / "config.yaml"), sansdata.load(directory)
        probes, answers = self._teacher(config)
        predict = predictor(result.student, result.task, self.runtime)
        with torch.no_grad():
            logits = torch.cat([predict(part.float() / 255) for part in probes.split(selection.BATCH)])
        return {
            "run": directory.resolve().name, "method": config["method"], "seed": config["seed"],
            "steps": result.summary["steps"], "options": config["options"],
            "accuracy": evaluate_model(predict, self._held(result.task), result.task).accuracy,
            "score": agreement.balanced_overlap(logits, answers), "agreement": result.summary["agreement"]["last"],
        }  # fmt: skip

    def _teacher(self, config: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Probe images uint8 (N, C, H, W) and the teacher's logits (N, K) on them."""
        key = json.dumps([config["teacher"], config["task"]])
        if key not in self.teachers:
            teacher = load_teacher(config["teacher"], load_task(config["task"])).to(self.runtime)
            probes = make_probes(teacher, self.runtime).packed
            with torch.no_grad():
                answers = torch.cat([teacher(part.float() / 255).logits for part in probes.split(selection.BATCH)])
            self.teachers[key] = probes, answers
        return self.teachers[key]

    def _held(self, task: sansdata.ImageTask) -> ImageSet:
        if task not in self.images:
            self.images[task] = holdout(load_images(self.data, task, "train"), self.held_out, seed=0)[1]
        return self.images[task]


def plot(teachers: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Score and agreement against accuracy, a row per teacher and a colour per method."""
    methods = list(dict.fromkeys(row["method"] for rows in teachers.values() for row in rows))
    figure = Figure(figsize=(9, 3.4 * len(teachers)), layout="constrained")
    panels = figure.subplots(len(teachers), 2, squeeze=False)
    for (teacher, rows), pair in zip(teachers.items(), panels):
        for axes, name in zip(pair, WHAT):
            for place, method in enumerate(methods):
                own = [row for row in rows if row["method"] == method]
                x, y = ([100 * row[key] for row in own] for key in (name, "accuracy"))
                axes.plot(x, y, "o", color=f"C{place}", markersize=5, alpha=0.8, label=method)
            both = [[row[key] for row in rows] for key in (name, "accuracy")]
            axes.set_title(f"{teacher}: rank correlation {spearman(*both):.2f}, {len(rows)} runs", fontsize=10)
            axes.set_xlabel(WHAT[name])
            axes.grid(alpha=0.3)
        pair[0].set_ylabel("accuracy on held-out\nreal images, %")
    panels[0][0].legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


WHAT = {"score": "score on probe images, %", "agreement": "agreement on the run's own samples, %"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument("--data", help="a known set, with a training split")
    parser.add_argument("--held-out", type=int, default=5000, help="images of the training set, classes in proportion")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures of one teacher's runs")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a scatter plot, .svg or .png")
    parser.add_argument("--of", nargs="+", type=Path, default=[], metavar="FILE", help="figures to plot, by teacher")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.runs:
        rows = judged(args.runs, args.data, args.held_out)
        if args.json:
            args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        plot({file.stem: json.loads(file.read_text(encoding="utf-8")) for file in args.of}, args.plot)


def judged(runs: Sequence[Path], data: str, held_out: int) -> list[dict[str, Any]]:
    """The figures of every run, printed from worst to best, with both rank correlations."""
    judge = Judge(data, held_out)
    rows = [judge(run) for run in runs]
    for row in sorted(rows, key=lambda row: row["accuracy"]):
        print(f"{row['run']:40}", *(f"{name} {row[name]:.3f} " for name in ("accuracy", "score", "agreement")))
    for name in WHAT:
        value = spearman([row[name] for row in rows], [row["accuracy"] for row in rows])
        print(f"rank correlation of {name} with accuracy over {len(rows)} runs: {value:.3f}")
    return rows


if __name__ == "__main__":
    main()
