"""docs/reproduction.md from the kept figures: the paper's beside ours, last step, mean and spread over seeds."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ..files import write_atomic
from .expectations import BySeed, Means, Verdict, checks, paired
from .recipes.model import Recipe

HEAD = """# Reproduction

Written by `sansdata reproduce NAME`; do not edit. Every figure is the **last** step, never the best; mean and standard
deviation over seeds. Settings were chosen on images held out of the *training* set; the test set was opened once, after
the last step. Each run has one thread; CPU seconds are those of one core. "Paper" is a published figure for the nearest
setting, usually at a far larger budget and the best epoch: for orientation, no like-for-like comparison.
"""

MARKS: dict[Verdict, str] = {"holds": "holds", "fails": "**fails**", "undecided": "**undecided**"}


def write_page(docs: Path) -> Path:
    """Rewrites `docs`/reproduction.md from `docs`/reproduction/*.json."""
    parts = [HEAD]
    parts += [_section(json.loads(path.read_text())) for path in sorted((docs / "reproduction").glob("*.json"))]
    page = docs / "reproduction.md"
    write_atomic(page, "\n".join(parts))
    return page


def _section(value: dict[str, Any]) -> str:
    recipe = Recipe.model_validate(value["recipe"] | {"arms": {}})
    runs: dict[str, list[dict[str, Any]]] = {}
    for run in value["runs"]:
        runs.setdefault(run["arm"], []).append(run)
    names = list(dict.fromkeys(name for run in value["runs"] for name in run.get("measures", {})))
    columns = ["arm", "role", "paper", "ours, %", *names, "seeds", "student steps", "CPU seconds", "samples"]
    lines = [
        f"\n## {recipe.name} ({value['scale']} scale)\n",
        f"{recipe.claim}\n",
        _networks(recipe, value["teacher"]),
        "| " + " | ".join([*columns, "agreement"]) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    means: Means = {}
    failures: list[str] = []
    for arm in value["arms"]:
        rows = runs.get(arm["name"], [])
        failed = [row["failed"] for row in rows if "failed" in row]
        failures += [f"- {arm['name']}: {len(failed)} of {len(rows)} runs failed: {failed[0]}"] if failed else []
        rows = [row for row in rows if "failed" not in row]
        if rows:
            means[arm["name"]] = {"accuracy": 100 * mean(row["accuracy"] for row in rows)} | _measured(rows)
        lines.append(_row(arm, rows, names))
    expected = [f"- {'holds' if ok else '**does not hold**'}: {sentence}" for sentence, ok in checks(recipe, means)]
    if expected:
        lines += ["", "Expected, on the seed means:", "", *expected]
    judged = [f"- {MARKS[verdict]}: {sentence}" for sentence, verdict in paired(recipe, _by_seed(runs))]
    if judged:
        lines += [
            "",
            "Expected of pairs of the same seed, beyond two standard errors of their difference:",
            "",
            *judged,
        ]
        expected += judged
    if recipe.tried:
        why = " for what does not hold" if any("**" in line for line in expected) else " before"
        lines += ["", f"What was tried{why}:", "", *(f"- {text}" for text in recipe.tried)]
    if failures:
        lines += ["", "Failed:", "", *failures]
    ended = [run for run in value["runs"] if "failed" not in run]
    if ended:
        lines += ["", _where(ended)]
    return "\n".join(lines) + "\n"


def _by_seed(runs: dict[str, list[dict[str, Any]]]) -> BySeed:
    values: dict[str, dict[str, dict[int, float]]] = {}
    for arm, rows in runs.items():
        for row in rows:
            if "failed" not in row:
                for name, value in {"accuracy": 100 * row["accuracy"], **row.get("measures", {})}.items():
                    values.setdefault(arm, {}).setdefault(name, {})[row["seed"]] = value
    return values


def _networks(recipe: Recipe, teacher: dict[str, Any]) -> str:
    if recipe.teacher is None:
        return f"Network {recipe.student}, data {recipe.data}.\n"
    helpers = "".join(f"; helper {one['spec']}, {100 * one['accuracy']:.2f} %" for one in teacher.get("helpers", ()))
    return (
        f"Teacher {teacher['spec']}, {100 * teacher['accuracy']:.2f} % on the test set of {recipe.data}, SHA-256 "
        f"`{teacher['sha256'][:16]}`{helpers}; student {recipe.student}.\n"
    )


def _measured(rows: list[dict[str, Any]]) -> dict[str, float]:
    names = dict.fromkeys(name for row in rows for name in row.get("measures", {}))
    return {name: mean(_values(rows, name)) for name in names}


def _values(rows: list[dict[str, Any]], name: str) -> list[float]:
    return [row["measures"][name] for row in rows if name in row.get("measures", {})]


def _row(arm: dict[str, Any], rows: list[dict[str, Any]], names: list[str]) -> str:
    said = [arm["name"], arm["role"], arm["paper"] or "-"]
    if not rows:
        return "| " + " | ".join([*said, "not run", *("-" for _ in names), "0", str(arm["steps"]), "- | - | -"]) + " |"
    agreed = [row["agreement"] for row in rows if row.get("agreement") is not None]
    cells = [
        *said,
        _spread([100 * row["accuracy"] for row in rows]),
        *(_spread(_values(rows, name)) for name in names),
        str(len(rows)),
        str(arm["steps"]),
        f"{mean(row['cpu_seconds'] for row in rows):.0f}",
        f"{mean(row['cost'].get('samples', 0) for row in rows):,.0f}",
        f"{100 * mean(agreed):.1f} %" if agreed else "-",
    ]
    return "| " + " | ".join(cells) + " |"


def _spread(values: list[float]) -> str:
    """Mean and standard deviation over the seeds."""
    if not values:
        return "-"
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def _where(runs: list[dict[str, Any]]) -> str:
    last = max(runs, key=lambda run: run["date"])
    return (
        f"Machine: {last['processor']}, {last['cores']} cores, one thread a run, {last['cores']} runs at a time; torch "
        f"{last['torch']}; {last['date']}."
    )
