"""docs/reproduction.md from the kept figures: the paper's beside ours, last step, mean and spread over seeds."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ..files import write_atomic
from ..methods.index import method_names
from .expectations import BySeed, Judgement, Seed, Verdict, judgements
from .pictures import plane
from .recipes import RECIPES
from .recipes.model import Expectation, Recipe

IN_PERCENT = ("accuracy", "Dice")
"""Measures of a plane beside which a published share can be drawn."""
HEAD = """# Reproduction

Written by `sansdata reproduce NAME`; do not edit. Every figure is the **last** step, never the best. Settings were
chosen on images held out of the *training* set; the test set was opened once, after the last step. Each run has one
thread; CPU seconds are those of one core. "Paper" is a published figure for the nearest setting, usually at a far
larger budget and the best epoch: for orientation, no like-for-like comparison.

## Claims

Both sides of a comparison are run with the same seeds on the same processor: two processors round differently, some to
bf16; a seed that ran on several counts once, as their mean. "Ours" is the mean difference (or, of a bound, the mean)
with its standard error over those pairs. A claim **holds** or **fails** where the mean lies further from its bound than
two standard errors; everything else, and whatever has one seed, is **undecided**. Where the settings of an arm, or the
code behind it, have changed since it was run, the row says "earlier version": the command runs it anew.
"""

MARKS: dict[Verdict, str] = {"holds": "holds", "fails": "**fails**", "undecided": "undecided"}


def write_page(docs: Path) -> Path:
    """Rewrites `docs`/reproduction.md, and its pictures in `docs`/pictures, from `docs`/reproduction/*.json."""
    contents = [json.loads(path.read_text()) for path in sorted((docs / "reproduction").glob("*.json"))]
    for value in contents:
        if (picture := _picture(value)) is not None:
            (docs / "pictures").mkdir(exist_ok=True)
            write_atomic(docs / "pictures" / f"{value['recipe']['name']}.svg", picture)
    page = docs / "reproduction.md"
    write_atomic(page, "\n".join([HEAD, _claims(contents), *map(_section, contents)]))
    return page


def _claims(contents: list[dict[str, Any]]) -> str:
    """One table over all recipes, and how many of the claims came to each verdict."""
    rows: list[str] = []
    counts: dict[Verdict, int] = dict.fromkeys(MARKS, 0)
    for value in contents:
        recipe = _recipe(value)
        papers = {arm["name"]: arm["paper"] for arm in value["arms"]}
        stale = _stale(value)
        for claim, judgement in judgements(recipe, _by_seed(value["runs"])):
            counts[judgement.verdict] += 1
            rows.append(_claim(recipe.name, claim, judgement, papers, stale))
    total = ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + "." + _not_run(contents)
    lines = [total, "", "| recipe | claim | paper | ours | verdict |", "|---|---|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _not_run(contents: list[dict[str, Any]]) -> str:
    """A sentence with the methods of which no arm has come to its end."""
    run = {
        arm["method"] for value in contents for arm in value["arms"]
        if any(row["arm"] == arm["name"] and "failed" not in row for row in value["runs"])
    }  # fmt: skip
    missing = sorted(set(method_names()) - run)
    return f" No figure here is of {', '.join(missing)}: their own pages say what is known." if missing else ""


def _stale(value: dict[str, Any]) -> set[str]:
    """Arms with runs of other settings or another revision than the recipe has now, or that it has no longer."""
    recipe, teacher = RECIPES.get(value["recipe"]["name"]), value["teacher"].get("sha256", "")
    arms = {} if recipe is None else {arm.name: arm for arm in recipe.arms.get(value["scale"], ())}
    current = {name: arm.key(teacher) for name, arm in arms.items()}
    return {run["arm"] for run in value["runs"] if run.get("key", "").split("/")[0] != current.get(run["arm"])}


def _claim(recipe: str, claim: Expectation, judgement: Judgement, papers: dict[str, str], stale: set[str]) -> str:
    """papers: arm -> its published accuracy; where every side has one, they stand for a claim that names none."""
    sides = [papers.get(arm) for arm in (claim.better, claim.worse) if arm is not None]
    published = " against ".join(filter(None, sides)) if all(sides) and claim.measure == "accuracy" else ""
    paper = claim.paper or published or "-"
    cells = [f"[{recipe}](#{recipe}-small-scale)", judgement.sentence, paper, judgement.measured]
    earlier = " (earlier version)" if stale & {claim.better, claim.worse} else ""
    return "| " + " | ".join([*cells, MARKS[judgement.verdict] + earlier]) + " |"


def _recipe(value: dict[str, Any]) -> Recipe:
    return Recipe.model_validate(value["recipe"] | {"arms": {}})


def _section(value: dict[str, Any]) -> str:
    recipe = _recipe(value)
    runs: dict[str, list[dict[str, Any]]] = {}
    for run in value["runs"]:
        runs.setdefault(run["arm"], []).append(run)
    names = list(dict.fromkeys(name for run in value["runs"] for name in run.get("measures", {})))
    columns = ["arm", "role", "paper", "ours, %", *names, "seeds", "student steps", "CPU seconds", "samples"]
    lines = [
        f"\n## {recipe.name} ({value['scale']} scale)\n",
        f"{recipe.claim}\n",
        _networks(recipe, value["teacher"]),
        *([f"Matched: {recipe.matched}\n"] if recipe.matched else []),
        "Mean and standard deviation over the seeds:\n",
        "| " + " | ".join([*columns, "agreement"]) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    failures: list[str] = []
    for arm in value["arms"]:
        rows = runs.get(arm["name"], [])
        failed = [row["failed"] for row in rows if "failed" in row]
        failures += [f"- {arm['name']}: {len(failed)} of {len(rows)} runs failed: {failed[0]}"] if failed else []
        lines.append(_row(arm, [row for row in rows if "failed" not in row], names))
    if _picture(value) is not None:
        across, up = recipe.plane or ("", "")
        lines += ["", f"![{up} against {across}, the arms of {recipe.name}](pictures/{recipe.name}.svg)"]
    if stale := sorted(_stale(value)):
        lines += ["", f"Of settings or code that have changed since: {', '.join(stale)}."]
    if recipe.tried:
        lines += ["", "What was tried:", "", *(f"- {text}" for text in recipe.tried)]
    if failures:
        lines += ["", "Failed:", "", *failures]
    ended = [run for run in value["runs"] if "failed" not in run]
    if ended:
        lines += ["", _where(ended)]
    return "\n".join(lines) + "\n"


def _picture(value: dict[str, Any]) -> bytes | None:
    """The arms on the recipe's plane; None where it has none, or no run of it has both measures."""
    recipe = _recipe(value)
    if recipe.plane is None:
        return None
    roles = {arm["name"]: arm["role"] for arm in value["arms"]}
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in roles}
    for run in value["runs"]:
        if "failed" not in run:
            across, up = (_measured(run).get(name) for name in recipe.plane)
            if across is not None and up is not None:
                pairs[run["arm"]].append((across, up))
    papers = {
        arm["name"]: (mean(x for x, _ in pairs[arm["name"]]), 100 * float(arm["paper"]))
        for arm in value["arms"] if recipe.plane[1] in IN_PERCENT and pairs[arm["name"]] and _is_share(arm["paper"])
    }  # fmt: skip
    return plane(*recipe.plane, {name: (roles[name], pairs[name]) for name in roles}, papers)


def _is_share(text: str) -> bool:
    """Whether a published figure is one number between 0 and 1."""
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def _by_seed(runs: list[dict[str, Any]]) -> BySeed:
    values: dict[str, dict[str, dict[Seed, float]]] = {}
    for run in runs:
        if "failed" not in run:
            bed = run["processor"] + run.get("teacher", {}).get("sha256", "")
            for name, value in _measured(run).items():
                values.setdefault(run["arm"], {}).setdefault(name, {})[run["seed"], bed] = value
    return values


def _measured(run: dict[str, Any]) -> dict[str, float]:
    """The accuracy in per cent and every measure of a run, but for those without a value: samples have no accuracy, and
    masks that are empty no ejection fraction, which its file says by nan."""
    several = {"accuracy": None if run["accuracy"] is None else 100 * run["accuracy"], **run.get("measures", {})}
    return {name: value for name, value in several.items() if value is not None and isfinite(value)}


def _networks(recipe: Recipe, teacher: dict[str, Any]) -> str:
    if recipe.teacher is None:
        return f"Network {recipe.student}, data {recipe.data}.\n"
    helpers = "".join(f"; helper {one['spec']}, {100 * one['accuracy']:.2f} %" for one in teacher.get("helpers", ()))
    return (
        f"Teacher {teacher['spec']}, {100 * teacher['accuracy']:.2f} % on the test set of {recipe.data}, SHA-256 "
        f"`{teacher['sha256'][:16]}`{helpers}; student {recipe.student}.\n"
    )


def _by_number(rows: list[dict[str, Any]], name: str) -> list[float]:
    """One value of a measure a seed: where it was run on several processors, the mean of them."""
    by_number: dict[int, list[float]] = {}
    for row in rows:
        if (own := _measured(row).get(name)) is not None:
            by_number.setdefault(row["seed"], []).append(own)
    return [mean(values) for values in by_number.values()]


def _row(arm: dict[str, Any], rows: list[dict[str, Any]], names: list[str]) -> str:
    cells_of_arm = [arm["name"], arm["role"], arm["paper"] or "-"]
    if not rows:
        return (
            "| "
            + " | ".join([*cells_of_arm, "not run", *("-" for _ in names), "0", str(arm["steps"]), "- | - | -"])
            + " |"
        )
    seeds = len({row["seed"] for row in rows})
    agreed = [row["agreement"] for row in rows if row.get("agreement") is not None]
    cells = [
        *cells_of_arm,
        *(_spread(_by_number(rows, name), seeds) for name in ("accuracy", *names)),
        str(seeds),
        str(arm["steps"]),
        f"{mean(row['cpu_seconds'] for row in rows):.0f}",
        f"{mean(row['cost'].get('samples', 0) for row in rows):,.0f}",
        f"{100 * mean(agreed):.1f} %" if agreed else "-",
    ]
    return "| " + " | ".join(cells) + " |"


def _spread(values: list[float], seeds: int) -> str:
    """Mean and standard deviation over the seeds, and how many of them have a value where not all have."""
    if not values:
        return "-"
    spread = f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")
    return spread if len(values) == seeds else f"{spread} ({len(values)} of {seeds})"


def _where(runs: list[dict[str, Any]]) -> str:
    last = max(runs, key=lambda run: run["date"])
    processors = sorted({run["processor"] for run in runs})
    machines = f"{'Machine' if len(processors) == 1 else 'Machines'}: {' and '.join(processors)}, {last['cores']} cores"
    at_a_time = f"one thread a run, {last['cores']} runs at a time"
    return f"{machines}, {at_a_time}; torch {last['torch']}; {last['date']}."
