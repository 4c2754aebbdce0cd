"""One run from its settings to its sealed directory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import nn

from .. import __version__
from ..config import dump_yaml
from ..errors import (
    BudgetSpent,
    ConfigError,
    Interrupted,
    NoDataViolation,
    ResumeError,
    SansdataError,
    UserError,
    first_line,
)
from ..files import exists, utc_now, write_atomic
from ..method import Method
from ..settings import RunSettings
from ..signing import Key
from ..tasks import load_task
from ..teachers.base import Teacher, fingerprint
from ..teachers.panel import Api, Panel
from ..teachers.panel_file import specs_in
from ..teachers.services import journals, services
from ..teachers.specs import declared_files, import_libraries
from ..training.few_bits import described
from .budget import Plan
from .checkpoint import Checkpoints
from .facts import plan_in
from .finish import finish
from .guard.ledger import Ledger
from .guard.no_data import Mode, NoDataGuard
from .kept_samples import keep_samples
from .loop import Loop
from .monitor import announce, require_tensorboard
from .out_of_memory import is_out_of_memory, out_of_memory
from .prepare import Prepared, declared_inputs, models_named, prepare
from .run_directory import RunDirectory, at
from .seal.chain import CHAIN
from .seal.sealing import Seal
from .signals import StopRequest, stop_on_signals

OnStep = Callable[[int, dict[str, float]], None]
EXACT = ("torch", "threads", "device", "precision", "world", "processor")
"""What must be equal for a resumed run to be bitwise the uninterrupted one."""


def run(
    settings: RunSettings,
    out: Path,
    teacher: Teacher | None = None,
    student: nn.Module | None = None,
    method: type[Method] | None = None,
    resume: bool = False,
    force: bool = False,
    config_file: Path | None = None,
    command: str | None = None,
    on_step: OnStep | None = None,
    sign: Key | None = None,
) -> Path:
    """Distils into directory `out`, under the no-data guard, and seals it. Gives `out`.

    method: a class in place of the one that the settings name. sign: a private key, for the end of a sealed run. force:
    resume although machine, versions or settings differ; the result is then not bitwise the same, and says so. Raises
    UserError before step 0, Interrupted after a signal, DivergedError, NoDataViolation, OutOfMemory, PeerLost,
    BudgetSpent.
    """
    directory = RunDirectory(out)
    if settings.engine.tensorboard:
        require_tensorboard()
    asked = [one for spec in (settings.teacher, *settings.helpers) for one in specs_in(spec)]
    import_libraries([*asked, *models_named(settings, method)])
    mode: Mode = "strict" if settings.strict or settings.sealed else "record"
    guard = NoDataGuard(mode, declared_inputs(settings, config_file), out, settings.sealed)
    job = load_task(settings.task) if settings.task else None if teacher is None else teacher.task
    for spec in (*asked, *([] if teacher is None else [member.source for member in teacher.members])):
        if settings.sealed and (asked_services := services(spec)):
            raise ConfigError(f"a sealed run asks nobody: {', '.join(asked_services.values())} lies behind a network")
        guard.declare_services(services(spec))
        guard.declare(dict.fromkeys(journals(spec, job), "journal"))
    seal = Seal(out, guard, sign) if settings.sealed else None
    with _alone(), guard, stop_on_signals() as request:
        with _explained(request), _noted_before(directory, resume, seal):
            prepared = prepare(settings, teacher, student, method)
        guard.declare(prepared.method.reads(prepared.config))
        for spec, role in prepared.method.models(prepared.config).items():
            guard.declare(dict.fromkeys(declared_files(spec), role))
        guard.declare_programs(prepared.method.runs(prepared.config))
        if prepared.pool is not None:
            guard.vouch(prepared.pool.describe())
        first = prepared.runtime.rank == 0
        if settings.sealed and prepared.runtime.world > 1:
            raise ConfigError("a sealed run is one process: several talk to one another, which nobody could follow")
        ledger = Ledger(out, guard, prepared.runtime.rank)
        continued = directory.open(resume) if first else False
        continued = bool(prepared.runtime.from_rank_0(continued))
        loop = None
        try:
            with _explained(request, prepared):
                loop = _begin(prepared, directory, ledger, seal, continued, force, command, on_step)
                status = loop.run(request)
                _finish(prepared, directory, loop)
        except BaseException as fault:
            violated = seal is not None and isinstance(fault, NoDataViolation)
            if first and loop is not None:
                _close(directory, ledger, loop, fault)
            elif first and not continued and not violated:
                directory.discard()
            if seal is not None and (loop is not None or violated):
                seal.stop("interrupted" if isinstance(fault, Interrupted) else "failed", fault)
            elif not first and loop is not None:
                with contextlib.suppress(Exception):
                    ledger.write(ended=True)
            directory.release()
            raise
    ledger.write(ended=True)
    prepared.runtime.barrier()  # the records of all processes are there
    if first:
        ledger.sum_up()
        ended = {"status": status, "ended": utc_now(), "seconds": round(loop.elapsed, 3)}
        directory.write_json("run.json", directory.manifest() | ended)
        directory.event(f"sealed: {status}")
        if seal is not None:
            seal.end(status)
    prepared.runtime.barrier()  # the others may read the student now
    prepared.runtime.leave()
    directory.release()
    return out


@contextlib.contextmanager
def _noted_before(directory: RunDirectory, resume: bool, seal: Seal | None) -> Iterator[None]:
    """A sealed run that reads what it may not before it has a directory gets one, and keeps the event."""
    try:
        yield
    except NoDataViolation as fault:
        if seal is not None and not (exists(directory.path) and not resume):
            directory.open(resume)
            seal.stop("failed", fault)
            directory.release()
        raise


_UNDER_WAY = threading.Lock()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """The watch on what is read, torch's random numbers and the signals are the process's: a second run in it would
    meddle with all three. Raises UserError where one is under way."""
    if not _UNDER_WAY.acquire(blocking=False):
        raise UserError(
            "another run is under way in this process, perhaps in another thread; they would share random numbers and "
            "the no-data watch. Start each in a process of its own."
        )
    try:
        yield
    finally:
        _UNDER_WAY.release()


@contextlib.contextmanager
def _explained(request: StopRequest, prepared: Prepared | None = None) -> Iterator[None]:
    """Turns what ends a run anywhere into our own errors: a signal that need not wait, and memory that is refused."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"stopped by {request.name or 'a signal'} before the first move; start it again") from None
    except (MemoryError, RuntimeError) as fault:
        if not is_out_of_memory(fault):
            raise
        options = {} if prepared is None else prepared.config.model_dump()
        device = torch.device("cpu") if prepared is None else prepared.runtime.device
        raise out_of_memory(fault, options, device) from fault


def _begin(
    prepared: Prepared,
    directory: RunDirectory,
    ledger: Ledger,
    seal: Seal | None,
    continued: bool,
    force: bool,
    command: str | None,
    on_step: OnStep | None,
) -> Loop:
    """The loop at its first move, or where an earlier process left it; until here nothing that stood was changed."""
    first = prepared.runtime.rank == 0
    checkpoints = Checkpoints(directory.path / "checkpoints", prepared.runtime)
    newest, faults = checkpoints.newest() if continued else (None, [])
    notes = [f"checkpoint passed over: {fault}" for fault in faults]
    manifest = _manifest(prepared, command, fingerprint(prepared.student.module))
    if continued:
        changed = changed_settings(directory.settings(), resolved(prepared))
        notes += _require_same(directory.manifest(), manifest, changed, force)
    plan = plan_in(checkpoints.facts(newest)) if newest is not None else prepared.plan()
    session = prepared.session(plan.steps)
    manifest["student"]["architecture"] = session.method.architecture(prepared.student.architecture)
    manifest["student"]["parameters"] = parameters_of(session.student)
    if prepared.settings.bits.active:
        manifest["student"]["bits"] = described(session.student)
    loop = Loop(session, plan, prepared.budget, directory, prepared.settings.engine, ledger, on_step)
    if newest is not None:
        loop.resume_from(newest)
        notes.append(f"resumed from {newest.name}")
    elif continued:
        notes.append("resumed from the start: there was no whole checkpoint")
        loop.resume_from_nothing()
    if first:
        checkpoints.sweep()
        directory.sweep()
        ledger.begin(continued)
        if seal is not None:
            manifest["sealed"] = {"chain": CHAIN, "isolation": seal.isolation}
        _open(directory, prepared, manifest, plan, notes, continued)
        if seal is not None:
            seal.begin(manifest, continued)
    prepared.runtime.barrier()
    if not first:
        ledger.begin(continued)
    return loop


def _finish(prepared: Prepared, directory: RunDirectory, loop: Loop) -> None:
    """The first process scores and writes what all steps have made while the others wait. A fault or a signal here
    costs no step."""
    first = prepared.runtime.rank == 0
    if first and prepared.teacher.fingerprint() != directory.manifest()["teacher"]["fingerprint"]:
        raise SansdataError("the teacher changed during the run; its forward pass writes to itself")
    again = "All steps are saved: --resume scores and writes the student without making them again."
    try:
        if first:
            finish(prepared, directory, loop)
            keep_samples(directory, loop.session, loop.reservoir, prepared.settings.engine.images)
        prepared.runtime.barrier(math.inf)
    except KeyboardInterrupt as stop:
        raise Interrupted(f"stopped by {stop} after the last step, before the student was written. {again}") from None
    except OSError as fault:
        raise SansdataError(f"the student cannot be written: {first_line(fault)}. {again}") from fault


def _open(
    directory: RunDirectory, prepared: Prepared, manifest: dict[str, Any], plan: Plan, notes: list[str], continued: bool
) -> None:
    if continued:
        old = directory.manifest()
        manifest = manifest | {"started": old.get("started"), "resumed": earlier_notes(old, "resumed") + notes}
        manifest["forced"] = earlier_notes(old, "forced") + [note for note in notes if note.startswith("forced")]
    if not continued or any(note.startswith("forced") for note in notes):
        directory.write_text("config.yaml", dump_yaml(resolved(prepared)))
    directory.write_json("run.json", manifest)
    directory.write_json("plan.json", plan.to_dict())
    for path, name in prepared.task.copies().items():
        if not (directory.path / name).is_file():
            write_atomic(directory.path / name, path.read_bytes())
    for line in [*prepared.notes, *prepared.findings.warnings, *notes]:
        directory.event(line)
        announce(line)


def earlier_notes(manifest: dict[str, Any], name: str) -> list[str]:
    """The list of notes `name` of a run that is continued."""
    notes = manifest.get(name)
    return [note for note in notes if isinstance(note, str)] if isinstance(notes, list) else []


def _close(directory: RunDirectory, ledger: Ledger, loop: Loop, fault: BaseException) -> None:
    """Best effort: the fault that brought us here matters more than one on the way out."""
    status = "interrupted" if isinstance(fault, (Interrupted, BudgetSpent, KeyboardInterrupt)) else "failed"
    ended = {"status": status, "ended": utc_now(), "seconds": round(loop.elapsed, 3)}
    with contextlib.suppress(Exception):
        ledger.write(ended=True)
    with contextlib.suppress(Exception):
        directory.event(f"{status}: {fault}")
    with contextlib.suppress(Exception):
        directory.write_json("run.json", directory.manifest() | ended)


def resolved(prepared: Prepared) -> dict[str, Any]:
    """The settings with every default filled in: what `config.yaml` holds."""
    tree = prepared.settings.model_dump(mode="json")
    tree["task"] = prepared.task.model_dump(mode="json")
    tree["options"] = prepared.config.model_dump(mode="json")
    tree["preset"] = "default"  # its values now stand in the options
    return tree


def _manifest(prepared: Prepared, command: str | None, student_fingerprint: str) -> dict[str, Any]:
    settings, teacher, runtime = prepared.settings, prepared.teacher, prepared.runtime
    tree = resolved(prepared)
    tree.pop("engine")  # changes nothing in the student
    return {
        "sansdata": __version__,
        "status": "running",
        "command": command or shlex.join(["sansdata", *sys.argv[1:]]),
        "method": settings.method,
        "seed": settings.seed,
        "config_hash": hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest(),
        "started": utc_now(),
        "ended": None,
        "seconds": 0.0,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__},
        "machine": {
            "system": platform.system(),
            "processor": processor(),
            "cores": os.cpu_count(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        },
        "threads": torch.get_num_threads(),
        "device": str(runtime.device),
        "precision": runtime.precision,
        "world": runtime.world,
        "teacher": {
            "source": teacher.source,
            "sha256": teacher.sha256,
            "parameters": parameters_of(teacher.module),
            "fingerprint": teacher.fingerprint(),
            "access": teacher.access.name,
            "batch_norms": prepared.findings.batch_norms,
            "helpers": [
                {
                    "source": one.source,
                    "sha256": one.sha256,
                    "parameters": sum(p.numel() for p in one.module.parameters()),
                }
                for one in teacher.helpers
            ],
            **({"apis": [_described(api) for api in teacher.apis]} if isinstance(teacher, Panel) else {}),
        },
        "student": {
            "spec": settings.student,
            "parameters": parameters_of(prepared.student.module),
            "architecture": prepared.student.architecture,
            "start": student_fingerprint,
        },
        "task": prepared.task.model_dump(mode="json"),
        "pool": None if prepared.pool is None else prepared.pool.describe(),
        "resumed": [],
        "forced": [],
    }


def _described(api: Api) -> dict[str, Any]:
    """An API of a panel, as a run's manifest has it."""
    return {"name": api.name, "source": api.teacher.source, "sha256": api.teacher.sha256, "classes": list(api.classes)}


def parameters_of(module: nn.Module) -> int:
    """How many numbers it learnt, or is to learn."""
    return sum(p.numel() for p in module.parameters())


def processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def changed_settings(old: Any, new: Any, path: str = "") -> list[str]:
    """'key was this, is that' for every setting that differs, without those of the engine."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in {**old, **new} if path or key != "engine"]
        return [
            line for key in keys for line in changed_settings(old.get(key), new.get(key), f"{path}.{key}".strip("."))
        ]
    return [] if old == new else [f"{path} was {old!s:.200}, is {new!s:.200}"]


def _require_same(old: dict[str, Any], new: dict[str, Any], changed: list[str], force: bool) -> list[str]:
    """Raises ResumeError where the run cannot be continued exactly; with `force` gives the differences instead."""

    def facts(manifest: dict[str, Any]) -> dict[str, Any]:
        named = {name: manifest.get(name) for name in EXACT}
        return named | {
            "torch": at(manifest, "versions", "torch"),
            "processor": at(manifest, "machine", "processor"),
            "teacher": at(manifest, "teacher", "fingerprint"),
            "student at the start": at(manifest, "student", "start"),
            "pool": at(manifest, "pool", "sha256"),
        }

    then, now = facts(old), facts(new)
    differences = [f"{name} was {then[name]!s:.200}, is {now[name]}" for name in then if then[name] != now[name]]
    differences += changed
    if differences and not force:
        raise ResumeError(
            "this run cannot be continued exactly:\n  " + "\n  ".join(differences) + "\n"
            "Restore what changed, or continue inexactly with --force; the report will then say so."
        )
    return [f"forced although {line}" for line in differences]
