"""Seconds and peak memory of one synthesis round and one transfer step as the sizes grow, one at a time from a base.

    python benchmarks/cost.py [--repeats 3] [--threads 2] [--json FILE] [--picture FILE] [--tiny]

Networks as in speed.py. Each phase of each point has a process of its own, because memory once taken is kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, ScalarFormatter
from ours import Ours, Size
from speed import machine, seconds
from workers import Side, Worker

BASE = Size(image=32, batch=128, width=32, classes=10)
AXES = {
    "image": ("image side, pixels", (8, 16, 32, 64)),
    "batch": ("batch, images", (32, 64, 128, 256, 512)),
    "width": ("generator width", (8, 16, 32, 64)),
    "classes": ("classes", (10, 100, 1000)),
}
PHASES = {"synthesis round": "#0072b2", "transfer step": "#c77700"}


def one_phase(size: Size, phase: str) -> Side:
    ours = Ours(size)
    if phase == "transfer step":
        ours.fill()
        return {phase: ours.transfer}
    return {phase: ours.synthesise}


def peak_memory(side: Side) -> int:
    """Bytes: the most that this process ever held. Not getrusage's figure, which a new process inherits."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def point(size: Size, repeats: int, threads: int) -> dict[str, Any]:
    """Peak bytes and seconds of each phase: the lowest of `repeats`, the first of which also sets things up."""
    figures: dict[str, Any] = {"size": dataclasses.asdict(size)}
    workers = {phase: Worker(one_phase, size, phase, threads=threads) for phase in PHASES}
    for phase, worker in workers.items():
        lowest = min(worker.ask(seconds, phase) for _ in range(repeats))
        figures[phase] = {"seconds": lowest, "peak bytes": worker.ask(peak_memory)}
        worker.close()
    print(json.dumps(figures), flush=True)
    return figures


def sizes(tiny: bool) -> list[Size]:
    """The base, and every other size that differs from it in one thing."""
    base = dataclasses.replace(BASE, image=8, batch=8, width=8) if tiny else BASE
    others = [dataclasses.replace(base, **{axis: v}) for axis, (_, values) in AXES.items() for v in values]
    if tiny:
        return [base, dataclasses.replace(base, batch=16)]
    return [base, *(size for size in others if size != base)]


def draw(figures: dict[str, Any], file: Path) -> None:
    """A column of panels for each size, seconds above memory; both scales logarithmic, so that a slope is a power."""
    rows = {"seconds": ("seconds", 1.0), "peak bytes": ("peak memory, GB", 1e9)}
    with matplotlib.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9, 4.2), dpi=120, layout="constrained")
        panels = figure.subplots(len(rows), len(AXES), sharey="row", sharex="col")
        for column, (axis, (label, _)) in enumerate(AXES.items()):
            points = along(figures, axis)
            for row, (quantity, (title, unit)) in enumerate(rows.items()):
                panel = panels[row, column]
                places = [each["size"][axis] for each in points]
                for phase, colour in PHASES.items():
                    values = [each[phase][quantity] / unit for each in points]
                    panel.plot(places, values, "o-", color=colour, markersize=3.5, linewidth=1.4, label=phase)
                panel.set_xscale("log")
                panel.set_yscale("log")
                panel.xaxis.set_major_locator(FixedLocator(places))
                panel.xaxis.set_minor_locator(NullLocator())
                panel.xaxis.set_major_formatter(ScalarFormatter())
                panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                panel.yaxis.set_minor_locator(NullLocator())
                panel.yaxis.set_major_formatter("{x:g}")
                panel.grid(color="#dfe3e8", linewidth=0.6)
                panel.set_axisbelow(True)
                if row == len(rows) - 1:
                    panel.set_xlabel(label)
                if column == 0:
                    panel.set_ylabel(title)
        lines, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(lines, labels, loc="outside upper center", ncols=len(labels), frameon=False)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, metadata={"Software": None})


def along(figures: dict[str, Any], axis: str) -> list[dict[str, Any]]:
    """The points that differ from the base in nothing but `axis`, in order."""
    base = figures["points"][0]["size"]
    same = [each for each in figures["points"] if all(each["size"][k] == v for k, v in base.items() if k != axis)]
    return sorted(same, key=lambda each: each["size"][axis])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    parser.add_argument("--picture", type=Path, help="where to draw them, a PNG file")
    parser.add_argument("--tiny", action="store_true", help="two small points only: does it run?")
    args = parser.parse_args()
    figures: dict[str, Any] = {"machine": machine(args.threads), "repeats": args.repeats, "points": []}
    for size in sizes(args.tiny):
        figures["points"].append(point(size, args.repeats, args.threads))
        if args.json is not None:  # after each, so that what was measured outlives an interruption
            args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if args.picture is not None:
        draw(figures, args.picture)


if __name__ == "__main__":
    main()
