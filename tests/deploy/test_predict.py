"""The reader of exported models stands alone: no torch, no sansdata, and one error for what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny import WORLDS, Tiny, make_module, make_task
from typer.testing import CliRunner

import sansdata
from sansdata.api.quantize import to_int8
from sansdata.cli.main import app
from sansdata.decoding.images import decode
from sansdata.deploy import predict
from sansdata.deploy.export import metadata
from sansdata.errors import UserError
from sansdata.models.build import architecture_of
from sansdata.models.saved import write_model

for library in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(library)

BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
sys.argv = {argv}
import runpy
runpy.run_path({file}, run_name="__main__")
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student file with its exports beside it."""
    folder = tmp_path_factory.mktemp("exported")
    task = make_task().model_copy(update={"class_names": ("a", "b", "c", "d")})
    architecture = architecture_of(WORLDS["image"].network, task)
    write_model(folder / "student.safetensors", make_module(), architecture, task, {})
    sansdata.export(str(folder / "student.safetensors"), "onnx")
    np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8))
    return folder


def alone(*words: str, blocked: tuple[str, ...] = ("torch", "sansdata", "PIL")) -> subprocess.CompletedProcess[str]:
    """A copy of predict.py in a process that has neither torch nor sansdata."""
    code = BLOCKED.format(blocked=set(blocked), argv=["predict.py", *words], file=repr(predict.__file__))
    return subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=120)


def test_it_needs_onnxruntime_and_numpy_only(exported: Path, tmp_path: Path) -> None:
    model, images, out = exported / "student.onnx", exported / "images.npy", tmp_path / "answers.npz"
    done = alone(str(model), str(images), "--out", str(out), "--self-test")
    assert done.returncode == 0, done.stderr
    first, *rows = done.stdout.splitlines()
    assert first.startswith("self-test 2")
    with np.load(out) as kept:
        labels = kept["answers"].argmax(1)
    assert [row.split("\t")[:2] for row in rows] == [[str(n), "abcd"[label]] for n, label in enumerate(labels)]
    expected = make_module()
    import torch

    images_in = torch.from_numpy(np.load(images)).float().div(255)[:, None]
    with torch.no_grad():
        assert expected((images_in - 0.5) / 0.25).argmax(1).tolist() == labels.tolist()
    missing = alone(str(model), str(images), blocked=("onnxruntime",))
    assert missing.returncode == 2
    assert missing.stderr.startswith("error: needs onnxruntime")


def test_a_picture_will_do_and_measuring_is_json(exported: Path, tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (10, 200, 30)).save(tmp_path / "x.png")
    done = CliRunner().invoke(app, ["predict", str(exported / "student.onnx"), str(tmp_path / "x.png")])
    assert done.exit_code == 0, done.output
    assert len(done.output.splitlines()) == 1
    asked = ["predict", str(exported / "student.onnx"), str(exported / "images.npy"), "--measure"]
    cost = json.loads(CliRunner().invoke(app, asked).output)
    assert 0 < cost["p50"] <= cost["p95"] <= cost["p99"]
    assert cost["threads"] == 1


def pictures(folder: Path) -> dict[str, Path]:
    """Of every sort that people have; none is flat, none of the size that is asked for."""
    random, turned = np.random.default_rng(0), Image.Exif()
    turned[0x0112] = 6
    colours, veil = random.integers(0, 256, (64, 40, 3), dtype=np.uint8), random.integers(0, 256, (64, 40), np.uint8)
    deep = random.integers(0, 4096, (64, 40), dtype=np.uint16)
    made = {
        "colours.png": Image.fromarray(colours), "grey.png": Image.fromarray(veil), "deep.png": Image.fromarray(deep),
        "veiled.png": Image.fromarray(np.dstack([colours, veil])), "palette.png": Image.fromarray(colours).quantize(8),
        "turned.jpg": Image.fromarray(colours),
    }  # fmt: skip
    for name, picture in made.items():
        picture.save(folder / name, **({"exif": turned} if name == "turned.jpg" else {}))
    return {name: folder / name for name in made}


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_read_as_where_a_set_is_evaluated(channels: int, tmp_path: Path) -> None:
    model: Any = SimpleNamespace(arguments={"images": SimpleNamespace(shape=["B", channels, 28, 24])})
    for name, path in pictures(tmp_path).items():
        assert np.array_equal(predict._picture(path, model), decode(path, (channels, 28, 24))[0]), name
    Image.fromarray(np.dstack([np.zeros((9, 9, 3), np.uint8), np.arange(81, dtype=np.uint8).reshape(9, 9)])).save(
        tmp_path / "drawn.png"
    )
    with pytest.raises(predict.PredictError, match="transparency alone"):
        predict._picture(tmp_path / "drawn.png", model)


@pytest.mark.parametrize("kind", [np.int64, np.uint16, np.int32, bool])
def test_whole_numbers_without_a_white_are_no_images(exported: Path, kind: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 8, 8), kind))
    with pytest.raises(predict.PredictError, match="expected uint8"):
        predict.run(exported / "student.onnx", tmp_path / "x.npy")


def test_labels_that_do_not_exclude_each_other_are_named_one_by_one() -> None:
    answers = np.log([[19, 19, 1 / 9], [1 / 9, 1 / 9, 1 / 9]])
    model: Any = SimpleNamespace(answers="multilabel", name_of="abc".__getitem__)
    assert list(predict.lines(answers, model)) == ["0\ta 0.9500, b 0.9500", "1\tnone"]
    assert list(predict.lines(answers[:, :1], model)) == ["0\ta 0.9500", "1\tnone"]
    model.answers = "vectors"
    assert list(predict.lines(np.array([[0.5, -2.0]]), model)) == ["0\t[ 0.5 -2. ]"]
    about = metadata(WORLDS["tags"].task)
    assert about["answers"] == "multilabel"
    assert len(json.loads(about["class_names"])) == WORLDS["tags"].task.outputs.classes  # type: ignore[attr-defined]


def test_a_self_test_finds_another_model_and_other_answers(exported: Path, tmp_path: Path) -> None:
    model = tmp_path / "student.onnx"
    model.write_bytes((exported / "student.onnx").read_bytes())
    network = predict.Model(model)
    with pytest.raises(predict.PredictError, match="there is no self-test"):
        predict.self_test(network)
    with np.load(exported / "student.selftest.npz") as opened:
        arrays = {name: opened[name] for name in opened.files}
    np.savez(tmp_path / "student.selftest.npz", **arrays | {"answers": arrays["answers"] + 0.01})
    with pytest.raises(predict.PredictError, match=r"answers differ by 0\.01"):
        predict.self_test(network)
    np.savez(tmp_path / "student.selftest.npz", **arrays | {"answers": arrays["answers"] * np.nan})
    with pytest.raises(predict.PredictError, match="answers differ by nan"):
        predict.self_test(network)
    to_int8(make_module(), tmp_path / "other.onnx", "noise", task=make_task())
    np.savez(tmp_path / "other.selftest.npz", **arrays)
    with pytest.raises(predict.PredictError, match="SHA-256 is not that"):
        predict.self_test(predict.Model(tmp_path / "other.onnx"))


def test_wrong_files_are_one_error(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no model")
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "shape.npy", np.zeros((2, 9, 9), np.uint8))
    np.save(tmp_path / "empty.npy", np.zeros((0, 8, 8), np.uint8))
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    (tmp_path / "notes.txt").write_text("x")
    model = str(exported / "student.onnx")
    for words, message in (
        ([str(tmp_path / "no.onnx")], "onnxruntime cannot read it"),
        ([str(tmp_path / "none.onnx")], "no such file"),
        ([model], "name a file of inputs"),
        ([model, str(tmp_path / "pickled.npy")], "without pickle"),
        ([model, str(tmp_path / "shape.npy")], "do not fit the model"),
        ([model, str(tmp_path / "empty.npy")], "the inputs are empty; give at least one"),
        ([model, str(tmp_path / "cut.npz")], "without pickle"),
        ([model, str(tmp_path / "notes.txt")], "expected inputs as .npy"),
    ):
        failed = CliRunner().invoke(app, ["predict", *words])
        assert isinstance(failed.exception, UserError), (words, failed.output)
        assert message in str(failed.exception)


def model_of(path: Path, names: tuple[str, ...] = ("images",), **described: str) -> Path:
    """A model that gives the first input's mean of each channel of (B, 3, 8, 8)."""
    from onnx import TensorProto, helper, save

    shape = ["b", 3, 8, 8]
    nodes = [helper.make_node("ReduceMean", [names[0]], ["answers"], axes=[2, 3], keepdims=0)]
    nodes += [helper.make_node("Identity", [name], [f"{name}_out"]) for name in names[1:]]
    taken = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names]
    given = [helper.make_tensor_value_info("answers", TensorProto.FLOAT, ["b", 3])]
    given += [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, shape) for name in names[1:]]
    graph = helper.make_graph(nodes, "means", taken, given)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {"input": "images: (B, 3, 8, 8)", **described})
    save(model, path)
    return path


def test_hostile_inputs_are_one_error_and_start_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = model_of(tmp_path / "m.onnx"), np.zeros((2, 3, 8, 8), np.float32)
    np.savez_compressed(tmp_path / "good.npz", x=np.random.default_rng(0).normal(size=(4, 3, 8, 8)))
    flipped = bytearray((tmp_path / "good.npz").read_bytes())
    flipped[300] ^= 0x55
    (tmp_path / "flipped.npz").write_bytes(flipped)
    (tmp_path / "archive.npy").write_bytes((tmp_path / "good.npz").read_bytes())
    np.save(tmp_path / "number.npy", np.float32(3))
    np.save(tmp_path / "texts.npy", np.array(["a", "b"]))
    np.savez(tmp_path / "others.npz", a=images, b=images)
    np.savez(tmp_path / "nothing.npz")
    with zipfile.ZipFile(tmp_path / "notes.npz", "w") as archive:
        archive.writestr("x", "no array at all")
    header = b"\x93NUMPY\x02\x00" + (2**24).to_bytes(4, "little") + b" " * 2**24
    with zipfile.ZipFile(tmp_path / "header.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header)
    (tmp_path / "header.npy").write_bytes(header)
    for inputs, message in (
        ("flipped.npz", "no arrays that can be read"),
        ("archive.npy", "does not begin as an array"),
        ("number.npy", "a single number"),
        ("texts.npy", "expected numbers"),
        ("nothing.npz", "the inputs have nothing"),
        ("notes.npz", "does not begin as an array"),
        ("header.npz", "a description of 16,777,216 bytes"),
        ("header.npy", "a description of 16,777,216 bytes"),
    ):
        with pytest.raises(predict.PredictError, match=message):
            predict.run(model, tmp_path / inputs)
        with pytest.raises(predict.PredictError):
            predict.self_test(predict.Model(model), tmp_path / inputs)
    two = model_of(tmp_path / "two.onnx", ("p", "q"))
    with pytest.raises(predict.PredictError, match="takes p, q, and the inputs have a, b"):
        predict.run(two, tmp_path / "others.npz")
    nameless = model_of(tmp_path / "nameless.onnx", class_names="{nope")
    with pytest.raises(predict.PredictError, match="class names are no list"):
        predict.run(nameless, tmp_path / "good.npz")
    started = tmp_path / "started"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gs").write_text(f"#!/bin/sh\ntouch {started}\n")
    (tmp_path / "bin" / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    drawing = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    (tmp_path / "e.png").write_text(drawing)
    with pytest.raises(predict.PredictError, match="no picture that can be read"):
        predict.run(model, tmp_path / "e.png")
    assert not started.exists()
    done = alone(str(model), str(tmp_path / "flipped.npz"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_run_keeps_what_every_export_measured(tiny: Tiny, tmp_path: Path) -> None:
    """The whole chain in one line, then more exports of the same run."""
    settings = tiny.settings("noise", {"transfer": {"batch": 8}}, budget="2steps")
    out = tmp_path / "run"
    words = ["distill", "--config", str(tiny.config(settings, folder=tmp_path)), "--out", str(out)]
    done = CliRunner().invoke(app, [*words, "--export", "onnx", "--export", "onnx-int8"])
    assert done.exit_code == 0, done.output
    assert "of the float file" in done.output
    assert "student.int8.onnx" in (out / "report.html").read_text()
    kept = json.loads((out / "exports.json").read_text())
    assert [entry["name"] for entry in kept["exports"]] == ["student.onnx", "student.int8.onnx"]
    assert kept["exports"][0]["inputs"] >= 256
    assert kept["exports"][1]["float_size"] == kept["exports"][0]["size"]
    assert kept["exports"][0]["peak_memory_mb"] > 10
    assert {drawing["name"] for drawing in kept["figures"]} == {"agreement against size", "agreement against latency"}
    assert json.loads((out / "student.int8.onnx.json").read_text()) == kept["exports"][1]
    sansdata.export(out, "onnx")
    assert len(json.loads((out / "exports.json").read_text())["exports"]) == 3
    tested = CliRunner().invoke(app, ["predict", str(out / "student.int8.onnx"), "--self-test"])
    assert tested.exit_code == 0, tested.output
    page = sansdata.report(out, tiny.data).read_text()
    kept = json.loads((out / "exports.json").read_text())
    assert all(0 <= entry["accuracy"] <= 1 for entry in kept["exports"][1:])
    assert "accuracy against size" in page.lower()
    assert "student.int8.onnx" in page


def test_a_student_of_the_users_own_code_is_exported_after_its_run(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run alone may not say what code is run, but whoever named it on this very command line may."""
    (tmp_path / "own_net.py").write_text(
        "from torch import nn\n\n\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    config = tiny.config(tiny.settings("noise", {"transfer": {"batch": 8}}, budget="2steps"), folder=tmp_path)
    words = ["distill", "--config", str(config), "--out", str(tmp_path / "run"), "--student", "own_net:make"]
    done = CliRunner().invoke(app, [*words, "--export", "onnx"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "run" / "student.onnx").is_file()


def test_the_agreement_of_integers_is_of_the_inputs_that_a_float_file_is_measured_on(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of those that calibrated them, which they name as the float network does."""
    monkeypatch.setattr("sansdata.api.quantize.FEW_STEPS", 20)
    done = sansdata.export(str(exported / "student.safetensors"), "onnx-int8")
    with np.load(exported / "student.int8.selftest.npz") as kept:
        samples, integers = kept["images"], kept["answers"]
    floats = predict.Model(exported / "student.onnx").all({"images": samples})
    same = float((floats.argmax(1) == integers.argmax(1)).mean())
    assert done.inputs == len(samples)
    assert done.argmax_agreement == pytest.approx(same)
    assert json.loads((exported / "student.int8.onnx.json").read_text())["agreement"] == done.argmax_agreement
    assert same < 1


def test_the_example_answers_a_stream(exported: Path) -> None:
    """Without torch, as on the machine that has the camera."""
    folder = Path(__file__).parents[2] / "examples" / "stream"
    code = BLOCKED.format(
        blocked={"torch"}, argv=["serve.py", str(exported / "student.onnx"), "--port", "0", "--once"],
        file=repr(str(folder / "serve.py")),
    )  # fmt: skip
    source = str(Path(predict.__file__).parents[2])
    server = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": source}
    )
    assert server.stdout is not None
    port = server.stdout.readline().rsplit(" ", 1)[1].strip()
    command = [sys.executable, str(folder / "camera.py"), str(exported / "images.npy"), "--port", port]
    done = subprocess.run([*command, "--rate", "0", "--frames", "20"], capture_output=True, text=True, timeout=60)
    assert "frames/s: " in done.stdout, done.stderr
    assert "20 frames answered" in server.communicate(timeout=60)[0]
    assert server.returncode == 0
