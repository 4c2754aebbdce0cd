"""What a federated run came to, as a line of the terminal and as summary.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...federated.scores import rounds_to

LEVELS = tuple(round(0.05 * n, 2) for n in range(4, 20))
"""Accuracies whose first round is reported."""
SPREADS = {
    "clients_accuracy": "clients", "personal_accuracy": "personal", "local_only_accuracy": "local only",
    "majority_accuracy": "majority class",
}  # fmt: skip
"""Figures with a spread over the clients, and how they are called."""


def round_line(line: Mapping[str, Any], rounds: int) -> str:
    """A round that was measured, for a person who watches."""
    shown = [f"round {line['round'] + 1}/{rounds}"]
    for name in ("accuracy", *(key for key in line if key.startswith("accuracy_"))):
        if name in line:
            shown.append(f"{name.replace('_', ' ')} {100 * line[name]:.1f} %")
    for name, title in SPREADS.items():
        if name in line:
            shown.append(f"{title} {100 * line[name]['mean']:.1f} +- {100 * line[name]['std']:.1f} %")
    counted = {"refused": line["refused"], "lost": line["lost"], "not measured": line.get("unmeasured", [])}
    shown += [f"{len(those)} {kind}" for kind, those in counted.items() if those]
    return "  ".join([*shown, *(["undone"] if "undone" in line else [])])


def summary(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The last figures, sums over rounds, rounds to each level of accuracy. lines: at least one."""
    last = lines[-1]

    def total(direction: str) -> dict[str, int]:
        names = dict.fromkeys(name for line in lines for name in line[direction])
        return {name: sum(line[direction].get(name, 0) for line in lines) for name in names}

    measured = [line["accuracy"] for line in lines if "accuracy" in line]
    return {
        "rounds": len(lines),
        **{name: value for name, value in last.items() if "accuracy" in name},
        "accuracy_last_3": None if not measured else float(np.mean(measured[-3:])),
        "rounds_to": rounds_to(lines, LEVELS),
        "down": total("down"), "up": total("up"),
        "server_seconds": sum(line["server_seconds"] for line in lines),
        "client_seconds": sum(line["client_seconds"] for line in lines),
        "taken": sum(line["taken"] for line in lines),
        "refused": sum(len(line["refused"]) for line in lines), "lost": sum(len(line["lost"]) for line in lines),
        "undone": sum("undone" in line for line in lines),
    }  # fmt: skip
