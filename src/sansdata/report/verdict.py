"""The sentences at the head of a page: how a run ended, what was made, what is known of it, and what was read."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from ..engine.guard.ledger import undeclared
from ..figures import Figure
from . import facts
from .findings import figures
from .neighbours import standing
from .read import Run
from .words import count, percent, title, value_of

STATUS = {
    "done": ("good", "Finished as planned."),
    "truncated": ("warn", "Truncated: the budget ran out before the planned steps; schedules did not reach their end."),
    "interrupted": ("warn", "Interrupted: stopped by a signal and saved; figures are those of the last save. "
                    "It can be continued with --resume."),
    "failed": ("bad", "Failed: the run stopped on an error; the last checkpoint is intact."),
    "running": ("warn", "Not finished: the run was still going, or was killed, when this page was written."),
}  # fmt: skip
MAJORITY = "majority_share"
"""The figure that an accuracy must beat to mean anything."""


@dataclass(frozen=True)
class Verdict:
    """command: what tells more; empty where all is told."""

    headline: str
    sentences: tuple[str, ...]
    command: str = ""


def status(run: Run) -> tuple[str, str, str]:
    """Name, tone and meaning of the run's status."""
    name = run.manifest.at("status").text() or "unknown"
    tone, meaning = STATUS.get(name, ("warn", "The run does not say how it ended."))
    return name, tone, meaning


def verdict(run: Run) -> Verdict:
    """The headline, the sentences below it that say how we know, and the command that tells more."""
    lead = lead_figure(run)
    if lead is not None:
        return _with_data(run, lead)
    unit, command = facts.unit(run), f"sansdata report {shlex.quote(run.directory.resolve().name)} --data DATA"
    known = _known(run)
    if not known:
        ending = (
            "was not measured" if status(run)[0] in ("done", "truncated", "failed") else "has not been measured yet"
        )
        known = [f"How like its teacher the student is {ending}: the run directory holds no agreement."]
    unknown = (
        f"That is not accuracy: on real {unit} the student may do better or worse. How often it is right there, and "
        "where it errs, only labelled real data tells:"
    )
    return Verdict(f"{made(run)}.", (*known, unknown), command)


def made(run: Run) -> str:
    """'A student 7.6× smaller than its teacher, after 3,000 of 3,000 planned steps'."""
    ratio, done, planned = facts.size_ratio(run), facts.steps(run), run.plan.at("steps").number()
    size = ""
    if ratio is not None and 0.95 < ratio < 1.05:
        size = " of its teacher's size"
    elif ratio is not None:
        size = f" {ratio:.3g}× smaller than its teacher" if ratio > 1 else f" {1 / ratio:.3g}× larger than its teacher"
    if done is None:
        return f"A student{size}, before its first step"
    return f"A student{size}, after {count(done)} " + (f"of {count(planned)} planned steps" if planned else "steps")


def lead_figure(run: Run) -> Figure | None:
    """The first figure on real data that has a better side, or None where nothing was measured."""
    return next((figure for figure in figures(run.measured).values() if figure.better), None)


def _with_data(run: Run, lead: Figure) -> Verdict:
    several, unit = figures(run.measured), facts.unit(run)
    teacher, agreement = several.get(f"teacher_{lead.name}"), several.get("agreement")
    number, source = run.evaluation.at("count").number(), run.evaluation.at("source").text()
    many = f"{count(number)} real {unit}" if number is not None else f"real {unit}"
    interval = ""
    if lead.interval is not None:
        ends = [value_of(Figure("", end, lead.unit, "")) for end in lead.interval]
        interval = f" (95 % interval {ends[0]} to {ends[1]})"
    compared = "" if teacher is None else f"; the teacher has {value_of(teacher)}"
    sentences = [
        f"{made(run)}.",
        "Measured" + (f" on {source}" if source else "") + ", read only after training was over.",
    ]
    if agreement is not None:
        sentences.append(f"Student and teacher agree on {value_of(agreement)} of them.")
    if MAJORITY in several and lead.name == "accuracy":
        sentences.append(_without_looking(run, lead, several))
    name = title(lead.name)
    return Verdict(f"{name[:1].upper()}{name[1:]} {value_of(lead)} on {many}{interval}{compared}.", tuple(sentences))


def _without_looking(run: Run, accuracy: Figure, several: Mapping[str, Figure]) -> str:
    """What is right without a look at the input, and whether the student is any better."""
    majority, balanced, guess = several[MAJORITY], several.get("balanced_accuracy"), facts.chance(run.task)
    parts = [f"always naming the most frequent class is right on {value_of(majority)}"]
    parts += [f"guessing on {percent(guess)}"] if guess is not None else []
    sentence = "Without a look at the input " + ", ".join(parts)
    sentence += f"; averaged over the classes the student has {value_of(balanced)}." if balanced is not None else "."
    surely = accuracy.interval[0] if accuracy.interval is not None else accuracy.value
    if surely <= majority.value:
        sentence += " That the student is any better is not shown."
    return f"{sentence} {accuracy.meaning[:1].upper()}{accuracy.meaning[1:]}." if accuracy.meaning else sentence


def _known(run: Run) -> list[str]:
    """What is known without real data, each figure beside what guessing has."""
    agreement, scored = run.summary.at("agreement", "last").number(), run.summary.at("selection", "scored_on").number()
    score, probes = run.summary.at("score", "last").number(), run.summary.at("score", "probes").number()
    so_far = ""
    if agreement is None and len(run.metrics.agreement.values):
        agreement, so_far = run.metrics.agreement.values[-1], " so far"
    known = []
    if agreement is not None:
        many = f"{count(scored)} {facts.inputs(run)}" if scored else facts.inputs(run)
        guess = _beside(run, "guessing: {}")
        known.append(
            f"Known without real data: student and teacher agree{so_far} on {percent(agreement)} of {many}{guess}."
        )
    if score is not None:
        many = f"{count(probes)} probes" if probes is not None else "probes"
        guess = _beside(run, "guessing: at least {}")
        known.append(
            f"Score {percent(score)} on {many}{guess}: how far their answers overlap; it ranks runs of a teacher. "
            + standing(run)
        )
    return known


def _beside(run: Run, text: str) -> str:
    guess = facts.chance(run.task)
    return "" if guess is None else f" ({text.format(percent(guess))})"


def score_meaning(unit: str) -> str:
    """What the score says, for a page about inputs of such a name."""
    return (
        "The score is the overlap of the student's answers with the teacher's (100 %: the same answers), averaged over "
        f"probe {unit} that are made from the teacher alone and are the same for all its runs, so that it ranks runs "
        "of different methods. It is not accuracy: no real example was used."
    )


def seal(run: Run) -> tuple[str, str, str]:
    """The no-data seal: short form, tone, sentence. A pool is data, only not the teacher's own, and is named."""
    short, tone, sentence = _seal(run)
    if not facts.pooled(run):
        return short, tone, sentence
    pool = run.manifest.at("pool")
    skipped = pool.at("skipped").number()
    left = f" ({count(skipped)} files could not be read)" if skipped else ""
    many, where = count(pool.at("images").number()), pool.at("path").text("a folder")
    read = f"A pool of {many} images in {where}{left} was read: data, only not the teacher's training data."
    return f"{short}, with a pool", tone, f"{sentence} {read}"


def _seal(run: Run) -> tuple[str, str, str]:
    mode = run.ledger.at("mode").text()
    broken = undeclared(run.ledger.value or {})
    if not mode:
        return "not recorded", "warn", "This run directory holds no record of what was read."
    if broken:
        times = "1 undeclared read" if broken == 1 else f"{broken:,} undeclared reads"
        return times, "bad", f"{times} in this run (mode: {mode}): the no-data claim does not hold as it stands."
    strict = mode == "strict"
    ending = "would have stopped the run" if strict else "would have been noted, and not stopped"
    clean = f"The guard saw no undeclared read; one that it sees {ending}."
    unwatched = len(run.ledger.at("unwatched").items())
    if unwatched:
        many = "1 thing happened" if unwatched == 1 else f"{unwatched:,} things happened"
        short = "strict, clean as far as seen" if strict else "recorded, clean as far as seen"
        return short, "warn", f"{clean} {many} that it could not follow: see below."
    return ("strict, clean" if strict else "recorded, clean"), "good", clean
