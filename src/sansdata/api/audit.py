"""What can be said of a student, and of what it inherited, from the evidence that there is: `sansdata.audit`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..audit import findings
from ..audit.evidence import (
    Evidence,
    answered,
    as_kind_set,
    groups_of_table,
    natural_inputs,
    some,
    synthetic_inputs,
)
from ..audit.fidelity import fidelity
from ..audit.findings import Audit
from ..audit.groups import unequal_service
from ..audit.levels import Unmeasured
from ..audit.overoptimisation import over_optimisation
from ..audit.privacy import exposure
from ..audit.synthetic import synthetic_bias
from ..audit.triggers import backdoor_scan, shuffle_test
from ..code_named import code_of
from ..datasets.load import load_set
from ..engine.run_directory import RunDirectory
from ..engine.seal.phases import Phase, record_phase
from ..errors import ConfigError, RunDirectoryError, TeacherError
from ..evaluate.snapshots import predictor
from ..models.modes import borrowed, usual_modes
from ..report.tree import Tree
from ..runtime import Runtime, resolve_device
from ..teachers.base import Teacher
from ..validation.aggregates import require_aggregates
from ..validation.cases import cases_of_set, load_cases, require_enough
from ..validation.manifest import read_manifest
from ..validation.subgroups import fairness_library
from .result import Asked, asked, generator_kept


@usual_modes()
def audit(
    run: str | Path,
    teacher: str | Teacher | None = None,
    *,
    held_out: str | Path | None = None,
    inputs: str | Path | None = None,
    data: str | Path | None = None,
    manifest: str | Path | None = None,
    groups: Sequence[str] = (),
    training: str | Path | None = None,
    scan: bool = False,
    device: str = "auto",
) -> Audit:
    """What a run's student is like beside its teacher, by the level of evidence: see audit.levels.

    run: a finished run that kept some of what it made. teacher: the run's own; None takes it as the run names it.
    held_out: another run with another seed, for inputs that this student did not see. inputs: natural inputs without
    labels (L1). data: a labelled set (L2), with `manifest` as in `validate`, whose `groups` are compared (L3); of a
    table, groups may also be its categories. training: some of the teacher's own training data (L4). scan: look for
    triggers of backdoors, which takes minutes. The audit is added to audit.json of the run; where that cannot be
    written, a line on stderr says so. Raises ConfigError, DataError, TeacherError, RunDirectoryError.
    """
    about = asked(run, None)
    if about.run_dir is None:
        raise RunDirectoryError(f"{run}: an audit is of a finished run, with what it made and from whom it learned")
    if about.task.pair[1] != "classes":
        raise ConfigError(f"an audit is of classifiers, and this task is {' x '.join(about.task.pair)}")
    beside = _teacher(about, teacher)
    runtime = Runtime(resolve_device(device))
    with borrowed(about.module):
        ask = predictor(about.network, about.task, runtime)
        evidence = _evidence(about, beside, ask, held_out, inputs)
        evidence = _with_labels(evidence, data, manifest, tuple(groups), training)
        of_models, of_cases = list(_of_models(evidence, scan)), list(_of_cases(evidence))
    if evidence.cases is not None:
        require_aggregates(Audit.of(evidence.level, of_cases).to_dict(), evidence.cases)
    audit = Audit.of(evidence.level, [*of_models, *of_cases], evidence.notes)
    if fault := findings.keep(about.run_dir, audit.to_dict()):
        print(f"warning   {fault}", file=sys.stderr)
    met = [one for one in (data, inputs, training) if one is not None]
    facts = {"level": str(audit.level)}
    phase: Phase = "LOCAL" if met else "REPORT"
    if fault := record_phase(about.run_dir, phase, "audited", facts, [findings.NAME], met):
        print(f"warning   {fault}", file=sys.stderr)
    return audit


def _of_models(evidence: Evidence, scan: bool) -> Iterator[Any]:
    yield from synthetic_bias(evidence)
    yield from fidelity(evidence)
    yield from over_optimisation(evidence)
    if scan:
        yield from backdoor_scan(evidence)
    else:
        yield from shuffle_test(evidence)
        yield Unmeasured("D11", "trigger scan", "to be asked for, since it takes minutes (--scan)")


def _of_cases(evidence: Evidence) -> Iterator[Any]:
    yield from unequal_service(evidence)
    yield from exposure(evidence)


def _evidence(about: Asked, teacher: Teacher, ask: Any, held_out: Any, inputs: Any) -> Evidence:
    assert about.run_dir is not None
    task = about.task

    def both(data: Any) -> Any:
        return answered(data, teacher, ask, task)

    natural = None if inputs is None else natural_inputs(inputs, task)
    if natural is not None:
        require_enough(len(natural), "inputs of --inputs")
    selection = Tree(RunDirectory(about.run_dir).read_json("summary.json")).at("selection")
    return Evidence(
        task, teacher, ask, both(synthetic_inputs(about.run_dir, task)),
        held_out=None if held_out is None else both(_of_another(about, Path(held_out))),
        natural=None if natural is None else both(natural),
        chosen_by="" if not selection.fields() else "agreement with the teacher on the run's own samples and probes",
        forward=lambda x: about.network(x).value,
    )  # fmt: skip


def _with_labels(evidence: Evidence, data: Any, manifest: Any, groups: tuple[str, ...], training: Any) -> Evidence:
    """The same with labelled cases and training data, where they are given."""
    task, cases, learnt = evidence.task, None, None
    if manifest is not None and data is None:
        raise ConfigError(f"--manifest {manifest} names cases of --data: give both")
    if data is not None and manifest is not None:
        cases = load_cases(data, task, read_manifest(manifest, groups or None))
    elif data is not None:
        known = some(as_kind_set(load_set(data, task), task))
        known.require_fit(task)
        cases = cases_of_set(known, groups_of_table(known, groups))
    if cases is not None and cases.groups:
        fairness_library()
    if training is not None:
        learnt = some(as_kind_set(load_set(training, task, "train"), task))
        learnt.require_fit(task)
        require_enough(len(learnt), "inputs of --training")
    both = [
        None if one is None else answered(as_kind_set(one, task), evidence.teacher, evidence.ask, task)
        for one in (None if cases is None else cases.data, learnt)
    ]
    return replace(evidence, cases=cases, of_cases=both[0], training=learnt, of_training=both[1], asked_groups=groups)


def _of_another(about: Asked, run: Path) -> Any:
    if run.resolve() == Path(str(about.run_dir)).resolve():
        raise ConfigError(
            f"--held-out {run} is the run itself, whose inputs the student has seen; name one of another seed"
        )
    return synthetic_inputs(run, about.task)


def _teacher(about: Asked, teacher: str | Teacher | None) -> Teacher:
    """The run's own. Raises TeacherError for another, and where the run alone would choose what code is run."""
    directory = RunDirectory(Path(str(about.run_dir)))
    if teacher is None:
        teacher = Tree(directory.settings()).at("teacher").text()
        if not teacher or code_of(teacher):
            raise TeacherError(
                f"{about.run_dir} names no teacher that can be read without code; give it with --teacher"
            )
    with generator_kept():
        loaded = about.teacher(teacher)
    known = Tree(directory.manifest()).at("teacher")
    print_of, alone = known.at("fingerprint").text(), not known.at("helpers").items()
    if print_of and alone and loaded.fingerprint() != print_of:
        raise TeacherError(
            f"'{loaded.source}' is not the teacher of this run, whose fingerprint begins with {print_of[:12]}: an "
            "audit is of what the student learned from"
        )
    return loaded
