"""Teachers in ONNX files: only asked, by onnxruntime. Nobody looks inside them and no gradient passes.

A file is read by us, in bounded size, and onnxruntime is given its bytes: so the no-data guard sees every read, and
nothing outside the file's own folder can be named. Only onnxruntime's own operators run; a file brings no code.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import columns
from ..columns import Inputs
from ..contracts import Access
from ..errors import MissingLibraryError, TaskError, TeacherError, UnsafeFileError, first_line
from ..files import is_regular, read_regular, reason, sha256
from ..kinds.index import input_kind
from ..network import Network
from ..tasks import Task, task_from_mapping
from .base import Teacher
from .student_file import same_job

MAX_FILE_BYTES = 2**31 - 1
"""Of the model, and of it with the data beside it: protobuf has no larger messages."""
MAX_NODES = 100_000
MAX_DEPTH = 16
"""Of graphs within graphs."""
MAX_ELEMENTS = 2**28
"""Of one inner value for one input, as far as its shape can be told: a gigabyte."""
SMALLEST = 1e-6
"""A probability of 0 counts as this, as of other teachers that are only asked."""
PROBES = 8
TYPES: dict[str, Any] = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int32)": np.int32, "tensor(int64)": np.int64, "tensor(bool)": np.bool_,
}  # fmt: skip


def is_onnx(spec: str) -> bool:
    """Whether a spec names an ONNX file; ARCH@FILE names weights of torch's."""
    return Path(spec).suffix.lower() == ".onnx" and ("@" not in spec or os.path.exists(spec))


def load_onnx(path: Path, task: Task) -> Teacher:
    """The model in an ONNX file as a teacher of `task`. One that sansdata exported has its preprocessing inside and
    says its own task; every other is given what the task's preprocessing gives.

    Raises MissingLibraryError without onnx and onnxruntime, UnsafeFileError for a file that names data elsewhere, lies
    about its sizes or is too large, TeacherError for one that cannot be read or does another job.
    """
    model = OnnxModel(_read(path), path)
    task, notes = _own_task(model, task, path)
    module = _Answers(model, task)
    probes = input_kind(task).draw(PROBES, torch.Generator().manual_seed(0))
    module.settle(Network.of(module, task).preprocessor(probes))
    if module.probabilities:
        notes.append("its answers are probabilities and are taken as their logarithms")
    return Teacher(module, task, None, str(path), sha256(path), most=Access.SCORES, notes=notes)


def external_files(path: Path) -> list[Path]:
    """The files beside an ONNX model that hold its weights; none where it cannot be read, which is said later."""
    try:
        return sorted({path.parent / tensor for tensor in _locations(_parse(path), path)})
    except (TeacherError, MissingLibraryError):
        return []


# -- the file


def _parse(path: Path) -> Any:
    try:
        import onnx
    except ImportError as fault:
        raise MissingLibraryError(
            f"{path}: needs onnx and onnxruntime ({fault}): pip install onnx onnxruntime"
        ) from None
    if not path.is_file():
        raise TeacherError(f"{path}: there is no such file")
    try:
        data = read_regular(path.resolve(), MAX_FILE_BYTES)
    except OSError as fault:
        raise UnsafeFileError(f"{path}: cannot be read ({reason(fault)})") from None
    try:
        model = onnx.ModelProto.FromString(data)
    except Exception as fault:  # protobuf's own classes
        raise TeacherError(
            f"{path}: no ONNX model, or one that was cut off ({first_line(fault)}). Copy it again"
        ) from None
    if not model.graph.node or not model.graph.output:
        raise TeacherError(f"{path}: no ONNX model: it computes nothing. Copy it again")
    return model


def _read(path: Path) -> bytes:
    """The model with all its weights, checked."""
    model = _parse(path)  # raises where onnx is not there
    from onnx import external_data_helper, shape_inference

    beside = _locations(model, path)
    size = path.stat().st_size + sum((path.parent / name).stat().st_size for name in set(beside))
    if size > MAX_FILE_BYTES:
        raise UnsafeFileError(
            f"{path}: has {size:,} bytes with the data beside it; at most {MAX_FILE_BYTES:,} are read"
        )
    try:
        if beside:
            external_data_helper.load_external_data_for_model(model, str(path.parent))
        _check_sizes(shape_inference.infer_shapes(_for_one_input(model), data_prop=True), path)
        return model.SerializeToString()
    except UnsafeFileError:
        raise
    except Exception as fault:  # onnx's own classes: a cycle, a value that nothing makes, lengths that do not fit
        raise TeacherError(f"{path}: an ONNX model that contradicts itself ({first_line(fault)})") from None


def _locations(model: Any, path: Path) -> list[str]:
    """Names of the files that hold tensors of the model, all of them its neighbours. Raises UnsafeFileError."""
    names = []
    for tensor in _tensors(model, path):
        if tensor.data_location != 1:  # EXTERNAL
            continue
        fields = {entry.key: entry.value for entry in tensor.external_data}
        name, where = fields.get("location", ""), PurePosixPath(fields.get("location", ""))
        inside = name and not where.is_absolute() and ".." not in where.parts and "\\" not in name and ":" not in name
        steps = [path.parent.joinpath(*where.parts[:depth]) for depth in range(1, len(where.parts))]
        if not inside or any(step.is_symlink() for step in steps):
            raise UnsafeFileError(
                f"{path}: its weights are said to lie in '{name[:100]}'; only files in the model's own folder are read"
            )
        file = path.parent / where
        if not is_regular(file):
            raise UnsafeFileError(f"{path}: its weights lie in '{name[:100]}', which is no file beside it, or a link")
        start, length = (_whole(fields.get(key), path) for key in ("offset", "length"))
        if start + length > file.stat().st_size:
            raise UnsafeFileError(f"{path}: its weights are said to reach beyond the end of '{name[:100]}'")
        names.append(name)
    return names


def _whole(text: str | None, path: Path) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) < 20):
        raise UnsafeFileError(f"{path}: says '{text[:40]}' where a number of bytes should stand")
    return int(text or 0)


def _tensors(model: Any, path: Path) -> Iterator[Any]:
    """Every stored tensor of a model, those in attributes and in graphs within graphs too. Raises UnsafeFileError."""
    count = 0
    graphs = [(model.graph, 0)]
    lists = [(function.node, 0) for function in model.functions]
    while graphs or lists:
        if graphs:
            graph, depth = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            lists.append((graph.node, depth))
            continue
        nodes, depth = lists.pop()
        count += len(nodes)
        if count > MAX_NODES or depth > MAX_DEPTH:
            raise UnsafeFileError(
                f"{path}: more than {MAX_NODES:,} operations, or graphs nested deeper than {MAX_DEPTH}"
            )
        for attribute in (one for node in nodes for one in node.attribute):
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
            inner = [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
            graphs += [(graph, depth + 1) for graph in inner]


def _for_one_input(model: Any) -> Any:
    """A copy in which open sizes of the inputs are 1, without weights that only cost time."""
    copied = type(model)()
    copied.CopyFrom(model)
    for value in copied.graph.input:
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_value < 1:  # open; some writers say -1
                axis.dim_value = 1
    return copied


def _check_sizes(model: Any, path: Path) -> None:
    """Raises UnsafeFileError for a value that would fill the memory."""
    graph = model.graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        shapes[value.name] = [axis.dim_value for axis in value.type.tensor_type.shape.dim if axis.dim_value > 0]
    for name, sizes in shapes.items():
        if any(size < 0 for size in sizes) or math.prod(sizes) > MAX_ELEMENTS:
            raise UnsafeFileError(f"{path}: its value '{name[:60]}' has the sizes {sizes}, more than is computed here")


# -- the model


class OnnxModel:
    """A session of onnxruntime, asked with columns in order, in batches of any size."""

    def __init__(self, data: bytes, path: Path) -> None:
        """Raises TeacherError for what onnxruntime cannot run."""
        try:
            import onnxruntime
        except ImportError as fault:
            raise MissingLibraryError(f"{path}: needs onnxruntime ({fault}): pip install onnxruntime") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
        options.log_severity_level = 4
        self.path, self.data = path, data
        try:
            self.session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as fault:  # onnxruntime's own classes: an unknown operator, a cycle, shapes that do not fit
            raise TeacherError(f"{path}: onnxruntime cannot run it ({first_line(fault)})") from None
        self.inputs = self.session.get_inputs()
        self.outputs = [one for one in self.session.get_outputs() if one.type in TYPES]
        if not self.inputs or not self.outputs:
            raise TeacherError(
                f"{path}: takes {len(self.inputs)} inputs and gives {len(self.outputs)} tensors of numbers"
            )
        unknown = [one for one in self.inputs if one.type not in TYPES]
        if unknown:
            raise TeacherError(f"{path}: takes '{unknown[0].name}' as {unknown[0].type}; expected tensors of numbers")
        self.metadata: Mapping[str, str] = self.session.get_modelmeta().custom_metadata_map
        sizes = {one.shape[0] for one in self.inputs if one.shape and isinstance(one.shape[0], int)}
        self.batch = min(sizes) if sizes else None
        """How many inputs it takes at a time, where that is fixed."""

    def __call__(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """given: an array per input, with a batch axis. Gives an array per output."""
        count, batch = len(inputs[0]), self.batch or len(inputs[0])
        names = [one.name for one in self.outputs]
        parts = []
        for start in range(0, count, batch):
            part = [column[start : start + batch] for column in inputs]
            lack = batch - len(part[0])
            if lack:  # a fixed batch is filled up with the last input
                part = [np.concatenate([column, np.repeat(column[-1:], lack, 0)]) for column in part]
            fed = {
                one.name: np.ascontiguousarray(column, dtype=TYPES[one.type])
                for one, column in zip(self.inputs, part)
            }  # fmt: skip
            try:
                answers = [np.asarray(answer) for answer in self.session.run(names, fed)]
            except Exception as fault:  # onnxruntime's own classes
                raise TeacherError(f"{self.path}: fails when it is asked ({first_line(fault)})") from None
            parts.append([answer[: batch - lack] if answer.ndim else answer for answer in answers])
        return [np.concatenate(several) if several[0].ndim else several[0] for several in zip(*parts)]


class _Answers(nn.Module):
    """The model as a module: what its door gives -> logits (B, K), or all its outputs where there are several."""

    def __init__(self, model: OnnxModel, task: Task) -> None:
        super().__init__()
        self.model, self.task = model, task
        self.last = False
        """Whether it takes images with their channels last."""
        self.probabilities = False

    def settle(self, prepared: Inputs) -> None:
        """Compares what the model declares with what it will be given, asks it once, and sees what its answers are.
        Raises TeacherError."""
        parts = self._columns(prepared)
        for one, part in zip(self.model.inputs, parts):
            self._require(one, part)
        answers = self(**prepared) if isinstance(prepared, Mapping) else self(prepared)
        several = answers if isinstance(answers, tuple) else (answers,)
        self.probabilities = len(several) == 1 and _are_shares(several[0])

    def _require(self, one: Any, part: Tensor) -> None:
        wanted, sizes = list(one.shape[1:]), list(part.shape[1:])
        if _fits(wanted, sizes) and len(one.shape) == part.ndim:
            return
        if part.ndim == len(one.shape) == 4 and _fits(wanted, [*sizes[1:], sizes[0]]):
            self.last = True
            return
        raise TeacherError(
            f"{self.model.path}: takes '{one.name}' of sizes {_written(wanted)} for each input, and the task gives "
            f"{sizes}. Choose the task of this model"
        )

    def _columns(self, prepared: Inputs) -> list[Tensor]:
        """A tensor for each input of the model, in its order."""
        names = [one.name for one in self.model.inputs]
        if isinstance(prepared, Tensor):
            if len(names) > 1:
                raise TeacherError(
                    f"{self.model.path}: takes {len(names)} inputs ({', '.join(names)[:200]}), and the task has one"
                )
            return [prepared]
        if len(names) == 1 and names[0] not in prepared:  # the others say what the first already does, such as a mask
            return [next(iter(prepared.values()))]
        if missing := [name for name in names if name not in prepared]:
            raise TeacherError(
                f"{self.model.path}: takes '{missing[0]}', and the task gives {', '.join(prepared)}; name the "
                "arguments in the task's preprocessing"
            )
        return [prepared[name] for name in names]

    @torch.no_grad()
    def forward(self, prepared: Inputs | None = None, **named: Tensor) -> Tensor | tuple[Tensor, ...]:
        inputs = named if prepared is None else prepared
        parts = self._columns(inputs)
        device = columns.parts(inputs)[0].device
        placed = [part.movedim(1, -1) if self.last else part for part in parts]
        arrays = [(part.float() if part.is_floating_point() else part).cpu().numpy() for part in placed]
        answers = [torch.from_numpy(np.ascontiguousarray(one)).to(device) for one in self.model(arrays)]
        if self.probabilities:
            return answers[0].float().clamp(SMALLEST, 1.0).log()
        return answers[0] if len(answers) == 1 else tuple(answers)

    def fingerprint(self) -> str:
        """SHA-256 of the model's bytes: it cannot change."""
        return hashlib.sha256(self.model.data).hexdigest()


def _fits(wanted: list[Any], sizes: list[int]) -> bool:
    """Open sizes, which are texts or None, fit everything."""
    return len(wanted) == len(sizes) and all(
        not isinstance(one, int) or one == size for one, size in zip(wanted, sizes)
    )  # fmt: skip


def _written(sizes: list[Any]) -> str:
    return "[" + ", ".join(str(one) if isinstance(one, int) else "any" for one in sizes) + "]"


def _are_shares(answers: Tensor) -> bool:
    if answers.ndim != 2 or answers.shape[1] < 2 or not answers.is_floating_point():
        return False
    values = answers.double()
    return bool((values >= -1e-6).all()) and bool(((values.sum(1) - 1).abs() < 1e-3).all())


def _own_task(model: OnnxModel, task: Task, path: Path) -> tuple[Task, list[str]]:
    """The task with the door that the model has, and what was decided."""
    text = model.metadata.get("sansdata.task")
    if not text:
        return task, []
    try:
        own = task_from_mapping(json.loads(text), f"{path}: task")
    except (ValueError, RecursionError, TaskError) as fault:
        raise TeacherError(f"{path}: its 'sansdata.task' is no task ({first_line(fault)})") from None
    task = same_job(own, task, path)
    if task.pair[0] != "image":
        raise TeacherError(
            f"{path}: an export of sansdata's on {task.pair[0]} has its preprocessing inside; give the student file"
        )
    channels = task.shape[0]  # type: ignore[attr-defined]
    prepared = task.seen_through({"mean": [0.0] * channels, "std": [1.0] * channels})
    return prepared, ["an export of sansdata's: it takes images in 0..1 and normalises them itself"]
