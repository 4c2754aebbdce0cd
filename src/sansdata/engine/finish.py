"""After the last step: the snapshots are scored, the students written, the samples described."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from .. import __version__, columns
from ..compress.few_bits import released
from ..compress.packable import packable
from ..decoding.arrays import read_arrays
from ..decoding.image_pool import ImagePool
from ..errors import DataError
from ..figures import Finding, Warned, values
from ..files import by_step, open_regular
from ..kinds.base import OutputKind
from ..kinds.inputs.brightness import PROBLEM
from ..models.saved import write_model
from ..teachers.base import Teacher
from . import selection
from .loop import Loop
from .monitor import announce
from .prepare import Prepared
from .probes import make_probes
from .run_directory import RunDirectory

MAX_SAMPLE_BYTES = 512_000_000
"""Of one file of samples."""
LATE = 64
"""Answers of the last samples that are looked at: no more than a run keeps of one step."""


def finish(prepared: Prepared, directory: RunDirectory, loop: Loop) -> None:
    """Writes student.safetensors, student.best.safetensors where another is preferred, and summary.json."""
    session, start, packed = loop.session, time.perf_counter(), loop.reservoir.packed
    assert packed is not None
    student, bits = released(session.method.released(session.student)), packable(session.student)
    last = {name: value.clone() for name, value in student.state_dict().items()}
    probes = make_probes(prepared.teacher, prepared.runtime)
    several, many = len(selection.snapshots(directory.path / "snapshots")), columns.count(packed)
    announce(f"scoring   {several} snapshots beside the teacher, on {many:,} {loop.kind.unit} and the probes")
    network, context = session.context.network.around(student), session.context
    snapshots = selection.score(
        directory.path / "snapshots", network, packed, probes.packed, context, session.method.validation
    )
    newest = snapshots[-1]
    by = "validation" if "validation" in newest else "score" if probes.telling else "agreement"
    best = selection.preferred(snapshots, by)
    if best is not newest:
        file = directory.path / "snapshots" / f"step-{best['step']:09d}.safetensors"
        selection.restore(student, file)
        on = "images of the pool" if by == "agreement" and prepared.pool is not None else "inputs made without data"
        whose = "by the method's own measure" if by == "validation" else "with the teacher"
        note = {"selected": f"highest {by} {whose} on {on}", "steps": best["step"]}
        _write(prepared, directory, loop, student, bits, "student.best.safetensors", note)
    student.load_state_dict(last)
    _write(prepared, directory, loop, student, bits, "student.safetensors", {})
    late = last_answers(directory.path / "samples", prepared.teacher.network.outputs)
    findings, warnings = describe_samples(prepared, loop, late, newest)
    scored = {"last": newest.get("score"), "best": best.get("score")}
    directory.write_json(
        "summary.json",
        {
            "steps": session.context.progress.steps,
            "unit": loop.kind.unit,
            "cost": _cost(loop, time.perf_counter() - start),
            **_services(prepared.teacher),
            "score": scored | {"probes": columns.count(probes.packed), "queries": probes.queries}
            if probes.telling else None,
            "agreement": {"last": newest.get("agreement"), "best": best.get("agreement")},
            "selection": {
                "by": by if by in newest else "last", "snapshots": snapshots, "best_step": best["step"],
                "scored_on": columns.count(packed),
            },
            "samples": values(findings) | {"scored": columns.count(packed)},
            "figures": [one.to_dict() for one in findings],
            "warnings": [one.to_dict() for one in warnings],
        },
    )  # fmt: skip


def describe_samples(
    prepared: Prepared, loop: Loop, late: Tensor | None, newest: Mapping[str, float]
) -> tuple[list[Finding], list[Warned]]:
    """What the samples of the run were like, and everything that went wrong. late: the teacher's answers to the newest
    samples; newest: the scores of the last student."""
    session, kind, packed = loop.session, loop.kind, loop.reservoir.packed
    assert packed is not None
    outputs, task = prepared.teacher.network.outputs, prepared.task
    answers = selection.answers(prepared.teacher.network, packed, session.context)
    described, statistics = outputs.describe(answers, late), kind.statistics(packed)
    agreed, count = newest.get("probe_agreement", 1.0), columns.count(packed)
    warnings = outputs.warnings(values(described), agreed, count, task.name_of) + kind.warnings(values(statistics))
    warnings += session.method.warnings() + _of_pool(prepared.pool)
    warnings += _before_the_run(prepared.findings.warnings)
    if session.defence is not None:
        warnings += [Warned("vaccine", None, text) for text in session.defence.findings()]
    warnings += [Warned("retrospection", None, text) for update in session.updates for text in update.findings()]
    return [*described, *statistics, *session.method.findings()], warnings


def _before_the_run(texts: Sequence[str]) -> list[Warned]:
    """What preflight found, as warnings."""
    return [
        Warned("wrong mean and std" if text.startswith(PROBLEM) else "before the run", None, text) for text in texts
    ]


def _of_pool(pool: ImagePool | None) -> list[Warned]:
    """How many files of the pool had to be left out, where some had."""
    if pool is None or not pool.skipped:
        return []
    text = f"of {pool.files} image files of the pool could not be read; events.log names the first."
    return [Warned("pool files skipped", pool.skipped, text)]


def _write(
    prepared: Prepared, directory: RunDirectory, loop: Loop, student: nn.Module, bits: Mapping[str, int], name: str,
    note: dict[str, Any],
) -> None:  # fmt: skip
    provenance = {
        "sansdata": __version__, "method": prepared.settings.method, "seed": prepared.settings.seed,
        "config_hash": directory.manifest()["config_hash"], "teacher": prepared.teacher.source,
        "teacher_fingerprint": prepared.teacher.fingerprint(), "steps": loop.session.context.progress.steps,
    }  # fmt: skip
    if prepared.pool is not None:
        provenance["pool"] = prepared.pool.describe()
    if prepared.settings.bits.active:
        provenance["bits"] = directory.manifest()["student"]["bits"]
    architecture = loop.session.method.architecture(prepared.student.architecture)
    write_model(
        directory.path / name, student, architecture=architecture, task=prepared.student.task,
        provenance=provenance | note, packable=bits,
    )  # fmt: skip


def last_answers(folder: Path, kind: OutputKind) -> Tensor | None:
    """The teacher's answers to the newest samples that were kept; None where the run kept none."""
    for _, path in by_step(folder, ".npz")[-1:]:
        with contextlib.suppress(OSError, DataError), open_regular(path, MAX_SAMPLE_BYTES) as file:
            answers = read_arrays(file, path.name, MAX_SAMPLE_BYTES).get("logits")
            if answers is None:
                return None
            first = np.atleast_1d(answers)[:LATE]
            return kind.from_array(first, len(first))
    return None


def _services(teacher: Teacher) -> dict[str, Any]:
    """What this process sent to the service, or of each of several, where the teacher is one or has some."""
    spent = [meter.to_dict() for meter in teacher.meters]
    return {"service": spent[0] if len(spent) == 1 else spent} if spent else {}


def _cost(loop: Loop, scoring: float) -> dict[str, float]:
    world, counted = loop.runtime.world, loop.session.context.counters.values
    return {
        "seconds": round(loop.elapsed, 3),
        "cpu_seconds": round(loop.cpu, 3),
        **{name: round(v, 3) if name.startswith("seconds") else int(v * world) for name, v in counted.items()},
        "scoring_seconds": round(scoring, 3),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
