"""`sansdata distill`: the main job."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..code_named import code_of
from ..config import dump_yaml
from ..errors import ConfigError, RunDirectoryError, SansdataError, first_line
from ..files import exists, user_path
from ..process_group import is_first_process
from ..settings import RunSettings, resolve_settings
from ..tasks import load_task
from . import words
from .export import Target, lines_of

STUDENT = "a zoo name, timm:NAME, shrink:0.25, ARCH@FILE or a run directory"

POOL = "unrelated images for methods that choose from them: a folder, searched to its depth, or an .npz file"

IMAGES_OF = "an earlier run of the same teacher and method, with whose generator and images to begin"


def distill(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[key=value ...]", help="settings of the method, or section.key=value")
    ] = None,
    teacher: words.OptionalTeacher = None,
    teacher_key: Annotated[
        str | None, typer.Option(metavar="FILE", help="the public key by which the teacher's bundle must be signed")
    ] = None,
    helper: Annotated[
        list[str] | None,
        typer.Option(metavar="SPEC", help="a model that helps to make the inputs; may be repeated"),
    ] = None,
    task: words.OptionalTask = None,
    student: Annotated[str | None, typer.Option(metavar="SPEC", help=STUDENT)] = None,
    method: Annotated[str | None, typer.Option(metavar="NAME", help="auto, or one of `sansdata list methods`")] = None,
    pool: Annotated[str | None, typer.Option(metavar="DIR", help=POOL)] = None,
    images_of: Annotated[str | None, typer.Option("--images-of", metavar="DIR", help=IMAGES_OF)] = None,
    update: Annotated[str | None, typer.Option(metavar="NAME", help="how the student steps: plain or retain")] = None,
    defence: Annotated[
        str | None, typer.Option(metavar="NAME", help="against a poisoned teacher: vaccine, retrospect or abd (both)")
    ] = None,
    bits: Annotated[
        str | None, typer.Option(metavar="B", help="of the student's weights and activations: w4, a8 or w4a8")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="must not exist yet, unless --resume")] = None,
    budget: Annotated[str | None, typer.Option(metavar="B", help="10m, 2000steps, 50000samples, 1e5queries")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N")] = None,
    preset: Annotated[str | None, typer.Option(metavar="NAME", help="a named set of the method's settings")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue the run in --out")] = False,
    force: Annotated[bool, typer.Option("--force", help="resume although machine or settings differ")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="stop at the first read of an undeclared file")] = False,
    sealed: Annotated[
        bool, typer.Option("--sealed", help="strict, without any connection, and on a record nobody can change unseen")
    ] = False,
    sign: Annotated[
        Path | None, typer.Option(metavar="FILE", help="the private key that signs the record of a sealed run")
    ] = None,
    device: Annotated[str | None, typer.Option(metavar="D", help="auto, cpu, cuda or cuda:N")] = None,
    precision: Annotated[str | None, typer.Option(metavar="P", help="auto, fp32 or bf16")] = None,
    threads: Annotated[int | None, typer.Option(metavar="N")] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="settings as YAML; flags and key=value win")
    ] = None,
    export: Annotated[
        list[Target] | None, typer.Option(help="write the student for another runtime too; may be repeated")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="check everything, print the plan, write nothing")] = False,
    print_config: Annotated[bool, typer.Option("--print-config", help="print the settings in full and leave")] = False,
) -> None:
    """Distil a teacher into a student without data; exit code 0 also when the budget is spent. Where an export fails
    after the run, the others are made, and the exit code is that of `sansdata export` for the first that failed."""
    flags = {
        "teacher": teacher, "task": task, "student": student, "method": method, "budget": budget, "seed": seed,
        "preset": preset, "device": device, "precision": precision, "threads": threads, "strict": strict or None,
        "update": update, "helpers": helper or None, "pool": pool, "defence": defence,
        "images_of": images_of, "bits": bits, "sealed": sealed or None, "teacher_key": teacher_key,
    }  # fmt: skip
    settings = resolve_settings(config, flags, overrides or ())
    _check_early(settings)
    if settings.sealed and not (print_config or dry_run):
        _cut_off()
    if print_config:
        from ..api.distill import resolve_options

        print(dump_yaml(resolve_options(settings)), end="")
        return
    if export:
        _require_possible(settings, export)
    first = is_first_process()
    if out is not None:
        out = user_path(out, "--out")
        if first and exists(out) and not resume:
            raise RunDirectoryError(f"--out {out} already exists. Continue it with --resume, or give another one.")
    if dry_run:
        from ..api.distill import plan_only
        from ..runtime import keep_freed_memory

        keep_freed_memory(settings.device)
        print(json.dumps(plan_only(settings, sign), indent=1))
        return
    if out is None:
        raise RunDirectoryError("--out DIR is needed: where the run and the student go")
    from ..api.distill import distill_settings
    from ..runtime import keep_freed_memory

    keep_freed_memory(settings.device)
    command = shlex.join(["sansdata", *sys.argv[1:]])
    result = distill_settings(
        settings, out, resume=resume, force=force, config_file=config, command=command, sign=sign
    )  # fmt: skip
    if not first:
        return
    _print_result(result.summary, settings, out)
    failed = _export(out, export, code_of(str(settings.student))) if export else 0
    if (out / "report.html").is_file():
        print(f"report    {out / 'report.html'}")
    if failed:
        raise typer.Exit(failed)


def _print_result(summary: Mapping[str, Any], settings: RunSettings, out: Path) -> None:
    from ..engine.guard.ledger import read_ledger, undeclared

    agreed = summary["agreement"]["last"]
    print(f"student   {out / 'student.safetensors'}")
    source = "generated samples" if settings.pool is None else "images of the pool"
    if agreed is not None:
        unseen = "no accuracy: no data of the task was seen"
        print(f"agreement {words.percent(agreed)} with the teacher on {source} ({unseen})")
    if summary["score"] is not None:
        agreement = words.percent(summary["score"]["last"])
        print(f"score     {agreement} overlap with the teacher on probes: compare it with other runs of this teacher")
    seconds, scoring = (summary["cost"][name] for name in ("seconds", "scoring_seconds"))
    print(f"time      {seconds:.1f} s for {summary['steps']:,} steps, then {scoring:.1f} s of scoring")
    for warning in summary["warnings"]:
        print(f"warning   {warning['name']}: {warning['text']}")
    ledger = read_ledger(out)
    if settings.sealed:
        print(f"sealed    {out / 'chain.jsonl'}: {_sealed_how(out)}; check it: sansdata verify {out}")
    if many := undeclared(ledger):
        first = next(iter(ledger["violations"]), {}).get("path", "not listed")
        print(f"warning   {many} undeclared read(s), first {first}: see {out / 'ledger.json'}")


def _sealed_how(out: Path) -> str:
    from ..engine.seal.check import check

    record = check(out)
    return f"{record.isolation['level']}{', signed' if record.signed else ''}"


def _cut_off() -> None:
    """Leaves the machine's networks before a thread begins, where the system allows it. How far that went is detected
    by the run itself. Inside a larger program there are threads already, and networks that it needs."""
    if "torch" not in sys.modules and sys.platform == "linux":
        from ..engine.seal.isolation import leave_networks

        leave_networks()


def _require_possible(settings: RunSettings, targets: Sequence[Target]) -> None:
    """What can be known of exports before the budget is spent."""
    from ..deploy.possible import require_possible

    task = load_task(settings.task) if settings.task else None
    require_possible((target.value for target in targets), task, str(settings.student))


def _export(out: Path, targets: Sequence[Target], code: str | None) -> int:
    """Files for other runtimes, after the run: what was measured of them joins its report. The run is done, so one that
    cannot be written is told and the others follow. Gives the exit code of the first that failed, else 0. code: the
    function of the user's that makes the student; a run alone may not say what code is run."""
    from ..api.export import export as write
    from ..api.report import report

    failed, student = 0, f"{code}@{out}" if code else str(out)
    for target in dict.fromkeys(targets):
        try:
            for line in lines_of(write(student, target.value)):
                print(line)
        except Exception as fault:  # of the exporters' own, too
            reason = str(fault) if isinstance(fault, SansdataError) else first_line(fault)
            again = f"the student is there; try again: sansdata export {student} --to {target.value}"
            print(f"warning   no {target.value} was written: {reason}. {again}", file=sys.stderr)
            failed = failed or getattr(fault, "exit_code", 1)
    report(out)
    return failed


def _names_its_own_task(teacher: str) -> bool:
    """Whether a teacher's SPEC may name its own job: a panel, or a bundle."""
    return teacher.lower().endswith((".yaml", ".yml", ".zip")) or exists(Path(teacher) / "configs")


def _check_early(settings: RunSettings) -> None:
    """What can be wrong without any model, before torch is imported."""
    if settings.teacher == RunSettings().teacher:
        raise ConfigError("--teacher SPEC is needed: the model to distil")
    if not settings.task and not _names_its_own_task(settings.teacher):
        raise ConfigError("--task TASK is needed: a YAML file or a known name (see `sansdata list models`)")
    if settings.task:
        load_task(settings.task)
