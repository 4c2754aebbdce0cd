"""Teachers in ONNX files: whole ones teach, hostile ones are one error each and cost neither time nor memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import Tiny, make_module, make_task

import sansdata
from sansdata.contracts import Access
from sansdata.engine.run import run
from sansdata.errors import TeacherError, UnsafeFileError, UserError
from sansdata.tasks import load_task
from sansdata.teachers.specs import declared_files, load_teacher

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402 - after the skip

TASK = make_task()
WEIGHT = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)


def classifier(
    batch: Any = "n", last: bool = False, softmax: bool = False, dtype: int = TensorProto.FLOAT, outputs: int = 1
) -> Any:
    """Flatten, multiply: images (batch, 1, 8, 8) -> 4 classes."""
    sizes = [8, 8, 1] if last else [1, 8, 8]
    taken = helper.make_tensor_value_info("x", dtype, [batch, *sizes])
    nodes = [helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT)]
    nodes += [helper.make_node("Flatten", ["f"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["z"])]
    nodes += [helper.make_node("Softmax" if softmax else "Identity", ["z"], ["y"])]
    gives = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 4]) for name in ("y", "z")[:outputs]]
    graph = helper.make_graph(nodes, "g", [taken], gives, [numpy_helper.from_array(WEIGHT, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def saved(model: Any, folder: Path) -> str:
    path = folder / "model.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return str(path)


def expected(images: torch.Tensor) -> torch.Tensor:
    return ((images - 0.5) / 0.25).flatten(1) @ torch.from_numpy(WEIGHT)


@pytest.mark.parametrize(
    "how", [{}, {"batch": 1}, {"batch": 4}, {"last": True}, {"dtype": TensorProto.DOUBLE}], ids=str
)
def test_it_answers_like_the_model_in_batches_of_any_size(how: dict, tmp_path: Path) -> None:
    teacher = load_teacher(saved(classifier(**how), tmp_path), TASK)
    assert teacher.access is Access.SCORES
    for count in (1, 3, 9):
        images = torch.rand(count, 1, 8, 8)
        torch.testing.assert_close(teacher(images).logits, expected(images), atol=1e-4, rtol=1e-4)


def test_probabilities_become_logarithms_and_several_outputs_are_asked_for(tmp_path: Path) -> None:
    images = torch.rand(5, 1, 8, 8)
    teacher = load_teacher(saved(classifier(softmax=True), tmp_path), TASK)
    torch.testing.assert_close(
        teacher(images).logits, expected(images).log_softmax(1).clamp_min(np.log(1e-6)), atol=1e-3, rtol=1e-3
    )
    assert "its answers are probabilities and are taken as their logarithms" in teacher.notes
    named = TASK.model_copy(update={"answers": 1})
    two = load_teacher(saved(classifier(softmax=True, outputs=2), tmp_path), named)
    torch.testing.assert_close(two(images).logits, expected(images), atol=1e-4, rtol=1e-4)


def test_weights_beside_the_model_are_read_and_declared(tmp_path: Path) -> None:
    model = classifier()
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    teacher = load_teacher(str(tmp_path / "model.onnx"), TASK)
    images = torch.rand(5, 1, 8, 8)
    torch.testing.assert_close(teacher(images).logits, expected(images), atol=1e-4, rtol=1e-4)
    assert declared_files(str(tmp_path / "model.onnx")) == [tmp_path / "model.onnx", tmp_path / "w.bin"]


def test_a_strict_run_learns_from_it_and_its_file_is_in_the_ledger(tiny: Tiny, tmp_path: Path) -> None:
    model = saved(classifier(softmax=True), tmp_path)
    asked = tiny.settings("noise", {"transfer": {"batch": 8}}, budget="4steps", teacher=model, student="resnet8")
    out = run(asked, tmp_path / "run")
    assert (out / "student.safetensors").is_file()
    assert model in (out / "ledger.json").read_text()
    assert sansdata.evaluate(model, tiny.data, tiny.task).count == 40


def test_an_export_of_ours_is_asked_with_images_as_they_travel(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from sansdata.deploy.export import export

    module = make_module()
    export(module, TASK, tmp_path / "student.onnx")
    teacher = load_teacher(str(tmp_path / "student.onnx"), TASK)
    images = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(teacher(images).logits, module((images - 0.5) / 0.25), atol=1e-4, rtol=1e-4)
    with pytest.raises(TeacherError, match="Choose the other task"):
        load_teacher(str(tmp_path / "student.onnx"), load_task("digits"))
    named = [TASK.model_copy(update={"class_names": tuple(names)}) for names in ("abcd", "bacd")]
    export(module, named[0], tmp_path / "named.onnx")
    with pytest.raises(TeacherError, match="the order of its classes"):
        load_teacher(str(tmp_path / "named.onnx"), named[1])


# -- what is wrong


def external(location: str, **fields: str) -> Any:
    model = classifier()
    (weight,) = model.graph.initializer
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **fields}.items():
        weight.external_data.add(key=key, value=value)
    return model


def in_a_subgraph(location: str) -> Any:
    """External data in an attribute of a node in a branch."""
    model = classifier()
    tensor = TensorProto(name="t", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    branch = helper.make_graph([helper.make_node("Constant", [], ["b"], value=tensor)], "b", [], [
        helper.make_tensor_value_info("b", TensorProto.FLOAT, [4])])  # fmt: skip
    model.graph.node.append(helper.make_node("If", ["y"], ["i"], then_branch=branch, else_branch=branch))
    return model


def cyclic() -> Any:
    model = classifier()
    model.graph.node[2].input[0] = "y"
    return model


def giant() -> Any:
    model = classifier()
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**20, 2**20], dtype=np.int64), "s"))
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["s"], ["huge"]))
    model.graph.node.append(helper.make_node("ReduceSum", ["huge"], ["sum"], keepdims=0))
    model.graph.node.append(helper.make_node("Add", ["y", "sum"], ["out"]))
    model.graph.output[0].name = "out"
    return model


def claiming() -> Any:
    model = classifier()
    model.graph.initializer[0].dims[0] = 2**40
    return model


def negative() -> Any:
    model = classifier()
    model.graph.initializer[0].dims[0] = -64
    return model


def unknown_operator() -> Any:
    model = classifier()
    model.graph.node[3].op_type = "RunMyProgram"
    return model


def foreign_domain() -> Any:
    model = classifier()
    model.graph.node[3].domain = "evil.example"
    model.opset_import.append(helper.make_opsetid("evil.example", 1))
    return model


def two_inputs() -> Any:
    model = classifier()
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["n", 1]))
    model.graph.node[3].op_type = "Add"
    model.graph.node[3].input.append("more")
    return model


def no_inputs() -> Any:
    model = classifier()
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 1, 8, 8), np.float32), "x"))
    del model.graph.input[:]
    return model


def other_sizes() -> Any:
    model = classifier()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 9
    return model


def deep() -> Any:
    model = classifier()
    graph = helper.make_graph([], "g", [], [])
    for _ in range(30):
        graph = helper.make_graph([helper.make_node("If", ["y"], ["i"], then_branch=graph)], "g", [], [])
    model.graph.node.append(helper.make_node("If", ["y"], ["i"], then_branch=graph, else_branch=graph))
    return model


HOSTILE: dict[str, tuple[Callable[[], Any], str]] = {
    "cut off": (lambda: classifier().SerializeToString()[:-200], "cut off|contradicts|cannot run|computes nothing"),
    "empty": (lambda: b"", "computes nothing"),
    "noise": (lambda: bytes(range(256)) * 40, "no ONNX model"),
    "data above": (lambda: external("../secret"), "only files in the model's own folder"),
    "data absolute": (lambda: external("/etc/passwd"), "only files in the model's own folder"),
    "data through a link": (lambda: external("link"), "no file beside it, or a link"),
    "data behind a linked folder": (lambda: external("folder/secret"), "only files in the model's own folder"),
    "data missing": (lambda: external("none.bin"), "no file beside it"),
    "data too short": (lambda: external("short.bin", length="1024"), "beyond the end"),
    "data at no number": (lambda: external("short.bin", offset="-4"), "a number of bytes"),
    "data of a subgraph": (lambda: in_a_subgraph("../secret"), "only files in the model's own folder"),
    "cyclic": (cyclic, "contradicts itself|cannot run"),
    "giant value": (giant, "more than is computed here"),
    "claims 2^40 rows": (claiming, "more than is computed here"),
    "negative sizes": (negative, "more than is computed here|contradicts itself"),
    "unknown operator": (unknown_operator, "contradicts itself|cannot run"),
    "operator of somebody's": (foreign_domain, "contradicts itself|cannot run"),
    "two inputs": (two_inputs, "takes 2 inputs"),
    "no inputs": (no_inputs, "takes 0 inputs"),
    "other sizes": (other_sizes, "Choose the task of this model|cannot run"),
    "texts": (lambda: classifier(dtype=TensorProto.STRING), "expected tensors of numbers"),
    "nested": (deep, "nested deeper"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_error(name: str, tmp_path: Path) -> None:
    make, message = HOSTILE[name]
    (tmp_path / "secret").write_bytes(bytes(1024))
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "short.bin").write_bytes(bytes(16))
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path)
    with pytest.raises(TeacherError, match=message):
        load_teacher(saved(make(), folder), TASK)


def test_what_is_no_file_is_one_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "folder.onnx").mkdir()
    for name in ("none.onnx", "pipe.onnx", "folder.onnx"):
        with pytest.raises(TeacherError):
            load_teacher(str(tmp_path / name), TASK)
    with pytest.raises(UserError):
        run_as_student(saved(classifier(), tmp_path), tmp_path)


def run_as_student(model: str, folder: Path) -> None:
    sansdata.distill(
        sansdata.Teacher.from_module(make_module(), TASK), model, "noise", "2steps", folder / "run", task=None
    )  # fmt: skip


def test_a_file_larger_than_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sansdata.teachers.onnx_file.MAX_FILE_BYTES", 100)
    with pytest.raises(UnsafeFileError, match="larger than 100 bytes"):
        load_teacher(saved(classifier(), tmp_path), TASK)
