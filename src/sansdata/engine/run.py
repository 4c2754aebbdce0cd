"""One run from its settings to its sealed directory."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..config import dump_yaml
from ..errors import (
    BudgetSpent,
    Interrupted,
    NoDataViolation,
    ResumeError,
    SansdataError,
    UserError,
    first_line,
)
from ..files import exists, utc_now, write_atomic
from ..method import Method
from ..methods.contract import require_given
from ..runtime import TORN
from ..settings import RunSettings
from ..tasks import Task, load_task
from ..teachers.base import Teacher, fingerprint
from ..teachers.services import journals, services
from ..teachers.shares import asked_by_the_first
from ..teachers.specs import declared_files
from ..training.few_bits import described
from .beginning import may_begin
from .budget import Plan, budget_name
from .checkpoint import Checkpoints
from .facts import plan_in
from .finish import finish
from .guard.ledger import Ledger
from .guard.no_data import Mode, NoDataGuard
from .kept_samples import keep_samples
from .loop import Loop
from .manifest import changed_settings, earlier_notes, manifest_of, parameters_of, require_same, resolved
from .monitor import announce
from .out_of_memory import is_out_of_memory, out_of_memory
from .prepare import Prepared, declared_inputs, prepare
from .run_directory import RunDirectory
from .seal.chain import CHAIN
from .seal.sealing import Seal
from .signals import StopRequest, stop_on_signals

OnStep = Callable[[int, dict[str, float]], None]


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
    sign: str | Path | None = None,
) -> Path:
    """Distils into directory `out`, under the no-data guard, and seals it. Gives the whole path of `out`.

    method: a class in place of the one that the settings name. sign: the file of the private key that signs the end of
    a sealed run. force: resume although machine, versions or settings differ; the result is then not bitwise the same,
    and says so. Raises UserError before step 0, Interrupted after a signal, DivergedError, NoDataViolation,
    OutOfMemory, PeerLost, BudgetSpent.
    """
    directory = RunDirectory(out)
    needs = may_begin(settings, teacher, method, sign)
    out = directory.path
    mode: Mode = "strict" if settings.strict or settings.sealed else "record"
    guard = NoDataGuard(mode, declared_inputs(settings, config_file), out, settings.sealed)
    job = load_task(settings.task) if settings.task else None if teacher is None else teacher.task
    # Before the watch begins: to see what a spec names may mean to look into a file.
    for spec, role in needs.others.items():
        guard.declare(dict.fromkeys(declared_files(spec), role))
    for spec in needs.sources:
        _declare_asked(guard, spec, job)
    seal = Seal(out, guard, needs.key) if settings.sealed else None
    with _alone(), contextlib.ExitStack() as watch:
        watch.enter_context(guard)
        request = watch.enter_context(stop_on_signals())
        with _explained(request), _noted_before(directory, resume, seal):
            prepared = prepare(settings, teacher, student, method)
        chosen, config = prepared.method, prepared.config
        guard.declare(require_given(chosen, "reads(config)", chosen.reads(config), Mapping))
        guard.declare_programs(require_given(chosen, "runs(config)", chosen.runs(config), Mapping))
        if prepared.pool is not None:
            guard.vouch(prepared.pool.describe())
        first = prepared.runtime.rank == 0
        ledger = Ledger(out, guard, prepared.runtime.rank)
        continued = directory.open(resume) if first else False
        continued = bool(prepared.runtime.from_rank_0(continued))
        loop = None
        try:
            with _explained(request, prepared):
                loop = _begin(prepared, directory, ledger, seal, continued, force, command, on_step)
                status = loop.run(request)
                _finish(prepared, directory, loop)
            watch.close()
            loop.check_reads()  # what its last look saw
            ledger.write(ended=True)
            prepared.runtime.barrier()  # the records of all processes are there
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


def _declare_asked(guard: NoDataGuard, spec: str, job: Task | None) -> None:
    """What asking a model touches beyond its files."""
    guard.declare_services(services(spec))
    guard.declare(dict.fromkeys(journals(spec, job), "journal"))


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
        if prepared is not None and any(sign in str(fault) for sign in TORN):
            raise prepared.runtime.left_alone(fault) from None
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
    manifest = manifest_of(prepared, command, fingerprint(prepared.student.module))
    changed = changed_settings(directory.settings(), resolved(prepared)) if continued else []
    if continued:
        notes += require_same(directory.manifest(), manifest, changed, force)
    plan = prepared.plan() if newest is None else _plan_of(newest, checkpoints, prepared)
    session, loans = (prepared.session(plan.steps), []) if newest is not None else prepared.begin(plan.steps, manifest)
    notes += loans
    manifest["student"]["architecture"] = session.method.architecture(prepared.student.architecture)
    manifest["student"]["parameters"] = parameters_of(session.student)
    if prepared.settings.bits.active:
        manifest["student"]["bits"] = described(session.student)
    loop = Loop(session, plan, prepared.budget, directory, prepared.settings.engine, ledger, on_step)
    if newest is not None:
        loop.resume_from(newest, renewed=bool(changed))
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


def _plan_of(newest: Path, checkpoints: Checkpoints, prepared: Prepared) -> Plan:
    """The plan that a run goes on with. Before its first student step another budget is planned for anew; later, raises
    ResumeError."""
    plan, budget = plan_in(checkpoints.facts(newest)), budget_name(prepared.budget)
    if plan.budget == budget:
        return plan
    if checkpoints.step_of(newest):
        raise ResumeError(
            f"this run was planned, and its learning rate with it, for a budget of {plan.budget}, not of {budget}: "
            "continue it with the former one, then give its student more in a new run with --student DIR"
        )
    return prepared.plan()


def _finish(prepared: Prepared, directory: RunDirectory, loop: Loop) -> None:
    """The first process scores and writes what all steps have made while the others wait. A fault or a signal here
    costs no step. Raises NoDataViolation in a strict run that read what no event told of: its student is not written.
    """
    again = "All steps are saved: --resume scores and writes the student without making them again."
    first = prepared.runtime.rank == 0
    try:
        loop.ledger.guard.look_around()
        loop.check_reads()
        if first and prepared.teacher.fingerprint() != directory.manifest()["teacher"]["fingerprint"]:
            raise SansdataError("the teacher changed during the run; its forward pass writes to itself")
        with asked_by_the_first(prepared.teacher, prepared.runtime) as alone:
            if alone:
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
