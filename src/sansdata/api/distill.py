"""The main job: a teacher into a student, without data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..code_named import code_of
from ..compress.few_bits import released
from ..config import validate
from ..engine.beginning import may_begin
from ..engine.budget import MoveCosts, outlook
from ..engine.manifest import manifest_of, resolved
from ..engine.monitor import announce
from ..engine.prepare import prepare
from ..engine.run import run
from ..errors import ConfigError, StudentError, did_you_mean, first_line
from ..files import user_path
from ..method import Method
from ..methods.index import find_method, method_config, name_of
from ..models.copying import private_copy
from ..models.modes import usual_modes
from ..process_group import is_first_process
from ..report import write_report
from ..settings import RunSettings
from ..streams import Streams
from ..teachers.base import Teacher
from ..teachers.students import load_student
from .result import Result, TaskLike, load, task_field, teacher_or_spec


@usual_modes()
def distill(
    teacher: Teacher | str | Path,
    student: nn.Module | str = "shrink:0.5",
    method: str | type[Method] = "auto",
    budget: str | None = None,
    out: str | Path = "run",
    seed: int = 0,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
    *,
    task: TaskLike = None,
    preset: str = "default",
    options: Mapping[str, Any] | None = None,
    pool: str | Path | None = None,
    strict: bool = False,
    sealed: bool = False,
    sign: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Result:
    """Distils `teacher` into `student` without data, into the directory `out`.

    teacher: a Teacher, or a SPEC as a text or a path (then `task` is needed). student: a module, which is left as it is
    and copied, or a SPEC. method: a name, or a subclass of Method; a run of one is resumed by giving it again. budget:
    '10m', '2000steps', '1e5queries'; None is the method's own size. on_step(step, losses) is called after each student
    step.
    options: the method's own settings. pool: a folder of unrelated images, or an .npz file, for methods that choose
    from one. sealed: strict, without any connection, and on a record that cannot be changed unseen; sign: the file of
    the private key that signs its end. force: resume although machine or settings differ. settings: every other setting
    of a run by its name in settings.RunSettings, as a file for `--config` has them: helpers, inherit, device,
    precision, threads, features, update with retain, defence with vaccine and retrospect, engine.

    Raises UserError before step 0 for wrong input, Interrupted after a signal (then `resume=True` continues).
    """
    method_class = None if isinstance(method, str) else find_method(method)
    _require_called(on_step)
    named: dict[str, Any] = {
        "method": name_of(method), "preset": preset, "budget": budget, "seed": seed, "strict": strict,
        "sealed": sealed, "options": {} if options is None else options,
        "pool": str(pool) if isinstance(pool, Path) else pool,
    }  # fmt: skip
    teacher = teacher_or_spec(teacher, task)
    if isinstance(teacher, str):
        named |= {"teacher": teacher, "task": task_field(task)}
    if isinstance(student, str):
        named["student"] = student
    else:
        named["student"] = f"a {type(student).__name__} in Python"
        student = private_copy(student, StudentError)
    others = _others({} if settings is None else settings, named)
    resolved_settings = validate(RunSettings, others | named, "distill")
    command = f"sansdata.distill(method={name_of(method)!r}, budget={budget!r}, seed={seed})"
    source = None if isinstance(teacher, str) else teacher
    module = None if isinstance(student, str) else student
    if source is not None and source.architecture is None and isinstance(student, str) and "shrink:" in student[:7]:
        # Shrunk from a module that only the caller can make: no file could say how to build it again.
        with Streams(seed).as_global("student", shared=True):
            module = load_student(student, source, source.task).module
    return distill_settings(
        resolved_settings, out, source, module, method=method_class,
        resume=resume, force=force, command=command, on_step=on_step, sign=sign,
    )  # fmt: skip


def _others(settings: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` without surprises. Raises ConfigError for what is unknown, or an argument of `distill` itself."""
    if not isinstance(settings, Mapping):
        raise ConfigError(f"distill: settings: expected a mapping of settings by their names, got {settings!r:.80}")
    for name in settings:
        if name in (*named, "teacher", "task", "student"):
            raise ConfigError(f"distill: '{name}' is an argument of its own; leave it out of settings")
        if name not in RunSettings.model_fields:
            known = [field for field in RunSettings.model_fields if field not in named]
            raise ConfigError(f"distill: unknown setting '{name}'. {did_you_mean(str(name), known)}")
    return dict(settings)


def _require_called(on_step: Any) -> None:
    """Raises ConfigError, before anything is prepared, for what cannot be called with (step, losses)."""
    if on_step is None:
        return
    if not callable(on_step):
        raise ConfigError(f"on_step is {on_step!r:.80}: expected a function that takes (step, losses)")
    try:
        inspect.signature(on_step).bind(1, {})
    except ValueError:  # one that does not say what it takes
        return
    except TypeError as fault:
        raise ConfigError(f"on_step is called with (step, losses), and does not take that: {fault}") from None


def distill_settings(
    settings: RunSettings,
    out: str | Path,
    teacher: Teacher | None = None,
    student: nn.Module | None = None,
    **how: Any,
) -> Result:
    """As `distill`, from settings as a file or the command gives them; `how` goes to engine.run.run."""
    directory = run(settings, user_path(out), teacher, student, **how)
    if is_first_process():
        try:
            write_report(directory)
        except Exception as fault:  # the run is done, and its figures should be seen whatever becomes of the page
            announce(f"warning: no report was written: {first_line(fault)}. `sansdata report {out}` tries again")
    return load(directory, released(student) if student is not None else _code_of(settings))


def _code_of(settings: RunSettings) -> str:
    """The code that made the student: the user named it, as the student's or as that of the teacher it was made of."""
    return next(filter(None, map(code_of, (settings.student, settings.teacher))), "")


def plan_only(settings: RunSettings, sign: str | Path | None = None) -> dict[str, Any]:
    """What a run would do: resolved settings and plan, nothing written (`--dry-run`). Raises what the run would raise
    before its first move, but for what stands in its directory."""
    may_begin(settings, sign=sign)
    prepared = prepare(settings)
    plan = prepared.plan(timed=True)
    if settings.images_of is not None:
        prepared.begin(plan.steps, manifest_of(prepared, None, ""))
    announce(outlook(plan, MoveCosts()))
    return {"settings": resolved(prepared), "plan": plan.to_dict(), "notes": prepared.notes}


def resolve_options(settings: RunSettings) -> dict[str, Any]:
    """The settings with the method's defaults filled in, without reading a model (`--print-config`)."""
    tree = settings.model_dump(mode="json")
    if settings.method != "auto":
        tree["options"] = method_config(settings.method, settings.preset, settings.options).model_dump(mode="json")
    return tree
