"""What a run tells: lines of metrics.jsonl always, progress where somebody looks, a tracker where one is asked for."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from ..errors import MissingLibraryError
from ..files import open_in_place
from ..process_group import is_first_process
from .run_directory import RunDirectory

PLAIN_SECONDS = 15
"""Between lines when the output is no terminal."""
LIVE_SECONDS = 0.2
"""Between drawings of the bar in a terminal."""


def announce(text: str) -> None:
    """A line for whoever watches the run, from the first process alone. A closed terminal stops nothing."""
    if is_first_process():
        with contextlib.suppress(OSError, ValueError):
            print(text, file=sys.stderr, flush=True)


class MetricsLog:
    """metrics.jsonl: appended to, and cut back to a checkpoint's place on resume."""

    def __init__(self, path: Path, keep_bytes: int = 0) -> None:
        """Raises OSError, also where `path` is no file of its own."""
        self.file = open_in_place(path)
        self.file.truncate(min(keep_bytes, self.file.seek(0, os.SEEK_END)))
        self.file.seek(0, os.SEEK_END)

    def write(self, line: Mapping[str, Any]) -> None:
        """Raises OSError; the file then ends with the last whole line."""
        data, size = (json.dumps(line) + "\n").encode(), self.size
        try:
            if self.file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.file.name))
        except OSError:
            with contextlib.suppress(OSError):
                self.file.truncate(size)
                self.file.seek(size)
            raise

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
    """Event files under DIR/tensorboard."""

    def __init__(self, directory: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(directory))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


def require_tensorboard() -> None:
    """Raises MissingLibraryError where `engine.tensorboard` cannot be had."""
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingLibraryError(
            "engine.tensorboard=true needs the package tensorboard, which is not installed: "
            "pip install tensorboard, or leave it off (metrics.jsonl has the same figures)"
        )


def describe(line: Mapping[str, Any], eta: float | None, planned: int, unit: str = "images") -> str:
    """One line for a reader: where, how long still, losses by name, speed, agreement."""
    parts = [f"step {line['step']}/{planned}"]
    parts += [] if eta is None else [f"ETA {clock(eta)}"]
    parts += [f"{name} {value:.4g}" for name, value in line["losses"].items()]
    if line.get("samples_per_second") is not None:
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

    def update(self, line: Mapping[str, Any], eta: float | None) -> None:
        if time.monotonic() - self._last >= PLAIN_SECONDS:
            self._last = time.monotonic()
            self.say(describe(line, eta, self.planned, self.unit))

    def say(self, text: str) -> None:
        announce(text)

    def close(self) -> None:
        pass


class LiveDisplay:
    """A bar in a terminal or notebook, until that is closed."""

    def __init__(self, planned: int, unit: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.planned, self.unit = planned, unit
        console = Console(stderr=True)
        columns = (TextColumn("{task.percentage:3.0f} %"), BarColumn(bar_width=20), TextColumn("{task.description}"))
        # Drawn by us, not by a thread of rich's: that one would end in a traceback when the terminal closes.
        self.progress = Progress(*columns, console=console, transient=False, auto_refresh=False)
        self.task = self.progress.add_task("starting", total=planned)
        self._last = -float("inf")
        with contextlib.suppress(OSError, ValueError):
            self.progress.start()

    def update(self, line: Mapping[str, Any], eta: float | None) -> None:
        if time.monotonic() - self._last < LIVE_SECONDS and line["step"] < self.planned:
            return
        self._last = time.monotonic()
        text = describe(line, eta, self.planned, self.unit).replace("[", "\\[")
        with contextlib.suppress(OSError, ValueError):
            self.progress.update(self.task, total=self.planned, completed=line["step"], description=text, refresh=True)

    def say(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.progress.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.progress.stop()


class Silent:
    """For every rank but the first."""

    planned = 0

    def update(self, line: Mapping[str, Any], eta: float | None) -> None: ...
    def say(self, text: str) -> None: ...
    def close(self) -> None: ...


def make_display(planned: int, rank: int, unit: str) -> PlainDisplay | LiveDisplay | Silent:
    """unit: what a sample is called."""
    if rank != 0:
        return Silent()
    notebook = "ipykernel" in sys.modules and importlib.util.find_spec("ipywidgets") is not None
    terminal = sys.stderr is not None and sys.stderr.isatty()
    return LiveDisplay(planned, unit) if terminal or notebook else PlainDisplay(planned, unit)


class Monitor:
    """All of the above for one run. What fails here is said and left out: a full disk or a closed terminal costs the
    line, not the run."""

    def __init__(self, directory: RunDirectory, tensorboard: bool, rank: int, unit: str) -> None:
        """unit: what a sample is called."""
        self.directory, self.tensorboard, self.rank, self.unit = directory, tensorboard, rank, unit
        self.first = rank == 0
        self.display: PlainDisplay | LiveDisplay | Silent = Silent()
        self.metrics: MetricsLog | None = None
        self.trackers: list[Tracker] = []

    def open(self, metrics_bytes: int, planned: int) -> None:
        """metrics_bytes: how much of metrics.jsonl stands. Raises OSError where the log cannot be opened at all."""
        self.display = make_display(planned, self.rank, self.unit)
        if not self.first:
            return
        self.metrics = MetricsLog(self.directory.path / "metrics.jsonl", metrics_bytes)
        if self.tensorboard:
            try:
                self.trackers = [TensorBoard(self.directory.folder("tensorboard"))]
            except Exception as fault:  # whatever its packages die of
                self.warn("TensorBoard cannot be used and is left out", fault)

    def close(self) -> None:
        self.display.close()
        for tracker in self.trackers:
            with contextlib.suppress(Exception):
                tracker.close()
        if self.metrics is not None:
            self.metrics.close()

    def say(self, text: str) -> None:
        self.display.say(text)

    def show(self, line: Mapping[str, Any], eta: float | None, planned: int) -> None:
        """Where the run is now, for whoever looks."""
        self.display.planned = planned
        self.display.update(line, eta)

    def log(self, line: Mapping[str, Any]) -> int:
        """Keeps a line of metrics.jsonl and tells the trackers; gives the length of the file."""
        if self.metrics is None:
            return 0
        with self.optional("a line of metrics.jsonl"):
            self.metrics.write(line)
        for tracker in list(self.trackers):
            try:
                tracker.log(line["step"], {**line["losses"], "lr": line["lr"]})
            except Exception as fault:
                self.warn("a tracker failed and is left out from here", fault)
                self.trackers.remove(tracker)
        return self.metrics.size

    def event(self, text: str) -> None:
        """A line in events.log, where it can be written."""
        if self.first:
            with contextlib.suppress(OSError):
                self.directory.event(text)

    def warn(self, text: str, fault: Exception) -> None:
        """Something beside the student failed."""
        self.say(f"warning: {text}: {fault}")
        self.event(f"{text}: {fault}")

    @contextlib.contextmanager
    def optional(self, what: str) -> Iterator[None]:
        """For writing what the run can do without."""
        try:
            yield
        except OSError as fault:
            self.warn(f"{what} was not written", fault)
