"""Several runs side by side: read, refused where they cannot be compared, grouped where only the seed differs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import RunDirectoryError
from ..tasks import Task
from . import facts, verdict, words
from .findings import figures
from .read import Run, read_run
from .settings_of import flat, key_without_seed, nearest_preset, said
from .table_columns import Column


@dataclass(frozen=True)
class Spread:
    """Mean of a figure over the runs of a group that have it, and the sample standard deviation (n - 1) where there are
    several. count: how many have it, of `runs`."""

    mean: float
    deviation: float | None
    count: int
    runs: int

    @property
    def whole(self) -> bool:
        """Whether all have it, so that it may be set beside others of all their runs."""
        return self.count == self.runs


@dataclass(frozen=True)
class Member:
    """One run of the comparison. name: the end of its path that no other run shares."""

    run: Run
    name: str

    @property
    def seed(self) -> str:
        return self.run.manifest.at("seed").text() or self.run.config.at("seed").text(words.NOTHING)


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

    def spread(self, column: Column) -> Spread | None:
        """Of the members that have the figure; None where none has."""
        values = [value for member in self.members if (value := column.value(member.run)) is not None]
        if not values:
            return None
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return Spread(statistics.fmean(values), deviation, len(values), len(self.members))


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
    firsts: dict[Path, Path] = {}
    for path in paths:
        first = firsts.setdefault(path.resolve(), path)
        if first is not path:
            same = f"{path} is given twice" if str(first) == str(path) else f"{first} and {path} are one directory"
            raise RunDirectoryError(f"{same}: a run compared with itself says nothing; name each run once")


def _require_own_runs(runs: Sequence[Run]) -> None:
    """A copy of a directory is the same run again."""
    firsts: dict[tuple[str, ...], Path] = {}
    for run in runs:
        mark = tuple(run.manifest.at(name).text() for name in ("config_hash", "started", "ended"))
        first = firsts.setdefault(mark, run.directory) if all(mark) else run.directory
        if first is not run.directory:
            raise RunDirectoryError(
                f"{first} and {run.directory} hold the same run (settings, start and end are equal): name one of them"
            )


def _require_one_task(runs: Sequence[Run]) -> None:
    """Both sides of it; a run that did not record a task passes and is noted on the page."""
    known = [(run, run.task) for run in runs if run.task is not None]
    for run, task in known[1:]:
        first, expected = known[0]
        if _sides(task) != _sides(expected):
            raise RunDirectoryError(
                f"{run.directory} has another task ({_task_text(task)}) than {first.directory} "
                f"({_task_text(expected)}): their figures cannot be compared; compare the runs of one task"
            )


def _sides(task: Task) -> list[dict[str, Any]]:
    """What goes in and what comes out, of files that a side names only the names."""
    named = {str(path): path.name for path in task.files()}
    sides = [side.model_dump(mode="json") for side in (task.inputs, task.outputs)]
    return [{key: named.get(str(value), value) for key, value in side.items()} for side in sides]


def _task_text(task: Task) -> str:
    names = [words.clip(name, 20) for name in getattr(task.outputs, "class_names", ())[:3]]
    return facts.task_text(task) + (f": {', '.join(names)} ..." if names else "")


def _settings_that_vary(runs: Sequence[Run]) -> set[str]:
    """Settings outside the method that are not the same in all groups: precision, threads, feature terms ..."""
    own = ("teacher", "task", "student", "method", "preset", "budget", "seed", "strict", "options", "engine")
    trees = [{k: v for k, v in flat(run.config.value or {}).items() if k.partition(".")[0] not in own} for run in runs]
    return {key for tree in trees for key in tree if any(other.get(key) != tree[key] for other in trees)}


def _group(letter: str, members: tuple[Member, ...], common: set[str]) -> Group:
    run = members[0].run
    method = run.manifest.at("method").text() or run.config.at("method").text("unknown method")
    options = run.config.at("options").value
    nearest = nearest_preset(method, options) if isinstance(options, dict) else None
    preset, differs = nearest if nearest is not None else ("", {})
    tree = flat(run.config.value or {})
    settings = [(name, said(value)) for name, value in differs.items()]
    settings += [(name, said(tree[name])) for name in sorted(common) if name in tree]
    return Group(letter, members, method, preset, tuple((words.clip(a, 80), words.clip(b, 80)) for a, b in settings))


def _told_apart(groups: list[Group]) -> list[Group]:
    """Groups with one label get what else differs between them: budget, student, teacher."""
    labels = [group.label for group in groups]
    result = []
    for group, label in zip(groups, labels):
        alike = [other for other, other_label in zip(groups, labels) if other_label == label]
        for name in ("budget", "student", "teacher"):
            values = [one.members[0].run.config.at(name).text() for one in alike]
            own = group.members[0].run.config.at(name).text()
            if own and len(set(values)) > 1:
                shown = Path(own).name if name == "teacher" else own
                group = replace(group, settings=(*group.settings, (name, words.clip(shown, 80))))
        result.append(group)
    return result


def _letter(place: int) -> str:
    """A, B ... Z, AA, AB ..."""
    rounds, letter = divmod(place, 26)
    return ("" if rounds == 0 else _letter(rounds - 1)) + chr(ord("A") + letter)


def notes(groups: Sequence[Group]) -> list[str]:
    """What a reader must know before comparing, in sentences."""
    members = [member for group in groups for member in group.members]
    sentences = []

    def differing(what: str, values: dict[str, list[str]], consequence: str) -> None:
        if len(values) > 1:
            listed = "; ".join(f"{value}: {words.joined(names)}" for value, names in values.items())
            sentences.append(f"The runs do not share one {what} ({listed}). {consequence}")

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
        "preprocessing",
        by(lambda m: "" if m.run.task is None else facts.preprocessing_text(m.run.task)),
        "Their inputs are the same, what the networks see of them is not.",
    )
    differing("set of real data", by(lambda m: _measured_on(m.run)), "Figures on different sets do not compare.")
    without_task = [m.name for m in members if m.run.task is None]
    if without_task:
        sentences.append(
            f"{words.joined(without_task)}: no known task recorded; whether it is the same task is not known."
        )
    for group in groups:
        seeds = [member.seed for member in group.members]
        twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
        if twice:
            sentences.append(
                f"{group.letter}: seed {words.joined(twice)} occurs more than once. Those runs repeat one another, and "
                "the spread of the group is smaller than that of independent runs."
            )
    for member in members:
        name, _, meaning = verdict.status(member.run)
        if name != "done":
            sentences.append(f"{member.name}: {meaning}")
        sentences.extend(f"{member.name}: left out: {fault}" for fault in member.run.faults)
    return sentences


def _teacher(run: Run) -> str:
    source, mark = run.manifest.at("teacher", "source").text(), run.manifest.at("teacher", "fingerprint").text()
    return f"{Path(source).name} {mark.removeprefix('sha256:')[:8]}".strip()


def _student(run: Run) -> str:
    count = run.manifest.at("student", "parameters").number()
    spec = run.manifest.at("student", "spec").text()
    return f"{spec} ({words.count(count)} parameters)" if spec and count is not None else spec


def _measured_on(run: Run) -> str:
    if not figures(run.measured):
        return ""
    tree = run.evaluation
    return f"{tree.at('source').text('unnamed')} ({words.count(tree.at('count').number())} {facts.unit(run)})"
