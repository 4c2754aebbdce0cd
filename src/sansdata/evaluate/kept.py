"""evaluation.json of a run: the one place where it grows. What was measured before stays, whatever is measured next.

At the top stand the figures on the set that was measured last, with `over_time` where the snapshots were measured too;
under `earlier` those on other sets of the task, by the set's name and size; under `transfer` those on other tasks;
under `attacks` those under attack. Figures on the same set are added to: a measurement without the teacher keeps what
an earlier one had of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from ..engine.seal.phases import record_phase
from ..files import exclusive, read_record, reason, write_json

NAME = "evaluation.json"
EARLIER = "earlier"
SECTIONS = (EARLIER, "transfer", "attacks")
SAME = ("source", "count", "train", "test", "attack", "target", "data")
"""What must be equal for two measurements to be of one thing."""
Figures = dict[str, Any]


def keep_figures(run_dir: Path, figures: Mapping[str, Any], data: str | Path | None = None) -> str:
    """Adds figures on the run's own task. data: the file or folder that they were measured on, for the record of a
    sealed run. Gives '' or, where nothing could be written, why."""

    def grown(old: Figures) -> Figures:
        sections = {name: old[name] for name in SECTIONS if isinstance(old.get(name), dict)}
        earlier = dict(sections.get(EARLIER, {}))
        last = {name: value for name, value in old.items() if name not in SECTIONS}
        if last and _set_of(last) != _set_of(figures):
            earlier[_set_of(last)] = last
            last = earlier.pop(_set_of(figures), {})
        whole = completed(last if isinstance(last, dict) else {}, figures)
        return whole | sections | ({EARLIER: earlier} if earlier else {})

    return _change(run_dir, grown, figures, data)


def keep_by_name(run_dir: Path, section: Literal["transfer", "attacks"], name: str, figures: Mapping[str, Any]) -> str:
    """Adds `figures` to a section, under the name of another task's set or of an attack. Gives what `keep_figures`
    does."""

    def grown(old: Figures) -> Figures:
        entries = old.get(section)
        entries = dict(entries) if isinstance(entries, dict) else {}
        before = entries.get(name)
        entries[name] = completed(before if isinstance(before, dict) else {}, figures)
        return old | {section: entries}

    return _change(run_dir, grown, {"source": name, **figures})


def _set_of(figures: Mapping[str, Any]) -> str:
    return f"{figures.get('source', '')}, {figures.get('count', '')} samples"


def completed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Figures:
    """`new`, and what `old` has beside it, where both are of one thing; else `new` alone."""
    if any(old.get(name) != new.get(name) for name in SAME):
        return dict(new)
    return _added(old, new)


def _added(old: Mapping[str, Any], new: Mapping[str, Any]) -> Figures:
    """None is no figure; the list `figures` is one of names."""
    result = {name: value for name, value in new.items() if value is not None or name not in old}
    for name, value in old.items():
        there = result.setdefault(name, value)
        if isinstance(there, dict) and isinstance(value, dict):
            result[name] = _added(value, there)
        elif name == "figures" and isinstance(there, list) and isinstance(value, list) and there is not value:
            names = {entry.get("name") for entry in there}
            result[name] = there + [one for one in value if isinstance(one, dict) and one.get("name") not in names]
    return result


def _change(
    run_dir: Path,
    grown: Callable[[Figures], Figures],
    figures: Mapping[str, Any],
    data: str | Path | None = None,
) -> str:
    path = run_dir / NAME
    try:
        with exclusive(run_dir):
            write_json(path, grown(read_record(path)))
    except (OSError, ValueError, RecursionError) as fault:
        return f"{path} cannot be written ({reason(fault)}): these figures stand nowhere else"
    measured = {name: figures[name] for name in ("source", "count") if name in figures}
    return record_phase(run_dir, "LOCAL", "evaluated", measured, [NAME], data)
