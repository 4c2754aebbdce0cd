"""What a run tells: lines of metrics.jsonl always, progress where somebody looks, a tracker where one is asked for."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ..files import open_in_place

PLAIN_SECONDS = 15
"""Between lines when the output is no terminal."""


class MetricsLog:
    """metrics.jsonl: appended to, and cut back to a checkpoint's place on resume."""

    def __init__(self, path: Path, keep_bytes: int = 0) -> None:
        """Raises OSError, also where `path` is no file of its own."""
        self.file = open_in_place(path)
        self.file.truncate(min(keep_bytes, self.file.seek(0, os.SEEK_END)))
        self.file.seek(0, os.SEEK_END)

    def write(self, line: Mapping[str, Any]) -> None:
        self.file.write((json.dumps(line) + "\n").encode())

    @property
    def size(self) -> int:
        return self.file.tell()

    def close(self) -> None:
        self.file.close()


class Tracker(Protocol):
    """Where scalars also go. Its failure never stops a run."""

    def log(self, step: int, values: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


class TensorBoard:
    """Event files under DIR/tensorboard. Raises ImportError without the package tensorboard."""

    def __init__(self, directory: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(directory))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


def describe(line: Mapping[str, Any], eta: float, planned: int, unit: str = "images") -> str:
    """One line for a reader: where, how long still, losses by name, speed, agreement."""
    parts = [f"step {line['step']}/{planned}", f"ETA {clock(eta)}"]
    parts += [f"{name} {value:.4g}" for name, value in line["losses"].items()]
    parts.append(f"{line['samples_per_second']:.0f} {unit}/s")
    if line.get("agreement") is not None:
        parts.append(f"agreement {100 * line['agreement']:.1f} %")
    return "  ".join(parts)


def clock(seconds: float) -> str:
    whole = max(0, round(seconds))
    return (
        f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
        if whole >= 3600
        else f"{whole // 60}:{whole % 60:02d}"
    )


class PlainDisplay:
    """A line now and then: for files, pipes and CI."""

    def __init__(self, planned: int, unit: str) -> None:
        self.planned, self.unit, self._last = planned, unit, -float("inf")

    def update(self, line: Mapping[str, Any], eta: float) -> None:
        if time.monotonic() - self._last >= PLAIN_SECONDS:
            self._last = time.monotonic()
            self.say(describe(line, eta, self.planned, self.unit))

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


class LiveDisplay:
    """A bar in a terminal or notebook."""

    def __init__(self, planned: int, unit: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.planned, self.unit = planned, unit
        console = Console(stderr=True)
        columns = (TextColumn("{task.percentage:3.0f} %"), BarColumn(bar_width=20), TextColumn("{task.description}"))
        self.progress = Progress(*columns, console=console, transient=False)
        self.task = self.progress.add_task("starting", total=planned)
        self.progress.start()

    def update(self, line: Mapping[str, Any], eta: float) -> None:
        text = describe(line, eta, self.planned, self.unit).replace("[", "\\[")
        self.progress.update(self.task, total=self.planned, completed=line["step"], description=text)

    def say(self, text: str) -> None:
        self.progress.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        self.progress.stop()


class Silent:
    """For every rank but the first."""

    planned = 0

    def update(self, line: Mapping[str, Any], eta: float) -> None: ...
    def say(self, text: str) -> None: ...
    def close(self) -> None: ...


def make_display(planned: int, rank: int, unit: str) -> PlainDisplay | LiveDisplay | Silent:
    """unit: what a sample is called."""
    if rank != 0:
        return Silent()
    live = sys.stderr.isatty() or "ipykernel" in sys.modules
    return LiveDisplay(planned, unit) if live else PlainDisplay(planned, unit)
