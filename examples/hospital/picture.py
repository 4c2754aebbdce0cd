"""Accuracy on each scanner with its interval, of teacher and student, before and after the hospital taught it."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

SCANNERS = ("A", "B")


def figures(file: Path) -> dict[str, dict]:
    last = json.loads(file.read_text())["validations"][-1]
    return {one["name"]: one for one in last["figures"]}


def draw(before: Path, after: Path, target: Path) -> None:
    rows = {
        "vendor's model": ("teacher", figures(before)), "student without data": ("student", figures(before)),
        "taught on local cases": ("student", figures(after)),
    }  # fmt: skip
    matplotlib.rcParams["svg.hashsalt"] = "hospital"
    shown, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    for place, (name, (who, several)) in enumerate(rows.items()):
        chosen = [several[f"{who} accuracy, scanner: {scanner}"] for scanner in SCANNERS]
        values = [100 * one["value"] for one in chosen]
        ends = [[100 * one["interval"][end] for one in chosen] for end in (0, 1)]
        errors = [
            [value - low for value, low in zip(values, ends[0])],
            [high - value for value, high in zip(values, ends[1])],
        ]
        axes.errorbar(
            [number + 0.15 * (place - 1) for number in range(2)], values, errors, fmt="o", capsize=4, label=name
        )
    axes.set_xticks(range(2), [f"scanner {scanner}" for scanner in SCANNERS])
    axes.set_xlim(-0.5, 1.5)
    axes.set_ylabel("right answers, %")
    axes.legend(loc="lower left", fontsize="small")
    shown.savefig(target, metadata={"Date": None})
