"""What each section of the page says, as plain rows and sentences; drawings are made beside them in `page`."""

from __future__ import annotations

import math
import shlex
from typing import Any

import numpy as np

from .pictures import data_uri
from .read import Run, Tree
from .words import (
    NOTHING,
    brief,
    budget,
    count,
    duration,
    figure,
    inputs,
    joined,
    moment,
    percent,
    seal,
    size,
    size_ratio,
    status,
    verdict,
)

PER_GRID = 12
LEDGER_ROWS = 300
WARNING_ROWS = 200
Row = tuple[str, str]


def head(run: Run) -> dict[str, Any]:
    """Title, verdict, and the tiles under it: (label, value, note, tone)."""
    name, tone, meaning = status(run)
    headline, sentences = verdict(run)
    ratio = size_ratio(run)
    seal_short, seal_tone, _ = seal(run)
    teacher, student = run.manifest.at("teacher"), run.manifest.at("student")
    steps, planned = run.summary.at("steps").number(), run.plan.at("steps").number()
    if steps is None and run.metrics.losses:
        steps = max((series.steps[-1] for series in run.metrics.losses.values() if series.steps), default=None)
    spent = run.summary.at("cost", "seconds").number() or run.manifest.at("seconds").number()
    sizes = f"{brief(teacher.at('parameters').number())} → {brief(student.at('parameters').number())} parameters"
    tiles = [("smaller by", f"{ratio:.3g}×" if ratio else NOTHING, sizes if ratio else "sizes not recorded", "")]
    accuracy, agreement = run.evaluation.at("accuracy").number(), run.summary.at("agreement", "last").number()
    score = run.summary.at("score", "last").number()
    if accuracy is not None:
        of = run.evaluation.at("teacher_accuracy").number()
        kept = f"{percent(accuracy / of)} of the teacher's {percent(of)}" if of else "on real data"
        tiles.insert(0, ("accuracy", percent(accuracy), kept, ""))
    elif score is not None:
        tiles.insert(0, ("score", percent(score), "overlap with the teacher on probe images", ""))
    elif agreement is not None:
        tiles.insert(0, ("agreement", percent(agreement), f"with the teacher, on {inputs(run)}", ""))
    of_plan = f"of {count(planned)} planned" if planned is not None else "no plan recorded"
    warned = len(run.summary.at("warnings").items())
    tone_of_warnings = "warn" if warned else ""
    tiles += [
        ("student steps", count(steps), of_plan, ""),
        ("time spent", duration(spent), f"budget: {budget(run)}", ""),
        ("no-data seal", seal_short, "what was read: section 10", seal_tone),
        ("warnings", count(warned) if run.summary else NOTHING, "see section 8" if warned else "", tone_of_warnings),
    ]
    return {
        "title": f"{run.manifest.at('method').text('run')} · {run.directory.resolve().name}",
        "method": run.manifest.at("method").text(NOTHING),
        "teacher": teacher.at("source").text("unknown teacher"),
        "student": student.at("spec").text() or student.at("architecture").text("unknown student"),
        "status": name, "tone": tone, "meaning": meaning, "headline": headline, "sentences": sentences, "tiles": tiles,
        "notes": [note.text() for note in run.manifest.at("resumed").items() if note.text()],
        "forced": [note.text() for note in run.manifest.at("forced").items() if note.text()],
        "faults": run.faults,
    }  # fmt: skip


def reproduce(run: Run) -> dict[str, Any]:
    """The command and everything it depends on."""
    manifest = run.manifest
    teacher, student, machine = manifest.at("teacher"), manifest.at("student"), manifest.at("machine")
    task = manifest.at("task")
    versions = [("sansdata", manifest.at("sansdata").text())]
    versions += [(name, value.text()) for name, value in manifest.at("versions").fields().items()]
    memory = machine.at("memory_gb").number()
    parts = [machine.at("system").text(), machine.at("processor").text()]
    cores = machine.at("cores").number()
    parts += [f"{count(cores)} cores" if cores is not None else "", f"{memory:.3g} GB" if memory is not None else ""]
    shape = "×".join(one.text() for one in task.at("shape").items())
    access = teacher.at("access").text()
    norms = teacher.at("batch_norms").number()
    rows = [
        ("seed", manifest.at("seed").text()),
        ("configuration", manifest.at("config_hash").text()),
        ("versions", ", ".join(f"{name} {value}" for name, value in versions if value)),
        ("machine", ", ".join(part for part in parts if part)),
        ("device, precision", _listed(manifest.at("device"), manifest.at("precision"))),
        ("threads, processes", _listed(manifest.at("threads"), manifest.at("world"))),
        ("started", moment(manifest.at("started").text())),
        ("ended", moment(manifest.at("ended").text())),
        ("duration", duration(manifest.at("seconds").number())),
        ("teacher", teacher.at("source").text()),
        ("teacher fingerprint", teacher.at("fingerprint").text()),
        ("teacher access", access + (f", {count(norms)} BatchNorm layers" if norms is not None else "")),
        ("student", _listed(student.at("spec"), student.at("architecture"))),
        ("pool (not the teacher's data)", _pool(manifest.at("pool"))),
        ("task", f"{shape} {task.at('kind').text('input')}, {task.at('classes').text('?')} classes" if shape else ""),
    ]  # fmt: skip
    command = manifest.at("command").text()
    # The run's own settings reproduce it even where the command is lost or needs files that moved.
    again = f"sansdata distill --config {shlex.quote(run.directory.name + '/config.yaml')} --out again"
    return {
        "command": command or again,
        "again": again if command and run.config_text else "",
        "rows": [row for row in rows if row[1] and row[1] != NOTHING],
        "config": run.config_text[:60_000],
    }


def _pool(tree: Tree) -> str:
    if not tree.fields():
        return ""
    images, skipped = count(tree.at("images").number()), count(tree.at("skipped").number())
    digest = tree.at("sha256").text()[:16]
    return f"{tree.at('path').text(NOTHING)}: {images} images, {skipped} skipped, sha256 {digest}"


def _listed(*parts: Tree) -> str:
    return ", ".join(part.text() for part in parts if part.text())


def grids(run: Run, total_bytes: int) -> dict[str, Any]:
    """Sample images by step, each with what the teacher takes it for."""
    shown = sum(min(PER_GRID, len(grid.images)) for grid in run.grids)
    rows = []
    for grid in run.grids:
        images = []
        for place, image in enumerate(grid.images[:PER_GRID]):
            caption = ("", "")
            if grid.labels is not None and grid.confidence is not None:
                caption = (run.class_name(int(grid.labels[place])), percent(float(grid.confidence[place]), 0))
            images.append({"uri": data_uri(image, total_bytes // shown), "name": caption[0], "sure": caption[1]})
        height, width = grid.images.shape[1:3]
        rows.append({"step": grid.step, "images": images, "of": len(grid.images), "shape": f"{width}×{height}"})
    return {"rows": rows, "kept": run.grids_kept}


def histogram_of_grids(run: Run) -> list[float]:
    """Classes of the samples in the grids that were read."""
    labels = [grid.labels for grid in run.grids if grid.labels is not None]
    if not labels:
        return []
    classes = int(min(run.manifest.at("task", "classes").number() or 0, 100_000))
    return np.bincount(np.concatenate(labels), minlength=classes).astype(float).tolist()


def sample_rows(samples: Tree, shares: list[float]) -> list[tuple[str, str, str]]:
    """Figures of the samples: (name, value, what it means)."""
    confidence, saturated = samples.at("confidence").number(), samples.at("saturated").number()
    distance = samples.at("pairwise_distance").number()
    scored = samples.at("scored").number() or samples.at("pool").number()
    entropy = samples.at("class_entropy").number()
    if entropy is None and len(shares) > 1:
        entropy = -sum(share * math.log(share) for share in shares if share > 0) / math.log(len(shares))
    rows = [
        ("class entropy", figure(entropy, 3), "1: all classes alike, 0: a single class"),
        ("teacher's confidence", percent(confidence), "mean over the samples"),
        ("saturated", percent(saturated), "pixel values at the ends of the range; high: clipped images"),
        ("pairwise distance", figure(distance, 3), "mean between samples; near 0: all alike"),
        ("samples scored", count(scored), "what these figures were taken on"),
    ]  # fmt: skip
    return [row for row in rows if row[1] != NOTHING]


def spread(shares: list[float], names: list[str]) -> str:
    """The classes that samples miss or crowd, in a sentence."""
    empty = [name for share, name in zip(shares, names) if share <= 0]
    top = max(range(len(shares)), key=shares.__getitem__)
    text = f"Most frequent: {names[top]} ({percent(shares[top])} of the samples)."
    if empty:
        listed = joined(empty[:6]) if len(empty) <= 6 else ", ".join(empty[:6]) + ", …"
        text += f" Without any sample: {count(len(empty))} of {count(len(shares))} classes ({listed})."
    return text


def cost(run: Run) -> dict[str, Any]:
    """Seconds by phase as shares of a bar, and the counters."""
    tree = run.summary.at("cost")
    total = tree.at("seconds").number()
    phases = [(key.removeprefix("seconds_"), value.number()) for key, value in tree.fields().items()
              if key.startswith("seconds_") and (value.number() or 0) > 0]  # fmt: skip
    known = sum(seconds or 0 for _, seconds in phases)
    if total and total - known > 0.005 * total:
        phases.append(("other", total - known))
    whole = max(total or 0.0, known)
    bar = [(name, duration(seconds), 100 * (seconds or 0) / whole) for name, seconds in phases] if whole else []
    rows: list[Row] = [("seconds in all", duration(total))]
    names = {"samples": "samples made", "teacher_queries": "teacher queries", "teacher_forwards": "teacher forwards",
             "teacher_backwards": "teacher backwards", "student_forwards": "student forwards",
             "student_backwards": "student backwards"}  # fmt: skip
    if run.manifest.at("pool").fields():
        names["samples"] = "images drawn from the pool, or made"
    rows += [(text, count(tree.at(key).number())) for key, text in names.items()]
    memory = tree.at("peak_memory_mb").number()
    rows.append(("peak memory", NOTHING if memory is None else size(memory * 1e6)))
    return {"bar": bar, "rows": [row for row in rows if row[1] != NOTHING]}


def warnings(run: Run) -> dict[str, Any]:
    """The run's own warnings: (name, value, text)."""
    given = run.summary.at("warnings").items()
    rows = []
    for one in given[:WARNING_ROWS]:
        value = one.at("value").number()
        rows.append((one.at("name").text("warning"), figure(value) if value is not None else one.at("value").text(),
                     one.at("text").text() or one.text()))  # fmt: skip
    return {"rows": rows, "known": bool(run.summary), "more": max(0, len(given) - WARNING_ROWS)}


def ledger(run: Run) -> dict[str, Any]:
    """What was read, and what should not have been."""
    files = run.ledger.at("files").items()
    short, tone, sentence = seal(run)
    violations = run.ledger.at("violations").items()
    return {
        "short": short, "tone": tone, "sentence": sentence, "total": len(files),
        "files": [(_named(one), one.at("role").text(NOTHING), one.at("sha256").text()[:12] or NOTHING,
                   size(one.at("bytes").number())) for one in files[:LEDGER_ROWS]],
        "violations": [(one.at("path").text() or one.text(), one.at("event").text(), one.at("when").text())
                       for one in violations[:LEDGER_ROWS]],
        "broken": len(violations),
    }  # fmt: skip


def _named(entry: Tree) -> str:
    """A file's path; a pool is one entry that stands for many."""
    path, many = entry.at("path").text(NOTHING), entry.at("files").number()
    return f"{path} ({count(many)} files)" if many else path


def square(tree: Tree) -> np.ndarray:
    """A confusion matrix, or an empty array where it is none."""
    rows = [row.numbers() for row in tree.items()]
    if not rows or any(len(row) != len(rows) for row in rows):
        return np.zeros((0, 0))
    return np.clip(np.asarray(rows, dtype=np.float64), 0, None)


def evaluation_rows(tree: Tree) -> list[tuple[str, str, str]]:
    """Figures on real data: (name, value, what it means)."""
    ends = [end.number() for end in tree.at("accuracy_interval").items()]
    interval = f"{percent(ends[0])} to {percent(ends[1])}" if len(ends) == 2 else NOTHING
    rows = [
        ("accuracy", percent(tree.at("accuracy").number(), 2), ""),
        ("95 % interval", interval, "what chance in the choice of examples allows"),
        ("teacher's accuracy", percent(tree.at("teacher_accuracy").number(), 2), "on the same examples"),
        ("agreement", percent(tree.at("agreement").number(), 2), "student and teacher name the same class"),
        ("examples", count(tree.at("count").number()), tree.at("source").text()),
        ("ECE", figure(tree.at("ece").number(), 3), "mean gap between confidence and accuracy; 0 is perfect"),
        ("mean confidence", percent(tree.at("mean_confidence").number()), "above the accuracy: too sure of itself"),
        ("negative log-likelihood", figure(tree.at("nll").number(), 3), "lower is better"),
        ("Brier score", figure(tree.at("brier").number(), 3), "lower is better"),
        ("KL to the teacher", figure(tree.at("kl").number(), 3), "0 means the same probabilities"),
    ]  # fmt: skip
    rows = [row for row in rows if row[1] != NOTHING]
    return rows + [_transfer_row(data, one) for data, one in tree.at("transfer").fields().items()]


def _transfer_row(data: str, one: Tree) -> tuple[str, str, str]:
    """Another task's set: the linear probe on the student's features, between its floor and its ceiling."""
    ends = [(end, one.at(end, "probe").number()) for end in ("floor", "ceiling")]
    said = [f"{name} {percent(value)}" for name, value in ends if value is not None]
    share, tuned = one.at("normalised").number(), one.at("model", "fine_tune").number()
    said += [f"{percent(share)} of the way"] if share is not None else []
    said += [f"fine-tuned {percent(tuned)}"] if tuned is not None else []
    meant = f"{one.at('measure').text('score')} of a linear probe; " + ", ".join(said)
    return f"transfer to {data}", percent(one.at("model", "probe").number(), 2), meant


def reliability_bins(tree: Tree) -> list[tuple[float, float, float, float, float]]:
    """(low, high, count, confidence, accuracy) of each bin that is whole."""
    names = ("low", "high", "count", "confidence", "accuracy")
    found = []
    for one in tree.items():
        low, high, number, *rest = (one.at(name).number() for name in names)
        if low is not None and high is not None and number is not None:  # an empty bin has no confidence or accuracy
            found.append((low, high, number if None not in rest else 0.0, rest[0] or 0.0, rest[1] or 0.0))
    return found


def mistakes(matrix: np.ndarray, names: list[str], most: int = 8) -> list[tuple[str, str, str, str]]:
    """The most frequent confusions: (true class, what the student says, how often, share of the class)."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    rows, columns = np.unravel_index(order, wrong.shape)
    of = np.maximum(matrix.sum(1), 1e-12)
    return [(names[row], names[column], count(float(wrong[row, column])), percent(float(wrong[row, column] / of[row])))
            for row, column in zip(rows.tolist(), columns.tolist()) if wrong[row, column] > 0]  # fmt: skip


def class_accuracies(run: Run) -> list[tuple[str, float]]:
    """Name and accuracy of each class that had examples; one without has no accuracy, not a bad one."""
    found = enumerate(run.evaluation.at("per_class").items())
    known = [(run.class_name(label), one.number()) for label, one in found]
    return [(name, min(max(value, 0.0), 1.0)) for name, value in known if value is not None]


def worst(per_class: list[tuple[str, float]], most: int = 10) -> list[Row]:
    """The classes the student knows least, where there are too many to name all in the plot."""
    if len(per_class) <= 24:
        return []
    return [(name, percent(value)) for name, value in sorted(per_class, key=lambda one: one[1])[:most]]
