"""Figures as people say them, and the sentences that say what a student is worth."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from .read import Run, Tree

NOTHING = "–"


def percent(value: float | None, digits: int = 1) -> str:
    """0.9123 as '91.2 %', with a space that does not break."""
    return NOTHING if value is None else f"{100 * value:.{digits}f}\u00a0%"


def count(value: float | None) -> str:
    """1234567 as '1,234,567'."""
    return NOTHING if value is None else f"{value:,.0f}"


def figure(value: float | None, digits: int = 4) -> str:
    """Few significant digits, no needless zeros."""
    return NOTHING if value is None else f"{value:.{digits}g}"


def brief(value: float | None) -> str:
    """1234567 as '1.23 M': for places with little room."""
    if value is None:
        return NOTHING
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g} {unit}"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def duration(seconds: float | None) -> str:
    """3725 as '1 h 2 min'."""
    if seconds is None or seconds < 0:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def size(bytes_: float | None) -> str:
    """2500000 as '2.5 MB'."""
    if bytes_ is None:
        return NOTHING
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bytes_ >= scale:
            return f"{bytes_ / scale:.1f} {unit}"
    return f"{bytes_:.0f} B"


def clip(text: str, length: int) -> str:
    """Printable, on one line, at most `length` long."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain if len(plain) <= length else plain[: length - 1] + "…"


def budget(run: Run) -> str:
    """What the run was allowed to spend, as it was asked for."""
    for given in (run.plan.at("budget"), run.config.at("budget")):
        amount, unit = given.at("amount").number(), given.at("unit").text()
        if amount is not None and unit:
            return duration(amount) if unit == "seconds" else f"{count(amount)} {unit}"
        if given.number() is not None:
            return duration(given.number())
        if given.text():
            return given.text()
    return "none set"


def size_ratio(run: Run) -> float | None:
    """Teacher's parameters per student's."""
    teacher = run.manifest.at("teacher", "parameters").number()
    student = run.manifest.at("student", "parameters").number()
    return teacher / student if teacher and student and student > 0 else None


STATUS = {
    "done": ("good", "Finished as planned."),
    "truncated": ("warn", "Truncated: the budget ran out before the planned steps; schedules did not reach their end."),
    "interrupted": ("warn", "Interrupted: stopped by a signal and saved; figures are those of the last save. "
                    "It can be continued with --resume."),
    "failed": ("bad", "Failed: the run stopped on an error; the last checkpoint is intact."),
    "running": ("warn", "Not finished: the run was still going, or was killed, when this page was written."),
}  # fmt: skip


def status(run: Run) -> tuple[str, str, str]:
    """Name, tone and meaning of the run's status."""
    name = run.manifest.at("status").text() or "unknown"
    tone, meaning = STATUS.get(name, ("warn", "The run does not say how it ended."))
    return name, tone, meaning


def verdict(run: Run) -> tuple[str, list[str]]:
    """The headline, and the sentences below it that say how we know."""
    if run.evaluation.at("accuracy").number() is not None:
        return _with_data(run.evaluation)
    agreement = run.summary.at("agreement", "last").number()
    if agreement is not None:
        return _without_data(run, agreement)
    name, _, _ = status(run)
    if len(run.metrics.agreement.values):
        now = run.metrics.agreement.values[-1]
        return (
            f"So far the student agrees with the teacher on {percent(now)} of {inputs(run)}.",
            ["This was measured while training, at the last logged point. It is agreement, not accuracy."],
        )
    ending = "has not been measured yet" if name in ("running", "interrupted", "unknown") else "was not measured"
    return f"What this student is worth {ending}.", ["The run directory holds neither agreement nor accuracy."]


def _with_data(evaluation: Tree) -> tuple[str, list[str]]:
    accuracy = evaluation.at("accuracy").number()
    teacher = evaluation.at("teacher_accuracy").number()
    agreement = evaluation.at("agreement").number()
    low_high = evaluation.at("accuracy_interval").items()
    interval = ""
    if len(low_high) == 2 and None not in (low_high[0].number(), low_high[1].number()):
        interval = f" (95 % interval {percent(low_high[0].number())} to {percent(low_high[1].number())})"
    compared = "" if teacher is None else f"; the teacher gets {percent(teacher)}"
    head = f"The student gets {percent(accuracy)} of real examples right{interval}{compared}."
    number, source = evaluation.at("count").number(), evaluation.at("source").text()
    measured = "Measured on " + (f"{count(number)} " if number is not None else "") + "real labelled examples"
    lines = [measured + (f" from {source}" if source else "") + ", read only after training was over."]
    if agreement is not None:
        lines.append(f"Student and teacher name the same class on {percent(agreement)} of them.")
    return head, lines


def _without_data(run: Run, agreement: float) -> tuple[str, list[str]]:
    scored = run.summary.at("selection", "scored_on").number()
    samples = f"{count(scored)} {inputs(run)}" if scored else inputs(run)
    pool = "the images are not the task's and carry no labels"
    unused = "no real example was used" if inputs(run) == GENERATED else pool
    score, probes = run.summary.at("score", "last").number(), run.summary.at("score", "probes").number()
    if score is None:
        return (
            f"The student names the same class as the teacher on {percent(agreement)} of {samples}.",
            [
                f"This is agreement, not accuracy: {unused}, and on real inputs the student may do "
                "better or worse than this figure suggests."
            ],
        )
    return (
        f"Score {percent(score)}: the student's answers overlap so far with the teacher's on {count(probes)} probes.",
        [SCORE_MEANING, f"On {samples} of the run itself they agree on {percent(agreement)}."],
    )


GENERATED = "generated samples"


def inputs(run: Run) -> str:
    """What the student learned from, in the words of a sentence."""
    return "images of the pool" if run.manifest.at("pool").fields() else GENERATED


def seal(run: Run) -> tuple[str, str, str]:
    """The no-data seal: short form, tone, sentence. A pool is data, only not the teacher's own, and is named."""
    short, tone, sentence = _seal(run)
    pool = run.manifest.at("pool")
    if not pool.fields():
        return short, tone, sentence
    skipped = pool.at("skipped").number()
    left = f" ({count(skipped)} files could not be read)" if skipped else ""
    many, where = count(pool.at("images").number()), pool.at("path").text("a folder")
    told = f"A pool of {many} images in {where}{left} was read: data, only not the teacher's training data."
    return f"{short}, with a pool", tone, f"{sentence} {told}"


def _seal(run: Run) -> tuple[str, str, str]:
    mode = run.ledger.at("mode").text()
    broken = len(run.ledger.at("violations").items())
    if not mode:
        return "not recorded", "warn", "This run directory holds no record of what was read."
    if broken:
        times = "1 undeclared read" if broken == 1 else f"{broken:,} undeclared reads"
        return times, "bad", f"{times} in this run (mode: {mode}): the no-data claim does not hold as it stands."
    if mode == "strict":
        return "strict, clean", "good", "Every read was checked as it happened; an undeclared one stops a strict run."
    return "recorded, clean", "good", "Every read was recorded and none was undeclared; none would have been stopped."


def moment(iso: str) -> str:
    """'2026-01-02T03:04:05.678+00:00' as '2026-01-02 03:04:05 UTC'; what is no such time stays as it is."""
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return when.strftime("%Y-%m-%d %H:%M:%S ") + (str(when.tzinfo) if when.tzinfo else "")


def joined(items: Sequence[str]) -> str:
    """'a, b and c'."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1] if items else ""


SCORE_MEANING = (
    "The score is the overlap of the student's class probabilities with the teacher's (100 %: the same answers), "
    "averaged over probe images. These are made from the teacher alone and are the same for all its runs, so that the "
    "score ranks runs of different methods. It is not accuracy: no real example was used."
)
