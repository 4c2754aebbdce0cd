"""The columns of a comparison: facts that every run has, and the figures that runs were measured by on real data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..figures import Better
from . import facts, words
from .findings import figures
from .read import Run


@dataclass(frozen=True)
class Column:
    """unit: of `figures.Unit`, or 'ratio'. better: the side that is marked as best. real: a figure on real data."""

    name: str
    title: str
    unit: str
    better: Better = ""
    real: bool = False

    def value(self, run: Run) -> float | None:
        """Of one run, or None where the run does not have it."""
        if self.real:
            figure = figures(run.measured).get(self.name)
            return None if figure is None else figure.value
        cost = run.summary.at("cost")
        if self.name == "compression":
            return facts.size_ratio(run)
        return {
            "steps": run.summary.at("steps"), "seconds": cost.at("seconds"), "cpu_seconds": cost.at("cpu_seconds"),
            "samples": cost.at("samples"), "queries": cost.at("teacher_forwards"),
            "score": run.summary.at("score", "last"), "agreement": run.summary.at("agreement", "last"),
        }[self.name].number()  # fmt: skip


def of_runs(runs: Sequence[Run]) -> list[Column]:
    """What runs cost and what is known of them without data; CPU time where all counted it, else that of the clock."""
    cpu = Column("cpu_seconds", "CPU s", "clock")
    timed = cpu if all(cpu.value(run) is not None for run in runs) else Column("seconds", "seconds", "clock")
    columns = [
        Column("compression", "smaller by", "ratio"), Column("steps", "steps", "count"), timed,
        Column("samples", facts.unit(runs[0]), "count"), Column("queries", "teacher queries", "count"),
    ]  # fmt: skip
    score = Column("score", "score", "share", "higher")
    columns += [score] if any(score.value(run) is not None for run in runs) else []
    return [*columns, Column("agreement", "agreement", "share")]


def on_real_data(runs: Sequence[Run]) -> list[Column]:
    """A column for each figure with a better side that any of the runs has; the first is what their tasks are about."""
    several = {figure.name: figure for run in runs for figure in figures(run.measured).values() if figure.better}
    return [
        Column(figure.name, words.title(figure.name), figure.unit, figure.better, True) for figure in several.values()
    ]


def write(value: float | None, unit: str) -> str:
    """A value of a column in its unit."""
    number, mark = _parts(value, unit)
    return number + mark


def write_deviation(value: float | None, unit: str) -> str:
    """'± 1.2', without its unit; nothing where there is no spread."""
    return f"± {_parts(value, unit)[0]}" if value else ""


def _parts(value: float | None, unit: str) -> tuple[str, str]:
    if value is None:
        return words.NOTHING, ""
    match unit:
        case "share":
            return f"{100 * value:.1f}", "\u00a0%"
        case "count":
            return words.count(value), ""
        case "clock":
            return words.figure(value, 3) if value < 100 else words.count(value), ""
        case "ratio":
            return f"{value:.3g}", "×"
        case "nats":
            return words.figure(value, 3), "\u00a0nats"
    return words.figure(value, 3), ""
