"""Several runs side by side: read, refused where they cannot be compared, grouped where only the seed differs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import RunDirectoryError
from . import words
from .read import Run, read_run
from .settings_of import flat, key_without_seed, nearest_preset, said


@dataclass(frozen=True)
class Spread:
    """Mean of a figure over the runs of a group, and the sample standard deviation (n - 1) where there are several."""

    mean: float
    deviation: float | None
    count: int


@dataclass(frozen=True)
class Member:
    """One run of the comparison. name: the end of its path that no other run shares."""

    run: Run
    name: str

    @property
    def seed(self) -> str:
        return self.run.manifest.at("seed").text() or self.run.config.at("seed").text(words.NOTHING)

    def figure(self, name: str) -> float | None:
        """A figure by name, or None where the run does not have it."""
        summary, manifest = self.run.summary, self.run.manifest
        cost = summary.at("cost")
        values = {
            "steps": summary.at("steps"),
            "seconds": cost.at("seconds"),
            "cpu_seconds": cost.at("cpu_seconds"),
            "samples": cost.at("samples"),
            "queries": cost.at("teacher_forwards"),
            "score": summary.at("score", "last"),
            "agreement": summary.at("agreement", "last"),
            "accuracy": self.run.evaluation.at("accuracy"),
            "parameters": manifest.at("student", "parameters"),
        }
        return words.size_ratio(self.run) if name == "compression" else values[name].number()


@dataclass(frozen=True)
class Group:
    """Runs that differ only in the seed. letter: its badge on the page. preset, settings: of the method."""

    letter: str
    members: tuple[Member, ...]
    method: str
    preset: str
    settings: tuple[tuple[str, str], ...]

    @property
    def label(self) -> str:
        parts = [self.preset if self.preset not in ("", "default") else ""]
        parts += [f"{name}={value}" for name, value in self.settings]
        return " ".join([self.method, *[part for part in parts if part]])

    def spread(self, name: str) -> Spread | None:
        """Of the members that have the figure; None where none has."""
        values = [value for member in self.members if (value := member.figure(name)) is not None]
        if not values:
            return None
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return Spread(statistics.fmean(values), deviation, len(values))


def read_groups(directories: Sequence[Path]) -> list[Group]:
    """The runs, grouped, in the order in which they were given.

    Raises RunDirectoryError where one is no run directory, is given twice, or is of another task than the first.
    """
    paths = [Path(one) for one in directories]
    _require_distinct(paths)
    runs = [read_run(path, grids=2) for path in paths]
    _require_own_runs(runs)
    _require_one_task(runs)
    members = [Member(run, name) for run, name in zip(runs, short_names(paths))]
    families: dict[str, list[Member]] = {}
    for member in members:
        families.setdefault(key_without_seed(member.run), []).append(member)
    common = _settings_that_vary([members[0].run for members in families.values()])
    return _told_apart([_group(_letter(place), tuple(one), common) for place, one in enumerate(families.values())])


def short_names(paths: Sequence[Path]) -> list[str]:
    """The shortest end of each path that tells it from the others."""
    parts = [path.resolve().parts for path in paths]
    names = []
    for own in parts:
        others = [other for other in parts if other is not own]
        length = next((n for n in range(1, len(own) + 1) if all(own[-n:] != o[-n:] for o in others)), len(own))
        names.append("/".join(own[-length:]))
    return names


def _require_distinct(paths: Sequence[Path]) -> None:
    if not paths:
        raise RunDirectoryError("no run was named; give the directories of runs to compare")
    seen: dict[Path, Path] = {}
    for path in paths:
        first = seen.setdefault(path.resolve(), path)
        if first is not path:
            same = f"{path} is given twice" if str(first) == str(path) else f"{first} and {path} are one directory"
            raise RunDirectoryError(f"{same}: a run compared with itself says nothing; name each run once")


def _require_own_runs(runs: Sequence[Run]) -> None:
    """A copy of a directory is the same run again."""
    seen: dict[tuple[str, ...], Path] = {}
    for run in runs:
        mark = tuple(run.manifest.at(name).text() for name in ("config_hash", "started", "ended"))
        first = seen.setdefault(mark, run.directory) if all(mark) else run.directory
        if first is not run.directory:
            raise RunDirectoryError(
                f"{first} and {run.directory} hold the same run (settings, start and end are equal): name one of them"
            )


def _require_one_task(runs: Sequence[Run]) -> None:
    """Shape, number and names of the classes; a run that did not record a task passes and is noted on the page."""

    def job(run: Run) -> tuple[Any, ...] | None:
        task = run.manifest.at("task")
        shape, classes = [side.number() for side in task.at("shape").items()], task.at("classes").number()
        return (shape, classes, [name.text() for name in task.at("class_names").items()]) if shape and classes else None

    told = [(run, job(run)) for run in runs]
    known = [(run, found) for run, found in told if found is not None]
    for run, found in known[1:]:
        first, expected = known[0]
        if found != expected:
            raise RunDirectoryError(
                f"{run.directory} has another task ({_task_text(found)}) than {first.directory} "
                f"({_task_text(expected)}): their figures cannot be compared; compare the runs of one task"
            )


def _task_text(job: tuple[Any, ...]) -> str:
    shape, classes, names = job
    named = f": {', '.join(words.clip(name, 20) for name in names[:3])} ..." if names else ""
    return f"{'x'.join(f'{side:g}' for side in shape)}, {classes:g} classes{named}"


def _settings_that_vary(runs: Sequence[Run]) -> set[str]:
    """Settings outside the method that are not the same in all groups: precision, threads, feature terms ..."""
    own = ("teacher", "task", "student", "method", "preset", "budget", "seed", "strict", "options", "engine")
    trees = [{k: v for k, v in flat(run.config.value or {}).items() if k.partition(".")[0] not in own} for run in runs]
    return {key for tree in trees for key in tree if any(other.get(key) != tree[key] for other in trees)}


def _group(letter: str, members: tuple[Member, ...], common: set[str]) -> Group:
    run = members[0].run
    method = run.manifest.at("method").text() or run.config.at("method").text("unknown method")
    options = run.config.at("options").value
    found = nearest_preset(method, options) if isinstance(options, dict) else None
    preset, differs = found if found is not None else ("", {})
    tree = flat(run.config.value or {})
    settings = [(name, said(value)) for name, value in differs.items()]
    settings += [(name, said(tree[name])) for name in sorted(common) if name in tree]
    return Group(letter, members, method, preset, tuple((words.clip(a, 80), words.clip(b, 80)) for a, b in settings))


def _told_apart(groups: list[Group]) -> list[Group]:
    """Groups with one label get what else differs between them: budget, student, teacher."""
    labels = [group.label for group in groups]
    found = []
    for group, label in zip(groups, labels):
        alike = [other for other, other_label in zip(groups, labels) if other_label == label]
        for name in ("budget", "student", "teacher"):
            values = [one.members[0].run.config.at(name).text() for one in alike]
            own = group.members[0].run.config.at(name).text()
            if own and len(set(values)) > 1:
                shown = Path(own).name if name == "teacher" else own
                group = replace(group, settings=(*group.settings, (name, words.clip(shown, 80))))
        found.append(group)
    return found


def _letter(place: int) -> str:
    """A, B ... Z, AA, AB ..."""
    rounds, letter = divmod(place, 26)
    return ("" if rounds == 0 else _letter(rounds - 1)) + chr(ord("A") + letter)


def notes(groups: Sequence[Group]) -> list[str]:
    """What a reader must know before comparing, in sentences."""
    members = [member for group in groups for member in group.members]
    found = []

    def differing(what: str, values: dict[str, list[str]], consequence: str) -> None:
        if len(values) > 1:
            listed = "; ".join(f"{value}: {words.joined(names)}" for value, names in values.items())
            found.append(f"The runs do not share one {what} ({listed}). {consequence}")

    def by(value_of: Any) -> dict[str, list[str]]:
        values: dict[str, list[str]] = {}
        for member in members:
            if value := value_of(member):
                values.setdefault(words.clip(value, 120), []).append(member.name)
        return values

    differing(
        "teacher", by(lambda m: _teacher(m.run)), "What stands in the table is then not the methods' difference alone."
    )
    differing("student", by(lambda m: _student(m.run)), "Compare accuracy together with size.")
    differing(
        "normalisation", by(lambda m: _normalisation(m.run)), "Their images are the same, their mean and std are not."
    )
    differing("set of real data", by(lambda m: _measured_on(m.run)), "Accuracies on different images do not compare.")
    without_task = [m.name for m in members if not m.run.manifest.at("task", "shape").items()]
    if without_task:
        found.append(f"{words.joined(without_task)}: no task recorded; whether it is the same task is not known.")
    for group in groups:
        seeds = [member.seed for member in group.members]
        twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
        if twice:
            found.append(
                f"{group.letter}: seed {words.joined(twice)} occurs more than once. Those runs repeat one another, and "
                "the spread of the group is smaller than that of independent runs."
            )
    for member in members:
        name, _, meaning = words.status(member.run)
        if name != "done":
            found.append(f"{member.name}: {meaning}")
        found.extend(f"{member.name}: left out: {fault}" for fault in member.run.faults)
    return found


def _teacher(run: Run) -> str:
    source, mark = run.manifest.at("teacher", "source").text(), run.manifest.at("teacher", "fingerprint").text()
    return f"{Path(source).name} {mark.removeprefix('sha256:')[:8]}".strip()


def _student(run: Run) -> str:
    count = run.manifest.at("student", "parameters").number()
    spec = run.manifest.at("student", "spec").text()
    return f"{spec} ({words.count(count)} parameters)" if spec and count is not None else spec


def _normalisation(run: Run) -> str:
    mean, std = ([v.number() for v in run.manifest.at("task", name).items()] for name in ("mean", "std"))
    return f"mean {mean}, std {std}" if mean and std else ""


def _measured_on(run: Run) -> str:
    tree = run.evaluation
    if tree.at("accuracy").number() is None:
        return ""
    return f"{tree.at('source').text('unnamed')} ({words.count(tree.at('count').number())} images)"
