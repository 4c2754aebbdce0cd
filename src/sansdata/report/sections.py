"""What each section of the page says, as plain rows and sentences; drawings are made beside them in `page`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from ..engine.guard.ledger import undeclared
from ..figures import Figure
from . import facts, sealed
from .findings import ROWS, figures
from .read import Run
from .samples import rows_of
from .tree import Tree
from .verdict import MAJORITY, lead_figure, seal, status, verdict
from .words import NOTHING, brief, clip, count, duration, figure, moment, percent, size, title, value_of

LEDGER_ROWS = 300
WARNING_ROWS = 200
ARROWS = {"higher": "↑", "lower": "↓", "": ""}
Row = tuple[str, str]


def head(run: Run) -> dict[str, Any]:
    """Title, verdict, and the tiles under it: (label, value, note, tone)."""
    name, tone, meaning = status(run)
    teacher, student = run.manifest.at("teacher"), run.manifest.at("student")
    return {
        "title": f"{run.manifest.at('method').text('run')} · {run.directory.resolve().name}",
        "method": run.manifest.at("method").text(NOTHING),
        "teacher": teacher.at("source").text("unknown teacher"),
        "student": student.at("spec").text() or student.at("architecture").text("unknown student"),
        "status": name, "tone": tone, "meaning": meaning, "verdict": verdict(run), "tiles": tiles(run),
        "notes": [note.text() for note in run.manifest.at("resumed").items() if note.text()],
        "forced": [note.text() for note in run.manifest.at("forced").items() if note.text()],
        "faults": run.faults,
    }  # fmt: skip


def tiles(run: Run) -> list[tuple[str, str, str, str]]:
    """The figures at the head of the page."""
    teacher, student = (run.manifest.at(who, "parameters").number() for who in ("teacher", "student"))
    ratio = facts.size_ratio(run)
    sizes = f"{brief(teacher)} → {brief(student)} parameters" if ratio else "sizes not recorded"
    warned = len(run.summary.at("warnings").items())
    seal_short, seal_tone, _ = seal(run)
    best = _best_tile(run)
    return [
        *([best] if best is not None else []),
        ("smaller by", f"{ratio:.3g}×" if ratio else NOTHING, sizes, ""),
        ("student steps", count(facts.steps(run)), facts.planned(run), ""),
        ("time spent", duration(facts.seconds(run)), f"budget: {facts.budget(run)}", ""),
        ("no-data seal", seal_short, "see No-data ledger", seal_tone),
        ("warnings", count(warned) if run.summary else NOTHING, "see Warnings" if warned else "",
         "warn" if warned else ""),
    ]  # fmt: skip


def _best_tile(run: Run) -> tuple[str, str, str, str] | None:
    """The figure that says most of what is known."""
    lead, several = lead_figure(run), figures(run.measured)
    if lead is not None:
        notes, teacher = [], several.get(f"teacher_{lead.name}")
        if teacher is not None and teacher.value > 0 and lead.unit == "share":
            notes.append(f"{percent(lead.value / teacher.value)} of the teacher's {value_of(teacher)}")
        if MAJORITY in several:
            notes.append(f"always naming the most frequent class: {value_of(several[MAJORITY])}")
        return title(lead.name), value_of(lead), "; ".join(notes) or "on real data", ""
    for name, note in (("score", "overlap with the teacher on probes"), ("agreement", f"on {facts.inputs(run)}")):
        value = run.summary.at(name, "last").number()
        if value is not None:
            guess = facts.chance(run.task)
            least = "at least " if name == "score" else ""
            return name, percent(value), note + (f"; guessing: {least}{percent(guess)}" if guess else ""), ""
    return None


def reproduce(run: Run) -> dict[str, Any]:
    """The command and everything it depends on."""
    manifest = run.manifest
    teacher, student = manifest.at("teacher"), manifest.at("student")
    versions = [("sansdata", manifest.at("sansdata").text())]
    versions += [(name, value.text()) for name, value in manifest.at("versions").fields().items()]
    access, norms = teacher.at("access").text(), teacher.at("batch_norms").number()
    rows = [
        *_task_rows(run),
        ("seed", manifest.at("seed").text()),
        ("configuration", manifest.at("config_hash").text()),
        ("versions", ", ".join(f"{name} {value}" for name, value in versions if value)),
        ("machine", _machine(manifest.at("machine"))),
        ("device, precision", _listed(manifest.at("device"), manifest.at("precision"))),
        ("threads, processes", _listed(manifest.at("threads"), manifest.at("world"))),
        ("started", moment(manifest.at("started").text())),
        ("ended", moment(manifest.at("ended").text())),
        ("duration", duration(facts.seconds(run))),
        ("teacher", teacher.at("source").text()),
        ("teacher fingerprint", teacher.at("fingerprint").text()),
        ("teacher access", access + (f", {count(norms)} BatchNorm layers" if norms is not None else "")),
        ("student", _listed(student.at("spec"), student.at("architecture"))),
        ("bits of the student", facts.bits(run)),
        ("pool (not the teacher's data)", _pool(manifest.at("pool"))),
    ]  # fmt: skip
    command = manifest.at("command").text()
    # The run's own settings reproduce it even where the command is lost or needs files that moved.
    config = shlex.quote(f"{run.directory.resolve().name}/config.yaml")
    again = f"sansdata distill --config {config} --out again"
    return {
        "command": command or again,
        "again": again if command and run.config_text else "",
        "rows": [row for row in rows if row[1] and row[1] != NOTHING],
        "config": run.config_text[:60_000],
    }


def _task_rows(run: Run) -> list[Row]:
    if run.task is None:
        return []
    guess = facts.chance(run.task)
    return [
        ("task", facts.task_text(run.task)),
        ("preprocessing", facts.preprocessing_text(run.task)),
        ("chance level", "" if guess is None else f"{percent(guess)}, one of {1 / guess:,.0f} by guessing"),
    ]


def _machine(machine: Tree) -> str:
    cores, memory = machine.at("cores").number(), machine.at("memory_gb").number()
    parts = [machine.at("system").text(), machine.at("processor").text()]
    parts += [f"{count(cores)} cores" if cores is not None else "", f"{memory:.3g} GB" if memory is not None else ""]
    return ", ".join(part for part in parts if part)


def _pool(tree: Tree) -> str:
    if not tree.fields():
        return ""
    images, skipped = count(tree.at("images").number()), count(tree.at("skipped").number())
    digest = tree.at("sha256").text()[:16]
    return f"{tree.at('path').text(NOTHING)}: {images} images, {skipped} skipped, sha256 {digest}"


def _listed(*parts: Tree) -> str:
    return ", ".join(part.text() for part in parts if part.text())


def grids(run: Run, total_bytes: int) -> dict[str, Any]:
    """Samples by step, each with the teacher's answer to it."""
    each = total_bytes // max(1, sum(len(grid.samples) for grid in run.grids))
    rows = []
    for grid in run.grids:
        shown = rows_of(grid.samples, each)
        sizes = dict.fromkeys(picture["size"] for picture in shown["pictures"])
        note = f", {', '.join(sizes)} pixels" if sizes else ""
        rows.append({"step": grid.step, "shown": shown, "number": len(grid.samples), "of": grid.count, "note": note})
    return {
        "rows": rows, "files": run.grid_files, "captioned": any(row["shown"]["captioned"] for row in rows),
        "legend": next((grid.legend for grid in run.grids if grid.legend), ""),
    }  # fmt: skip


def figure_rows(several: Sequence[Figure], digits: int = 1) -> list[dict[str, str]]:
    """A table of figures: name, value, interval, meaning, and an arrow to the better side."""
    rows = []
    for measured in several:
        ends = [value_of(Figure("", end, measured.unit, ""), digits) for end in measured.interval or ()]
        rows.append({
            "name": title(measured.name), "value": value_of(measured, digits), "interval": " to ".join(ends),
            "meaning": measured.meaning, "arrow": ARROWS[measured.better],
        })  # fmt: skip
    return rows


def export_rows(exports: Tree) -> list[tuple[str, ...]]:
    """Of each export: the file, its size, agreement, accuracy, latencies and threads, peak memory, and when."""
    rows = []
    for entry in reversed(exports.at("exports").items()[-ROWS:]):
        ends = [entry.at(name).number() for name in ("p50", "p95", "p99")]
        latency = " / ".join(NOTHING if end is None else f"{end:.3g}" for end in ends)
        memory = entry.at("peak_memory_mb").number()
        rows.append((
            clip(entry.at("name").text(NOTHING), 80), size(entry.at("size").number()),
            percent(entry.at("agreement").number()), percent(entry.at("accuracy").number()),
            f"{latency} ms, {entry.at('threads').text(NOTHING)} thread",
            NOTHING if memory is None else f"{memory:.0f} MB", moment(entry.at("written").text()),
        ))  # fmt: skip
    return rows


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
    made = f"{facts.unit(run)} drawn from the pool, or made" if facts.pooled(run) else f"{facts.unit(run)} made"
    names = {"samples": made, "teacher_forwards": "teacher forwards", "teacher_backwards": "teacher backwards",
             "student_forwards": "student forwards", "student_backwards": "student backwards"}  # fmt: skip
    memory, scoring = tree.at("peak_memory_mb").number(), tree.at("scoring_seconds").number()
    rows: list[Row] = [
        ("time of all steps", duration(facts.seconds(run))),
        ("scoring at the end", duration(scoring)),
        ("CPU time of all steps", duration(tree.at("cpu_seconds").number())),
        *((text, count(tree.at(key).number())) for key, text in names.items()),
        ("teacher forwards to make probes", count(run.summary.at("score", "queries").number())),
        ("peak memory", NOTHING if memory is None else size(memory * 1e6)),
        *of_service(run),
    ]  # fmt: skip
    return {"bar": bar, "rows": [row for row in rows if row[1] != NOTHING]}


def of_service(run: Run) -> list[Row]:
    """What was sent to each service in this process, checks and scores included, and what was ever spent on it."""
    several = run.summary.at("service").items()[:ROWS]
    if not several:
        return _of_one_service(run.summary.at("service"))
    services = [(f"{number}. {clip(one.at('source').text(), 40)}", one) for number, one in enumerate(several, 1)]
    return [(f"{text}, {name}", value) for name, one in services for text, value in _of_one_service(one)]


def _of_one_service(tree: Tree) -> list[Row]:
    ever = tree.at("ever")
    money = [part.at("money").text() for part in (tree, ever)]
    return [
        ("sent to the service", count(tree.at("samples").number())),
        ("in requests", count(tree.at("requests").number())),
        ("answered from the journal", count(tree.at("answered_before").number())),
        ("cost at the service", money[0] if money[0] not in ("", "0") else NOTHING),
        ("ever sent to the service", count(ever.at("samples").number())),
        ("ever spent there", money[1] if money[1] not in ("", "0") else NOTHING),
    ]


def warnings(run: Run) -> dict[str, Any]:
    """The run's own warnings."""
    more = max(0, len(run.summary.at("warnings").items()) - WARNING_ROWS)
    return {"rows": warning_rows(run.summary), "known": bool(run.summary), "more": more}


def warning_rows(tree: Tree) -> list[tuple[str, str, str]]:
    """(name, value, text) of the warnings in a file."""
    several = tree.at("warnings").items()
    rows = []
    for entry in several[:WARNING_ROWS]:
        value = entry.at("value").number()
        rows.append((entry.at("name").text("warning"), figure(value) if value is not None else entry.at("value").text(),
                     entry.at("text").text() or entry.text()))  # fmt: skip
    return rows


def added_lead(tree: Tree) -> str:
    """The sentence with which figures begin that a command added: a verdict, or what the evidence allows."""
    verdict = tree.at("verdict")
    if outcome := verdict.at("outcome").text():
        ends = [end.number() for end in verdict.at("interval").items()]
        low, high = ends if len(ends) == 2 else (None, None)
        within = f", 95 % interval {low:.4f} to {high:.4f}" if low is not None and high is not None else ""
        return (
            f"{clip(outcome, 20)}: {clip(verdict.at('measure').text(), 40)} of the student less the teacher's is "
            f"{figure(verdict.at('difference').number())}{within}; declared beforehand: not more than "
            f"{figure(verdict.at('margin').number())} below. {count(tree.at('cases').number())} cases of "
            f"{count(tree.at('patients').number())} patients."
        )
    return f"Evidence of level {clip(tree.at('level').text(NOTHING), 10)}: {clip(tree.at('evidence').text(), 300)}."


def absent_rows(tree: Tree) -> list[Row]:
    """(what has no figure, why), of an audit and of a validation."""
    rows = [
        (f"{one.at('measure').text()} {one.at('name').text()}", f"needs {one.at('needs').text()}")
        for one in tree.at("not measurable").items()
    ]
    rows += [
        (f"{one.at('column').text()}: {one.at('level').text()}", one.at("reason").text())
        for one in tree.at("suppressed").items()
    ]
    return [(clip(name, 120), clip(why, 300)) for name, why in rows[:ROWS]]


def ledger(run: Run) -> dict[str, Any]:
    """What was read, and what should not have been."""
    files = run.ledger.at("files").items()
    short, tone, sentence = seal(run)
    violations = run.ledger.at("violations").items()
    return {
        "short": short, "tone": tone, "sentence": sentence, "total": len(files),
        "files": [(_named(entry), entry.at("role").text(NOTHING), entry.at("sha256").text()[:12] or NOTHING,
                   size(entry.at("bytes").number())) for entry in files[:LEDGER_ROWS]],
        "violations": [(entry.at("path").text() or entry.text(), entry.at("event").text(), entry.at("when").text())
                       for entry in violations[:LEDGER_ROWS]],
        "broken": undeclared(run.ledger.value or {}),
        "unwatched": [(entry.at("what").text(), entry.at("name").text(), entry.at("when").text())
                      for entry in run.ledger.at("unwatched").items()[:LEDGER_ROWS]],
        "processes": _processes(run.ledger.at("processes").items()), "sealed": sealed.rows(run.directory),
    }  # fmt: skip


def _processes(several: Sequence[Tree]) -> str:
    """How many processes the record is the sum of, and what the kernel counted beside it."""
    open_ended = sum(not process.at("ended").text() for process in several)
    counted, opened = (
        [value for process in several if (value := process.at("bytes_read", name).number()) is not None]
        for name in ("counted", "seen")
    )
    sentences = []
    if len(several) > 1 or open_ended:
        many = "1 process" if len(several) == 1 else f"{len(several):,} processes"
        unfinished = f", of which {open_ended:,} did not end its record: it runs, or was killed" if open_ended else ""
        sentences.append(f"The record is the sum of {many}{unfinished}.")
    if counted and opened:
        sentences.append(
            f"The system counted {size(sum(counted))} read by system calls; the files that the guard saw opened, with "
            f"what it hashed, have {size(sum(opened))}."
        )
    return " ".join(sentences)


def _named(entry: Tree) -> str:
    """A file's path; a pool is one entry that stands for many."""
    path, many = entry.at("path").text(NOTHING), entry.at("files").number()
    return f"{path} ({count(many)} files)" if many else path
