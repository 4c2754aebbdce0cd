"""A student as a file: ONNX or torch.export, checked against the module before it gets its name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from .. import columns
from ..compress.quant_relu import AtFewBits
from ..compress.quantize import FLOAT, Quantized
from ..errors import ConfigError, MissingLibraryError, SansdataError, StudentError, did_you_mean, first_line
from ..files import reason, temporary_name
from ..kinds.index import input_kind, output_kind
from ..tasks import Task
from .bundle import Deployable
from .executorch import load_pte, write_pte
from .parity import RELATIVE, STEPPED, Parity, compare
from .quiet import quiet

Format = Literal["onnx", "pt2", "executorch"]
TOLERANCE = {"onnx": 1e-4, "pt2": 1e-5, "executorch": 1e-4}
SUFFIX = {"onnx": ".onnx", "pt2": ".pt2", "executorch": ".pte"}
TRACED_BATCH = 2


@dataclass(frozen=True)
class ExportReport:
    """What was written and how close it is to the module.

    size: bytes. opset: of ONNX, else None. max_abs_difference: of answers, over seeded inputs in `batch_sizes`, none of
    which is the traced one. argmax_agreement: share of inputs with the same class, 0..1, or None where the answers are
    no classes. inputs: how many were compared, those at the edges of what the kind allows among them. passed: always
    true of a file that was kept.
    """

    file: str
    format: str
    size: int
    opset: int | None
    max_abs_difference: float
    allowed_difference: float
    argmax_agreement: float | None
    batch_sizes: tuple[int, ...]
    inputs: int
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def export(module: nn.Module, task: Task, path: str | Path, to: Format = "onnx") -> ExportReport:
    """Writes `module` with its preprocessing to `path`: inputs as they travel -> answers, for any batch size. Images
    are float32 (B, C, H, W) in 0..1; inputs of several columns are arguments of their own.

    module: takes what its preprocessing gives; or a Deployable. Task and class names travel as metadata:
    `metadata_props` of ONNX, the extra file `task.json` of pt2. The file appears under its name only after it agreed
    with the module. Raises ConfigError for an unknown format or a path that cannot be written, MissingLibraryError
    without onnx, onnxscript or onnxruntime, StudentError where the module cannot be traced, SansdataError where the
    file disagrees.
    """
    if to not in get_args(Format):
        raise ConfigError(f"export format '{to}' is unknown. {did_you_mean(to, get_args(Format))}")
    if to == "onnx":
        need_onnx()
    path = Path(path).expanduser()
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: the folder {path.parent} does not exist")
    model = module if isinstance(module, Deployable) else Deployable(module, task)
    write, load = _tools(to)
    # a name that nobody can guess, since the exporters open it themselves; torch.export.save asks for the suffix
    draft = temporary_name(path).with_suffix(SUFFIX[to])
    try:
        opset = write(model, task, draft)
        relative = STEPPED if _has_steps(model) else RELATIVE
        parity = compare(model, load(draft, list(input_kind(task).signature())), task, TOLERANCE[to], relative)
        _check(parity, path)
        with open(draft, "rb") as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be written ({reason(fault)})") from None
    finally:
        draft.unlink(missing_ok=True)
    return ExportReport(str(path), to, path.stat().st_size, opset, **asdict(parity), passed=parity.passed)


def _tools(to: Format) -> tuple[Callable[..., int | None], Callable[..., Callable[..., Tensor]]]:
    """(what writes a format and gives its opset if it has one, what loads it)."""
    if to == "onnx":
        return write_onnx, load_onnx
    if to == "pt2":
        return _write_pt2, load_pt2
    return write_pte, load_pte


def _has_steps(model: nn.Module) -> bool:
    """Whether its activations are rounded to few bits."""
    return any(
        isinstance(part, AtFewBits) or (isinstance(part, Quantized) and part.inputs < FLOAT) for part in model.modules()
    )


def load_exported(path: Path, to: Format, names: Sequence[str]) -> Callable[..., Tensor]:
    """A file that `export` wrote, as a function of its columns in order. It is our own: nobody else's is loaded so."""
    return _tools(to)[1](path, names)


def _check(parity: Parity, path: Path) -> None:
    if not parity.passed:
        share, gap = parity.argmax_agreement, parity.max_abs_difference
        same = "" if share is None else f", the class agrees on {share:.1%} of the inputs"
        raise SansdataError(
            f"{path}: not written, because the exported model disagrees with the module: answers differ by {gap:.2g} "
            f"(at most {parity.allowed_difference:.2g}){same}. Does its forward pass depend on the batch or on "
            "randomness?"
        )


def metadata(task: Task) -> dict[str, str]:
    """What travels in the file, as text."""
    output, sizes = output_kind(task).signature()
    arguments = [
        f"{name}: {axes.dtype} (B, {', '.join(map(str, axes.sizes))}), {axes.meaning}"
        for name, axes in input_kind(task).signature().items()
    ]
    described = {
        "sansdata.task": task.model_dump_json(),
        "input": "; ".join(arguments),
        "output": f"{output}: float32 (B, {', '.join(map(str, sizes))})",
        "answers": task.pair[1],
    }
    if task.pair[1] in ("classes", "multilabel"):
        described["class_names"] = json.dumps([task.name_of(label) for label in range(task.classes)])
    return described


def _example(task: Task) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(columns.parts(input_kind(task).draw(TRACED_BATCH, generator)))


def any_batch(task: Task) -> tuple[tuple[dict[int, Any], ...]]:
    """The first axis of every argument; they come as one tuple, since a Deployable takes *columns."""
    batch = torch.export.Dim("batch", min=1, max=65_536)
    return (tuple({0: batch} for _ in input_kind(task).signature()),)


def _trace(model: nn.Module, task: Task) -> torch.export.ExportedProgram:
    try:
        with quiet(), torch.no_grad():
            return torch.export.export(model, _example(task), dynamic_shapes=any_batch(task))
    except Exception as fault:  # tracing runs the module's own code, which may raise anything
        raise StudentError(
            f"the module cannot be traced for any batch size ({first_line(fault)}). Its forward pass must be plain "
            "tensor code: no branch on values, and no batch size written into a reshape"
        ) from None


def write_onnx(model: nn.Module, task: Task, path: Path, outputs: Sequence[str] = ()) -> int:
    """Writes `model`, which takes inputs as they travel and gives answers; gives the opset. outputs: names of what it
    gives besides. Raises StudentError, OSError."""
    program = _trace(model, task)
    try:
        with quiet():
            exported = torch.onnx.export(
                program,
                dynamo=True,
                input_names=list(input_kind(task).signature()),
                output_names=[output_kind(task).signature()[0], *outputs],
                dynamic_shapes=any_batch(task),  # traced in already; given again, the axis keeps its name
                external_data=False,
                verbose=False,
            )
            assert exported is not None
            exported.model.metadata_props.update(metadata(task))
            exported.save(path, external_data=False)
    except OSError:
        raise
    except Exception as fault:  # an operator without a counterpart in ONNX, and many more
        raise StudentError(
            f"the module cannot be written as ONNX ({first_line(fault)}); to='pt2' may still work"
        ) from None
    return exported.model.opset_imports[""]


def load_onnx(path: Path, names: Sequence[str] = ("images",)) -> Callable[..., Tensor]:
    """The file as a function of columns. names: of the columns, in order."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    arguments = {argument.name for argument in session.get_inputs()}  # without those that no output needs

    def run(*inputs: Tensor) -> Tensor:
        fed = {name: column.numpy() for name, column in zip(names, inputs) if name in arguments}
        return torch.from_numpy(session.run(None, fed)[0])

    return run


def _write_pt2(model: nn.Module, task: Task, path: Path) -> None:
    program = _trace(model, task)
    try:
        with quiet():
            torch.export.save(program, path, extra_files={"task.json": json.dumps(metadata(task))})
    except RuntimeError as fault:  # torch's own file writer raises it for a full disk or a folder without permission
        raise ConfigError(f"{path.parent}: the pt2 file cannot be written ({first_line(fault)})") from None


def load_pt2(path: Path, names: Sequence[str] = ("images",)) -> Callable[..., Tensor]:
    with quiet():
        return torch.export.load(path).module()


def need_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as fault:
        raise MissingLibraryError(
            f"ONNX export needs onnx, onnxscript and onnxruntime ({fault}): pip install onnx onnxscript onnxruntime"
        ) from None
