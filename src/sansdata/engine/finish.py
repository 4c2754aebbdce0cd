"""After the last step: the snapshots are scored, the students written, the samples described."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from torch import Tensor

from .. import __version__
from ..models.saved import write_model
from . import diagnosis, selection
from .loop import Loop
from .prepare import Prepared
from .probe_images import make_probes
from .run_directory import RunDirectory


def finish(prepared: Prepared, directory: RunDirectory, loop: Loop) -> None:
    """Writes student.safetensors, student.best.safetensors where another is preferred, and summary.json."""
    session, start = loop.session, time.perf_counter()
    images = loop.reservoir.images
    assert images is not None
    last = {name: value.clone() for name, value in session.student.state_dict().items()}
    probes = make_probes(prepared.teacher, prepared.runtime)
    rows = selection.score(session.student, directory.path / "snapshots", images, probes.images, session.context)
    by = "score" if probes.telling else "agreement"
    best = selection.preferred(rows, by)
    if best is not rows[-1]:
        file = directory.path / "snapshots" / f"step-{best['step']:09d}.safetensors"
        session.student.load_state_dict(load_tensors(file.read_bytes()))
        on = "images of the pool" if by == "agreement" and prepared.pool is not None else "images made without data"
        note = {"selected": f"highest {by} with the teacher on {on}"}
        _write(prepared, directory, loop, "student.best.safetensors", note)
    session.student.load_state_dict(last)
    _write(prepared, directory, loop, "student.safetensors", {})
    seen = selection.answers(prepared.teacher.module, images, session.context)
    samples = diagnosis.describe_samples(images, seen, last_grid(directory.path / "samples"))
    found = diagnosis.warnings(samples, rows[-1], prepared.task)
    found += diagnosis.of_pool(prepared.pool)
    found += diagnosis.before_the_run(prepared.findings.warnings)
    if session.vaccine is not None:
        found += [{"name": "vaccine", "value": None, "text": text} for text in session.vaccine.findings()]
    directory.write_json(
        "summary.json",
        {
            "steps": session.context.progress.steps,
            "cost": _cost(loop, time.perf_counter() - start),
            "score": {
                "last": rows[-1]["score"], "best": best["score"], "probes": len(probes.images),
                "queries": probes.queries,
            } if probes.telling else None,
            "agreement": {"last": rows[-1]["agreement"], "best": best["agreement"]},
            "selection": {"by": by, "snapshots": rows, "best_step": best["step"], "scored_on": len(images)},
            "samples": samples,
            "warnings": found,
        },
    )  # fmt: skip


def _write(prepared: Prepared, directory: RunDirectory, loop: Loop, name: str, note: dict[str, Any]) -> None:
    provenance = {
        "sansdata": __version__, "method": prepared.settings.method, "seed": prepared.settings.seed,
        "config_hash": directory.manifest()["config_hash"], "teacher": prepared.teacher.source,
        "teacher_fingerprint": prepared.teacher.fingerprint(), "steps": loop.plan.steps,
    }  # fmt: skip
    if prepared.pool is not None:
        provenance["pool"] = prepared.pool.describe()
    architecture = loop.session.method.architecture(prepared.student.architecture)
    write_model(
        directory.path / name, loop.session.student, architecture=architecture, task=prepared.task,
        provenance=provenance | note,
    )  # fmt: skip


def last_grid(folder: Path) -> Tensor | None:
    """The teacher's logits (N, K) on the newest sample grid; None where the run kept none."""
    files = sorted(folder.glob("step-*.npz"))
    if not files:
        return None
    with np.load(files[-1], allow_pickle=False) as file:
        return torch.from_numpy(file["logits"])


def _cost(loop: Loop, scoring: float) -> dict[str, float]:
    world, counted = loop.runtime.world, loop.session.context.counters.values
    return {
        "seconds": round(loop.elapsed, 3),
        "cpu_seconds": round(loop.cpu, 3),
        **{name: round(v, 3) if name.startswith("seconds") else int(v * world) for name, v in counted.items()},
        "scoring_seconds": round(scoring, 3),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
