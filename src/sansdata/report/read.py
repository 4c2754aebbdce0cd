"""A run directory as typed data. Tolerant: a report is wanted most when a run ended badly.

A missing file is nothing; a damaged one is a line in `faults` and otherwise nothing.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..config import parse_yaml
from ..errors import RunDirectoryError, UserError

MAX_JSON_BYTES = 256_000_000  # a confusion matrix of 5,000 classes is about 100 MB
MAX_GRID_BYTES = 512_000_000
MAX_SERIES = 400
MAX_VALUE = 1e30  # beyond it a plot's own arithmetic overflows


class Tree:
    """JSON of unknown shape: `tree.at("cost", "seconds").number()` is a number or None, never an error."""

    def __init__(self, value: Any = None):
        self.value = value

    def at(self, *path: str) -> Tree:
        value = self.value
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return Tree(value)

    def number(self) -> float | None:
        """A finite number, else None."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            return None
        try:
            value = float(self.value)
        except OverflowError:
            return None
        return value if math.isfinite(value) else None

    def text(self, default: str = "") -> str:
        """Text, or a number or flag as text."""
        return str(self.value) if isinstance(self.value, str | int | float) else default

    def items(self) -> list[Tree]:
        return [Tree(item) for item in self.value] if isinstance(self.value, list | tuple) else []

    def fields(self) -> dict[str, Tree]:
        found = self.value if isinstance(self.value, Mapping) else {}
        return {str(key): Tree(value) for key, value in found.items()}

    def numbers(self) -> list[float]:
        """The numbers of a list; what is none counts as 0, so that positions keep their meaning."""
        return [item.number() or 0.0 for item in self.items()]

    def __bool__(self) -> bool:
        return bool(self.value)


@dataclass
class Series:
    """One logged figure over the run. `lost` counts values that were NaN or infinite and are not drawn."""

    steps: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))
    lost: int = 0

    def add(self, step: float, value: Any) -> None:
        number = Tree(value).number()
        if number is None or abs(number) > MAX_VALUE:
            self.lost += 1
            return
        self.steps.append(step)
        self.values.append(number)

    def rewind(self, step: float) -> None:
        """Forgets what was logged at `step` and after."""
        while self.steps and self.steps[-1] >= step:
            self.steps.pop()
            self.values.pop()


@dataclass
class Metrics:
    losses: dict[str, Series] = field(default_factory=dict)
    rates: dict[str, Series] = field(default_factory=dict)
    agreement: Series = field(default_factory=Series)
    clock: Series = field(default_factory=Series)
    """Seconds since the start, by step."""
    lines: int = 0
    unreadable: int = 0
    dropped: set[str] = field(default_factory=set)
    reached: float = -math.inf

    def add(self, line: Mapping[str, Any]) -> None:
        step = Tree(line.get("step")).number()
        if step is None:
            self.unreadable += 1
            return
        if step < self.reached:
            # A resumed run logs again what came after its checkpoint: the later lines are the true ones.
            for series in (*self.losses.values(), *self.rates.values(), self.agreement, self.clock):
                series.rewind(step)
        self.reached = step
        losses, rate = line.get("losses"), line.get("lr")
        for name, value in losses.items() if isinstance(losses, Mapping) else ():
            self._put(self.losses, str(name), step, value)
        if isinstance(rate, Mapping):
            for name, value in rate.items():
                self._put(self.rates, str(name), step, value)
        elif rate is not None:
            self._put(self.rates, "student", step, rate)
        if line.get("agreement") is not None:
            self.agreement.add(step, line["agreement"])
        if line.get("seconds") is not None:
            self.clock.add(step, line["seconds"])

    def _put(self, family: dict[str, Series], name: str, step: float, value: Any) -> None:
        if name not in family and len(family) >= MAX_SERIES:
            self.dropped.add(name)
            return
        family.setdefault(name, Series()).add(step, value)


@dataclass(frozen=True)
class Grid:
    """Samples kept at one step: `images` (N, H, W, C) uint8, the teacher's class and its confidence for each."""

    step: int
    images: np.ndarray
    labels: np.ndarray | None
    confidence: np.ndarray | None


@dataclass
class Run:
    """What a run directory says about itself."""

    directory: Path
    manifest: Tree = field(default_factory=Tree)
    plan: Tree = field(default_factory=Tree)
    summary: Tree = field(default_factory=Tree)
    ledger: Tree = field(default_factory=Tree)
    evaluation: Tree = field(default_factory=Tree)
    config_text: str = ""
    config: Tree = field(default_factory=Tree)
    metrics: Metrics = field(default_factory=Metrics)
    grids: list[Grid] = field(default_factory=list)
    grids_kept: int = 0
    faults: list[str] = field(default_factory=list)

    def class_name(self, label: int) -> str:
        names = self.manifest.at("task", "class_names").items()
        return names[label].text(str(label)) if 0 <= label < len(names) else str(label)


def read_run(directory: Path, evaluation: Mapping[str, Any] | None = None, grids: int = 6) -> Run:
    """The run in `directory`. `evaluation` stands in for its evaluation.json; `grids` is how many sample files to open.

    Raises RunDirectoryError where there is no such directory, or nothing in it that a run would write.
    """
    directory = Path(directory)
    marks = ("run.json", "config.yaml", "plan.json", "metrics.jsonl", "summary.json")
    if not directory.is_dir():
        raise RunDirectoryError(f"{directory}: expected a run directory, found no directory there")
    if not any((directory / name).is_file() for name in marks):
        raise RunDirectoryError(
            f"{directory}: expected a run directory, found none of {', '.join(marks)}; "
            "give the directory that `sansdata distill --out` wrote"
        )
    run = Run(directory)
    for name in ("manifest", "plan", "summary", "ledger", "evaluation"):
        file = "run.json" if name == "manifest" else f"{name}.json"
        setattr(run, name, _read_json(run, file))
    if evaluation is not None:
        run.evaluation = Tree(dict(evaluation))
    run.config_text = _read_text(run, "config.yaml")
    try:
        run.config = Tree(parse_yaml(run.config_text, "config.yaml"))
    except UserError as fault:
        run.faults.append(str(fault))
    for line in _json_lines(run, "metrics.jsonl"):
        run.metrics.add(line)
    if run.metrics.unreadable:
        run.faults.append(f"metrics.jsonl: {run.metrics.unreadable} line(s) could not be read and are left out")
    _read_grids(run, grids)
    return run


def _read_text(run: Run, name: str) -> str:
    path = run.directory / name
    try:
        if not path.exists():
            return ""
        if path.stat().st_size > MAX_JSON_BYTES:
            run.faults.append(f"{name}: larger than {MAX_JSON_BYTES:,} bytes, not read")
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as fault:
        run.faults.append(f"{name}: cannot be read ({fault.strerror})")
        return ""


def _read_json(run: Run, name: str) -> Tree:
    text = _read_text(run, name)
    if not text.strip():
        return Tree()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        run.faults.append(f"{name}: is not valid JSON, left out")
        return Tree()
    if not isinstance(value, dict):
        run.faults.append(f"{name}: expected an object, got {type(value).__name__}, left out")
        return Tree()
    return Tree(value)


def _json_lines(run: Run, name: str) -> Iterator[dict[str, Any]]:
    path = run.directory / name
    try:
        if not path.exists():
            return
        with path.open(encoding="utf-8", errors="replace") as file:
            for text in file:
                run.metrics.lines += 1
                try:
                    line = json.loads(text)
                except (ValueError, RecursionError):
                    line = None
                if isinstance(line, dict):
                    yield line
                elif text.strip():
                    run.metrics.unreadable += 1
    except OSError as fault:
        run.faults.append(f"{name}: cannot be read ({fault.strerror})")


def _read_grids(run: Run, wanted: int) -> None:
    found = []
    for path in (run.directory / "samples").glob("step-*.npz"):
        match = re.fullmatch(r"step-(\d{1,15})", path.stem)
        if match:
            found.append((int(match.group(1)), path))
    found.sort()
    run.grids_kept = len(found)
    wanted = min(wanted, len(found))
    for place in sorted({round(i * (len(found) - 1) / max(wanted - 1, 1)) for i in range(wanted)}):
        step, path = found[place]
        try:
            run.grids.append(_read_grid(step, path))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
            run.faults.append(f"samples/{path.name}: left out ({fault or type(fault).__name__})")


def _read_grid(step: int, path: Path) -> Grid:
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAX_GRID_BYTES:
            raise ValueError(f"unpacks to more than {MAX_GRID_BYTES:,} bytes")
    with np.load(path, allow_pickle=False) as file:
        images = file["images"]
        logits = file["logits"] if "logits" in file.files else None
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or not images.size:
        raise ValueError(f"expected images as uint8 (N, H, W, 1 or 3), got {images.dtype} {images.shape}")
    usable = logits is not None and logits.ndim == 2 and logits.shape[0] == len(images) and logits.shape[1] > 0
    if logits is None or not usable:
        return Grid(step, images, None, None)
    logits = np.nan_to_num(logits.astype(np.float64), nan=-1e30, posinf=1e30, neginf=-1e30)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return Grid(step, images, logits.argmax(1), weights.max(1) / weights.sum(1))
