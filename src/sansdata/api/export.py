"""A finished student as a file for other programs, with what it costs and a test that travels with it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from .. import __version__, columns
from ..deploy import predict, record
from ..deploy.adapters import COMPARED as ADAPTERS_COMPARED
from ..deploy.adapters import PARITY as ADAPTERS_PARITY
from ..deploy.adapters import is_adapters, write_adapters
from ..deploy.bundle import Deployable
from ..deploy.cost import Cost, costs, peak_memory_of_onnx
from ..deploy.export import SUFFIX, ExportReport, load_exported
from ..deploy.export import export as export_model
from ..deploy.parity import MIN_AGREEMENT, probes
from ..deploy.pipeline import COMPARED, PARITY, write_checked
from ..errors import ConfigError, StudentError, did_you_mean
from ..files import is_regular, reason, sha256, temporary_name, user_path, utc_now
from ..kinds.index import input_kind
from ..models.diffusion.steerable import Steerable
from ..models.modes import usual_modes
from ..objectives.agreement import agreement
from ..tasks import Task
from .compress import Compressed
from .outputs import require_free
from .quantize import integers
from .result import Result, asked, is_student_file, load, split_run

Format = Literal["onnx", "onnx-int8", "pt2", "executorch", "diffusers", "adapters"]
INT8_DRIFT = 0.1
"""Of the largest answer: how far integer kernels of two machines may lie apart."""
INT8_AGREEMENT = 0.95
"""Least share of the self-test's inputs on which another machine's integer kernels name the same class."""


@dataclass(frozen=True)
class Exported:
    """A file that was written, how close it is to the student, and what it costs here.

    inputs: how many were compared; argmax_agreement: share of these with the same class, 0..1, or None where the
    answers are no classes. float_size, float_p50: of the same student as ONNX in float32, measured in turns; None where
    the file is that.
    """

    file: str
    format: str
    size: int
    max_abs_difference: float
    allowed_difference: float
    argmax_agreement: float | None
    inputs: int
    cost: Cost
    opset: int | None = None
    batch_sizes: tuple[int, ...] = ()
    self_test: str | None = None
    float_size: int | None = None
    float_p50: float | None = None
    notes: tuple[str, ...] = ()
    passed: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


@usual_modes()
def export(
    model: str | Path | Result | Compressed, to: Format = "onnx", path: str | Path | None = None
) -> Exported:  # fmt: skip
    """Writes the deployable student as 'onnx', 'onnx-int8', 'pt2' or 'executorch', a generator in one step as the
    folder of a pipeline of 'diffusers', or its 'adapters' alone; checks that it answers like the original, and measures
    it.

    model: a run directory, a Result, a Compressed, or a student file such as `compress` writes; its zeros and its
    rounded weights are those of the exported file. INT8 is calibrated on what the run synthesised, else by BatchNorm
    (see `sansdata.to_int8`). path: default `student.onnx` (or .int8.onnx, .pt2, .pte) in the run directory, or beside
    a file under its name. Beside the file go FILE.json, with what was measured, and for ONNX a self-test; a run keeps
    all of it in exports.json too. An earlier export gives way. Raises ConfigError where there is no such place, or
    where any other file stands there, and what `deploy.export` raises.
    """
    if to not in get_args(Format):
        raise ConfigError(f"export format '{to}' is unknown. {did_you_mean(to, get_args(Format))}")
    module, task, target, run = _student(model, to)
    if path is None and target is None:
        raise ConfigError("this network was not written to a file: say where the export goes (path=...)")
    file = user_path(target if path is None else path, "path")
    if path is not None or run is None:  # in a run's own directory its exports are ours by name
        _require_free(file, to)
    if to == "diffusers":
        return _pipeline(module, task, file)
    if to == "adapters":
        return _adapters(module, task, file)
    task = _with_guidance(module, task)
    deployable = Deployable(module, task)
    done = _integers(deployable, file, run) if to == "onnx-int8" else _plain(deployable, task, file, to)
    if to in ("onnx", "onnx-int8"):
        memory = peak_memory_of_onnx(file, task)
        done = replace(done, cost=replace(done.cost, peak_memory_mb=memory), self_test=_self_test(deployable, done))
    _record(done, run)
    return done


def _require_free(file: Path, to: Format) -> None:
    """Raises ConfigError where anything but an earlier export stands in the place of a file that is to be written."""
    if to == "adapters":
        require_free(file, ours=is_adapters)
    elif to != "diffusers":  # a new folder in any case
        require_free(file, ours=record.is_exported)
        require_free(record.beside(file), ours=record.is_record)
    if to in ("onnx", "onnx-int8"):
        require_free(file.with_suffix(predict.SELF_TEST), ours=record.is_self_test)


def _student(model: Any, to: Format) -> tuple[torch.nn.Module, Task, Path | None, Path | None]:
    """(network, task, where the file goes unless somebody says, the run directory)."""
    suffix = {"onnx-int8": ".int8.onnx", "diffusers": ".diffusers", "adapters": ".adapters.safetensors"}.get(
        to
    ) or SUFFIX[to]
    if isinstance(model, Compressed):
        return model.student, model.task, None if model.file is None else model.file.with_suffix(suffix), None
    if isinstance(model, (str, Path)) and is_student_file(model):
        about = asked(model, None)
        return about.module, about.task, Path(model).with_suffix(suffix), None
    if isinstance(model, Result):
        return model.student, model.task, model.run_dir / f"student{suffix}", model.run_dir
    result, run = load(model), split_run(model)[0]
    return result.student, result.task, run / f"student{suffix}", run


def _with_guidance(module: torch.nn.Module, task: Task) -> Task:
    """A generator that has learnt a range of guidance is told its strength by an argument of the file."""
    if not (isinstance(module, Steerable) and module.guided):
        return task
    low, high = module.strengths.tolist()
    return task.model_copy(update={"inputs": task.inputs.model_copy(update={"guidance": (low, high)})})


def _plain(model: Deployable, task: Task, file: Path, to: Any) -> Exported:
    written: ExportReport = export_model(model, task, file, to)
    (cost,) = costs([_loaded(file, to, task)], task)
    return Exported(**written.to_dict(), cost=cost)


def _pipeline(module: torch.nn.Module, task: Task, folder: Path) -> Exported:
    """A folder that a DDIMPipeline reads; what it asks at its one step is compared with the student."""
    if folder.exists():
        raise ConfigError(f"{folder}: is there already; move it away, or say where the pipeline goes (--out)")
    gap, size = write_checked(module, task, folder)
    (cost,) = costs([Deployable(module, task)], task)
    return Exported(
        str(folder), "diffusers", size, gap, PARITY, None, COMPARED, cost,
        notes=("drawn with DDIMPipeline.from_pretrained(FOLDER)(num_inference_steps=1)",),
    )  # fmt: skip


def _adapters(module: torch.nn.Module, task: Task, file: Path) -> Exported:
    """What was learnt beside a frozen network, without that network."""
    gap, size = write_adapters(module, task, file)
    (cost,) = costs([Deployable(module, task)], task)
    return Exported(
        str(file), "adapters", size, gap, ADAPTERS_PARITY, None, ADAPTERS_COMPARED, cost,
        notes=("stands beside the teacher's network: --student lora@FILE; --to diffusers adds it into the weights",),
    )  # fmt: skip


def _integers(model: Deployable, file: Path, run: Path | None) -> Exported:
    """INT8, beside the same network in float32 for comparison. Calibrated on the run's own samples where it kept
    some."""
    task = model.task
    if task.pair != ("image", "classes"):
        raise StudentError(f"INT8 is of classifiers of images so far, and this is of {' x '.join(task.pair)}")
    kept = run is not None and is_regular(run / input_kind(task).samples_file)
    made = integers(model.module, file, run if kept else "dfq", task=task)
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder) / "float.onnx"
        size = export_model(model, task, beside, "onnx").size
        cost, of_float = costs([_loaded(file, "onnx", task), _loaded(beside, "onnx", task)], task)
    ours, theirs, count = _answers(model, _loaded(file, "onnx", task), task)
    gap, alike = float((ours - theirs).abs().max()), agreement(ours, theirs)
    warned = () if made.agreement >= MIN_AGREEMENT else (
        f"INT8 names the float network's class on {made.agreement:.1%} of what calibrated it",
    )  # fmt: skip
    return Exported(
        str(file), "onnx-int8", made.size, gap, INT8_DRIFT * float(ours.abs().max()), alike, count, cost,
        float_size=size, float_p50=of_float.p50, notes=(*made.notes, *warned),
    )  # fmt: skip


def _loaded(file: Path, to: str, task: Task) -> Callable[..., Tensor]:
    return load_exported(file, "onnx" if to == "onnx-int8" else to, list(input_kind(task).signature()))  # type: ignore[arg-type]


def _answers(model: Deployable, program: Callable[..., Tensor], task: Task) -> tuple[Tensor, Tensor, int]:
    with torch.no_grad():
        pairs = [(model(*parts), program(*parts)) for parts in map(columns.parts, probes(task))]
    ours, theirs = (torch.cat(side) for side in zip(*pairs))
    return ours, theirs, len(ours)


def _self_test(model: Deployable, done: Exported) -> str:
    """Writes the file that travels with an ONNX model: of float32 the answers are the student's own, of integers those
    that they gave here."""
    file = Path(done.file)
    batches = list(probes(model.task))
    names = list(input_kind(model.task).signature())
    columns_of_samples = {
        name: np.concatenate([columns.parts(batch)[place].numpy() for batch in batches])
        for place, name in enumerate(names)
    }
    integers = done.format == "onnx-int8"
    network = predict.Model(file)
    with torch.no_grad():
        floats = [model(*columns.parts(batch)).numpy() for batch in batches]
    answers = network.all(columns_of_samples) if integers else np.concatenate(floats)
    about = {
        "sha256": sha256(file), "sansdata": __version__, "tolerance": done.allowed_difference,
        "agreement": INT8_AGREEMENT if integers else MIN_AGREEMENT,
    }  # fmt: skip
    path = file.with_suffix(predict.SELF_TEST)
    draft = temporary_name(path)
    try:
        predict.write_self_test(draft, columns_of_samples, answers, about)
        draft.replace(path)
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be written ({reason(fault)})") from None
    finally:
        draft.unlink(missing_ok=True)
    return str(path)


def _record(done: Exported, run: Path | None) -> None:
    file = Path(done.file)
    cost = asdict(done.cost)
    entry = done.to_dict() | cost | {
        # it may be handed on with the file, and names no folder of this machine
        "name": file.name, "file": file.name, "self_test": done.self_test and Path(done.self_test).name,
        "agreement": done.argmax_agreement, "sha256": sha256(file), "written": utc_now(), "sansdata": __version__,
    }  # fmt: skip
    entry.pop("cost")
    try:
        record.write_beside(file, entry)
    except OSError as fault:
        raise ConfigError(f"{file}.json: cannot be written ({reason(fault)})") from None
    fault = "" if run is None or file.parent.resolve() != run.resolve() else record.add_to_run(run, entry)
    if fault:
        print(f"warning   {fault}", file=sys.stderr)
