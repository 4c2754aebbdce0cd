"""Seconds per phase: our FM synthesis round and transfer step beside a plain loop written as research code often is.

    python benchmarks/speed.py [--batch 256] [--repeats 5] [--threads 2] [--json FILE]

ResNet-56 teacher, ResNet-20 student, 32x32 colour images, generator of width 64, k = 5. Each side has a process of its
own and they run in turn, one waiting while the other computes; the figure to quote is the median of the paired ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from budget import budget, matrix_rate
from ours import Ours, Size
from plain import Plain
from workers import Side, Worker

from sansdata import __version__
from sansdata.engine.manifest import processor
from sansdata.runtime import make_runtime

SYNTHESIS, TRANSFER = "synthesis round", "transfer step"
HALF, VIEWS = "transfer step, half the batch", "transfer step, fresh views"


def our_side(size: Size) -> Side:
    return sides(Ours(size), Ours(halved(size)), Ours(size, view="crop+flip"))


def plain_side(size: Size, folder: Path) -> Side:
    folders = [folder / name for name in ("whole", "half", "views")]
    for each in folders:
        each.mkdir()
    return sides(Plain(size, folders[0]), Plain(halved(size), folders[1]), Plain(size, folders[2], views=True))


def sides(whole: Ours | Plain, half: Ours | Plain, views: Ours | Plain) -> Side:
    half.fill()
    views.fill()
    return {SYNTHESIS: whole.synthesise, TRANSFER: whole.transfer, HALF: half.transfer, VIEWS: views.transfer}


def halved(size: Size) -> Size:
    return Size(size.image, size.batch // 2, size.width, size.classes)


# -- questions to a worker


def seconds(side: Side, phase: str) -> float:
    start = time.perf_counter()
    side[phase]()
    return time.perf_counter() - start


def budget_of(side: Side, phase: str) -> dict[str, Any]:
    return budget(side[phase])


def rate(side: Side, precision: str) -> float:
    return matrix_rate(precision)


def compare(plain: Worker, ours: Worker, phase: str, repeats: int) -> dict[str, Any]:
    """Paired times after one run that does not count, and their medians."""
    plain.ask(seconds, phase), ours.ask(seconds, phase)
    pairs = [(plain.ask(seconds, phase), ours.ask(seconds, phase)) for _ in range(repeats)]
    ratios = [theirs / mine for theirs, mine in pairs]
    print(phase, [(round(theirs, 3), round(mine, 3)) for theirs, mine in pairs], file=sys.stderr, flush=True)
    return {
        "plain s": statistics.median(theirs for theirs, _ in pairs),
        "ours s": statistics.median(mine for _, mine in pairs),
        "ratio": statistics.median(ratios),
        "lowest ratio": min(ratios),
        "highest ratio": max(ratios),
    }


def measure(size: Size, repeats: int, threads: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        plain, ours = Worker(plain_side, size, Path(folder), threads=threads), Worker(our_side, size, threads=threads)
        figures = {phase: compare(plain, ours, phase, repeats) for phase in (SYNTHESIS, TRANSFER, HALF, VIEWS)}
        rates = {precision: ours.ask(rate, precision) for precision in ("fp32", "bf16")}
        budgets = {
            name: {phase: worker.ask(budget_of, phase) for phase in (SYNTHESIS, TRANSFER)}
            for name, worker in (("ours", ours), ("plain", plain))
        }
        plain.close(), ours.close()
    return {
        "size": vars(size), "repeats": repeats, "precision": make_runtime().precision, "phases": figures,
        "matrix FLOP/s": rates, "budgets": budgets,
    }  # fmt: skip


def machine(threads: int) -> dict[str, Any]:
    return {
        "processor": processor(), "cores": os.cpu_count(), "threads": threads, "torch": torch.__version__,
        "sansdata": __version__, "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="where to keep the figures, beside printing them")
    args = parser.parse_args()
    figures = {"machine": machine(args.threads)} | measure(Size(batch=args.batch), args.repeats, args.threads)
    text = json.dumps(figures, indent=1)
    print(text)
    if args.json is not None:
        args.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
