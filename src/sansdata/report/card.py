"""The model card of a run's student, as hubs have it: a README.md with front matter in YAML.

Every hash on it is taken from the file as it lies there now, or is that of the run's own record; every figure is one
that was measured. Texts of the run directory may be anybody's, and are put down as plain words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from ..config import dump_yaml
from ..engine.guard.ledger import undeclared
from ..files import is_regular, open_regular, sha256
from . import facts, sealed
from .findings import figures
from .paired import interval_of, paired
from .read import Run, read_run
from .words import clip, count, moment, value_of

STUDENT = "student.safetensors"
LIBRARY = "sansdata"
PIPELINES = {
    ("image", "classes"): "image-classification", ("image", "masks"): "image-segmentation",
    ("table", "classes"): "tabular-classification", ("tokens", "classes"): "text-classification",
    ("two-texts", "classes"): "text-classification",
    ("waveform", "classes"): "audio-classification", ("waveform", "multilabel"): "audio-classification",
    ("waveform", "transcript"): "automatic-speech-recognition",
}  # fmt: skip
"""Pair of kinds -> what hubs call the task."""
Row = tuple[str, ...]


def card_of(run_dir: Path, word: Mapping[str, Any] | None = None) -> str:
    """The card's text. word: what only its maker knows: license (a short name), intended_use, privacy, authors,
    copyright, name. Raises RunDirectoryError where there is no run."""
    run, word = read_run(Path(run_dir), grids=0), word or {}
    name = clip(str(word.get("name") or run.directory.resolve().name), 100)
    mode, broken = run.ledger.at("mode").text(), undeclared(run.ledger.value or {})
    known = {key: str(word.get(key) or "") for key in ("intended_use", "privacy", "authors", "copyright")}
    body = _environment().get_template("card.md.j2").render(
        name=name, run=run, word=known, task="" if run.task is None else facts.task_text(run.task),
        preprocessing="" if run.task is None else facts.preprocessing_text(run.task),
        method=run.manifest.at("method").text("unknown"),
        teacher_size=count(run.manifest.at("teacher", "parameters").number()),
        student_size=count(run.manifest.at("student", "parameters").number()),
        when=moment(run.manifest.at("ended").text()), links=provenance(run),
        data=sealed.data_statement(run.directory, bool(mode) and not broken, mode == "strict"),
        pool=run.manifest.at("pool", "path").text(), validation=_validation(run),
        groups=_groups(run), local=_local_cases(run), agreement=_agreement(run), warnings=_warnings(run),
    )  # fmt: skip
    return f"---\n{dump_yaml(front_matter(run, name, word))}---\n\n{body}"


def is_card(file: Path) -> bool:
    """Whether `file` is a card as `card_of` makes them."""
    try:
        with open_regular(file, 1 << 62) as opened:
            head = opened.read(4096)
    except OSError:
        return False
    return head.startswith(b"---\n") and f"\nlibrary_name: {LIBRARY}\n".encode() in head


def front_matter(run: Run, name: str, word: Mapping[str, Any]) -> dict[str, Any]:
    """What a hub reads: license, tags, the model it was made of, and its measured figures."""
    pipeline = PIPELINES.get(run.task.pair) if run.task is not None else None
    teacher, method = run.manifest.at("teacher"), run.manifest.at("method").text("unknown")
    base = Path(teacher.at("source").text()).name
    return {
        "license": clip(str(word.get("license") or "other"), 60),
        "library_name": LIBRARY,
        **({"pipeline_tag": pipeline} if pipeline else {}),
        "tags": ["data-free-distillation", "knowledge-distillation", clip(method, 40)],
        **({"base_model": clip(base, 96)} if base else {}),
        "base_model_sha256": teacher.at("sha256").text() or teacher.at("fingerprint").text(),
        **_model_index(run, name, pipeline),
    }  # fmt: skip


def provenance(run: Run) -> list[Row]:
    """(what, which file, SHA-256) from the teacher to the files that are deployed."""
    teacher = run.manifest.at("teacher")
    record = sealed.checked(run.directory)
    own = record.head if not isinstance(record, str) else run.manifest.at("config_hash").text()
    of = (
        "head of its record" if not isinstance(record, str) else "of its settings; it has no record that can be checked"
    )
    rows: list[Row] = [
        ("teacher", Path(teacher.at("source").text("unknown")).name,
         teacher.at("sha256").text() or teacher.at("fingerprint").text()),
        ("run", of, own),
    ]  # fmt: skip
    if is_regular(run.directory / STUDENT):
        rows.append(("student", STUDENT, sha256(run.directory / STUDENT)))
    latest = {entry.at("name").text(): entry for entry in run.exports.at("exports").items()}
    for file, entry in latest.items():
        path = run.directory / Path(file).name
        if is_regular(path):
            here, then = sha256(path), entry.at("sha256").text()
            shown = here if here == then else f"{here} (not the file that was measured)"
            rows.append((entry.at("format").text("export"), path.name, shown))
    return rows


def _model_index(run: Run, name: str, pipeline: str | None) -> dict[str, Any]:
    """Hubs want a task, a set and at least one figure."""
    metrics = [
        {"type": one.name, "name": one.name.replace("_", " "), "value": one.value}
        for one in figures(run.measured).values()
    ]
    if not metrics or pipeline is None:
        return {}
    source = clip(run.evaluation.at("source").text("local data"), 80)
    result = {"task": {"type": pipeline}, "dataset": {"name": source, "type": source}, "metrics": metrics}
    return {"model-index": [{"name": name, "results": [result]}]}


def _validation(run: Run) -> list[Row]:
    """(figure, value, 95 % interval, teacher's) on the set that was measured last."""
    several = figures(run.measured)
    rows = []
    for one in several.values():
        teacher = several.get(f"teacher_{one.name}")
        if not one.name.startswith("teacher_"):
            rows.append((one.name.replace("_", " "), value_of(one), interval_of(one),
                         "" if teacher is None else value_of(teacher)))  # fmt: skip
    return rows


def _groups(run: Run) -> list[Row]:
    """Accuracy of each class: the least that can be said of parts of the data."""
    names = [one.text() for one in run.evaluation.at("class_names").items()]
    shares = [one.number() for one in run.evaluation.at("per_class").items()]
    return [
        (name, "no samples" if share is None else f"{100 * share:.1f} %")
        for name, share in list(zip(names, shares))[:50]
    ]


def _local_cases(run: Run) -> dict[str, Any] | None:
    """The last validation on local cases: the verdict on a margin that was declared before, in words, and rows of
    (figure, student, teacher, student less teacher); figures of single classes stay in the report."""
    verdict = run.validation.at("verdict")
    if not (outcome := verdict.at("outcome").text()):
        return None
    rows = [row for row in paired(figures(run.validated))[0] if " of " not in row.name]
    margin = verdict.at("margin").number()
    return {
        "outcome": outcome, "measure": verdict.at("measure").text().replace("_", " "),
        "margin": "" if margin is None else f"{margin:g}", "cases": count(run.validation.at("cases").number()),
        "patients": count(run.validation.at("patients").number()), "rows": rows[:40],
    }  # fmt: skip


def _agreement(run: Run) -> str:
    agreement = run.summary.at("agreement", "last").number()
    on = f"{facts.inputs(run)} of this run"
    return "" if agreement is None else f"{100 * agreement:.1f} % of the teacher's answers on {on}"


def _warnings(run: Run) -> Sequence[str]:
    several = run.summary.at("warnings").items()[:20]
    return [f"{one.at('name').text('warning')}: {one.at('text').text()}" for one in several]


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("sansdata.report", "."), undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=plain_words, autoescape=False,
    )  # fmt: skip


def plain_words(value: Any) -> Any:
    """A text as Markdown shows it, letter by letter: no markup, no link, no table, no page of HTML."""
    if not isinstance(value, str):
        return value
    text = clip(value, 2_000).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{letter}" if letter in "\\`*_[]#|~$" else letter for letter in text)
