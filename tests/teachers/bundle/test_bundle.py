"""A bundle as its receiver uses it: a SPEC like any other, and byte for byte what its maker had."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import changed_json, make_key, summed_again
from framed_texts import framed_task
from tiny import make_module
from typer.testing import CliRunner

import sansdata
from sansdata.api.bundle import convert_bundle, create_bundle, verify_bundle
from sansdata.cli.main import app
from sansdata.engine.run import run
from sansdata.errors import BundleError, ConfigError, MethodError, StudentError, TeacherError
from sansdata.files import sha256
from sansdata.models.build import architecture_of, build
from sansdata.models.saved import read_model, write_model
from sansdata.teachers.bundle import load_signed, task_of_bundle
from sansdata.teachers.specs import load_teacher, task_of
from sansdata.testing.worlds import WORLDS


def test_it_has_the_layout_and_the_keys_of_monai(made) -> None:
    metadata = json.loads((made.folder / "configs/metadata.json").read_text())
    assert {
        "version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version", "task",
        "description", "authors", "copyright", "network_data_format",
    } <= metadata.keys()  # fmt: skip
    image = metadata["network_data_format"]["inputs"]["image"]
    assert (image["num_channels"], image["spatial_shape"], image["value_range"]) == (1, [8, 8], [0, 1])
    assert {
        "type", "format", "modality", "num_channels", "spatial_shape", "dtype", "value_range", "is_patch_data",
        "channel_def",
    } == image.keys()  # fmt: skip
    assert metadata["network_data_format"]["outputs"]["pred"]["num_channels"] == 4


def test_other_tools_can_check_it(made) -> None:
    assert (
        subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=made.folder, check=False).returncode == 0
    )
    openssl = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", made.public, "-rawin", "-in", "SHA256SUMS",
               "-sigfile", "model.sig"]  # fmt: skip
    assert subprocess.run(openssl, cwd=made.folder, check=False, capture_output=True).returncode == 0


def test_the_golden_inputs_are_noise_and_the_answers_those_of_the_whole_network(made) -> None:
    """Against a plain computation of our own: the door, then the module."""
    arrays = np.load(made.folder / "configs/golden.npz")
    module = make_module().eval()
    with torch.no_grad():
        expected = module((torch.from_numpy(arrays["input"]) - 0.5) / 0.25).numpy()
    np.testing.assert_allclose(arrays["answers"], expected, atol=1e-5)


def test_it_is_a_teacher_with_its_own_job(made, tmp_path: Path) -> None:
    job = task_of(str(made.folder))
    assert job is not None
    teacher = load_teacher(str(made.folder), job)
    assert teacher.access is sansdata.Access.WEIGHTS
    assert teacher.sha256 == sha256(made.folder / "SHA256SUMS")
    assert any("no epsilon" in note for note in teacher.notes)
    plain = load_teacher(made.tiny.teacher, job)
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(teacher(images).value, plain(images).value)
    assert sansdata.check(str(made.folder))["faults"] == []


def test_another_job_is_refused(made) -> None:
    job = sansdata.ImageTask(shape=(1, 8, 8), classes=5, mean=(0.5,), std=(0.25,))
    with pytest.raises(TeacherError, match="was made for classes 4"):
        load_teacher(str(made.folder), job)


def test_other_names_of_the_classes_are_refused(bundle: Path, made) -> None:
    named = sansdata.ImageTask(shape=(1, 8, 8), classes=4, mean=(0.5,), std=(0.25,), class_names=("a", "b", "c", "d"))
    create_bundle(made.tiny.teacher, bundle.parent / "named", named)
    swapped = named.model_copy(update={"class_names": ("b", "a", "c", "d")})
    with pytest.raises(TeacherError, match="the order of its classes"):
        load_teacher(str(bundle.parent / "named"), swapped)
    assert load_teacher(str(bundle.parent / "named"), named).task.name_of(1) == "b"


def test_a_strict_run_may_read_a_bundle_and_nothing_beside_it(made, tmp_path: Path) -> None:
    create_bundle(made.tiny.teacher, tmp_path / "b.zip", made.tiny.task)
    for spec in (str(made.folder), str(tmp_path / "b.zip")):
        settings = made.tiny.settings("noise", {"transfer": {"batch": 8}}, teacher=spec, task="", budget="2steps")
        out = tmp_path / Path(spec).name.replace(".", "-")
        run(settings, out)
        ledger = json.loads((out / "ledger.json").read_text())
        assert (ledger["mode"], ledger["violations"]) == ("strict", [])
        read = {entry["path"] for entry in ledger["files"] if entry["role"] == "teacher"}
        assert read
        assert all(path.startswith(spec) for path in read)


def test_a_run_asks_for_the_makers_signature(made, tmp_path: Path) -> None:
    """Sealed, and in one reading: what was checked is what is used. The record names what was distilled."""
    options, given = {"transfer": {"batch": 8}}, {"teacher": str(made.folder), "task": "", "budget": "2steps"}
    settings = made.tiny.settings("noise", options, sealed=True, teacher_key=str(made.public), **given)
    run(settings, tmp_path / "run")
    assert "is signed by the key" in (tmp_path / "run" / "events.log").read_text()
    begun = json.loads((tmp_path / "run" / "chain.jsonl").read_text().splitlines()[0])
    assert begun["facts"]["teacher"]["sha256"] == sha256(made.folder / "SHA256SUMS")
    _, other = make_key(tmp_path, "other")
    with pytest.raises(sansdata.errors.BundleError, match="not by the key"):
        run(made.tiny.settings("noise", options, teacher_key=str(other), **given), tmp_path / "other")
    with pytest.raises(ConfigError, match="only a bundle is signed"):
        run(made.tiny.settings("noise", options, budget="2steps", teacher_key=str(other)), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_methods_that_the_maker_does_not_allow_are_refused_before_step_0(made, tmp_path: Path) -> None:
    bundle = tmp_path / "b"
    create_bundle(made.tiny.teacher, bundle, made.tiny.task, {"allowed_methods": ["fm", "noise"]})
    given = {"teacher": str(bundle), "task": "", "budget": "2steps"}
    with pytest.raises(MethodError, match=r"allows fm, noise alone\. Take one of these"):
        run(made.tiny.settings("dfad", {}, **given), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run(made.tiny.settings("noise", {"transfer": {"batch": 8}}, **given), tmp_path / "run")
    with pytest.raises(MethodError, match="allows fm, noise alone"):
        run(made.tiny.settings("dfad", {}, helpers=[str(bundle)], budget="2steps"), tmp_path / "other")


def test_a_run_is_bundled_byte_for_byte(made, tmp_path: Path) -> None:
    settings = made.tiny.settings(
        "noise", {"transfer": {"batch": 8}}, teacher=str(made.folder), task="", budget="2steps"
    )
    run(settings, tmp_path / "run")
    done = create_bundle(tmp_path / "run", tmp_path / "student", sign=made.private)
    assert done.bundle.weights == sha256(tmp_path / "run" / "student.safetensors")
    again = sansdata.evaluate(tmp_path / "student", made.tiny.data)
    assert again.accuracy == sansdata.evaluate(tmp_path / "run", made.tiny.data).accuracy


@pytest.mark.parametrize("world", ["table", "tokens", "masks", "clips", "sounds"])
def test_other_kinds_are_bundled_too(world: str, tmp_path: Path, made) -> None:
    """With a tokenizer where the texts need one."""
    one = WORLDS[world]
    job = sansdata.load_task(made.tiny.task_of(f"x/{world}"))
    one.save(tmp_path / "w.safetensors")
    done = create_bundle(one.spec(tmp_path / "w.safetensors"), tmp_path / "b", job)
    assert done.bundle.task.pair == job.pair
    assert load_teacher(str(tmp_path / "b"), done.bundle.task).task.pair == job.pair


@pytest.fixture
def of_texts(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A signed bundle whose maker named the tokenizer relatively, as on a command line, in the receiver's folder."""
    task = framed_task(tmp_path)
    task = task.model_copy(update={"inputs": task.inputs.model_copy(update={"tokenizer": "tokenizer.json"})})
    monkeypatch.chdir(tmp_path)
    architecture = architecture_of("bag", task)
    write_model("student.safetensors", build(architecture).eval(), architecture, task, {})
    done = create_bundle("student.safetensors", "b-1.0.0", sign=made.private)
    assert done.bundle.task.inputs.tokenizer == "b-1.0.0/models/tokenizer.json"
    return tmp_path / "b-1.0.0"


def test_texts_are_read_with_the_tokenizer_that_was_signed(of_texts: Path, made, tmp_path: Path) -> None:
    """And not with one at the maker's path, which here is another of the same size."""
    signed = of_texts / "models" / "tokenizer.json"
    other = json.loads(signed.read_text())
    words = other["model"]["vocab"]
    words["w0"], words["w1"] = words["w1"], words["w0"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(other))
    assert Path(verify_bundle(of_texts, made.public).task.inputs.tokenizer) == signed
    job = task_of_bundle(str(of_texts))
    assert Path(job.inputs.tokenizer) == signed
    assert Path(load_signed(str(of_texts), job, str(made.public)).task.inputs.tokenizer) == signed
    theirs = job.model_copy(update={"inputs": job.inputs.model_copy(update={"tokenizer": "tokenizer.json"})})
    with pytest.raises(TeacherError, match=r"tokenizer tokenizer.json is another than the bundle's. Leave --task out"):
        load_signed(str(of_texts), theirs, str(made.public))
    (tmp_path / "tokenizer.json").write_bytes(signed.read_bytes())
    assert Path(load_signed(str(of_texts), theirs, str(made.public)).task.inputs.tokenizer) == signed


def test_a_bundle_without_the_tokenizer_that_its_task_names_is_refused(of_texts: Path) -> None:
    (of_texts / "models" / "tokenizer.json").unlink()
    summed_again(of_texts)
    for read in (verify_bundle, task_of_bundle):
        with pytest.raises(BundleError, match=r"its copy 'tokenizer.json' is not in") as fault:
            read(str(of_texts))
        assert fault.value.reason == "missing"


@pytest.mark.parametrize(
    ("model", "fault", "said"),
    [
        ("tiny:make_module@{teacher}", StudentError, "your code"),
        ("resnet8@{teacher}", ConfigError, "give it"),
        ("{bundle}", ConfigError, "a bundle already"),
        ("model.skops", TeacherError, "only asked"),
    ],
)
def test_what_cannot_be_bundled_is_said(model: str, fault: type, said: str, made, tmp_path: Path) -> None:
    spec = model.format(teacher=made.tiny.folder / "teacher.safetensors", bundle=made.folder)
    task = made.tiny.task if model.startswith(("tiny", "model")) else None
    with pytest.raises(fault, match=said):
        create_bundle(spec, tmp_path / "b", task)
    assert not list(tmp_path.iterdir())


def test_a_bundle_is_made_once(made, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="made once"):
        create_bundle(made.tiny.teacher, made.folder, made.tiny.task)
    (tmp_path / "b.zip").touch()
    with pytest.raises(ConfigError, match="made once"):
        create_bundle(made.tiny.teacher, tmp_path / "b.zip", made.tiny.task)


def test_what_its_own_reader_would_refuse_is_not_written(made, tmp_path: Path) -> None:
    with pytest.raises(sansdata.errors.BundleError, match="not written") as fault:
        create_bundle(made.tiny.teacher, tmp_path / "b", made.tiny.task, {"description": "$x"})
    assert fault.value.reason == "expression"
    with pytest.raises(ConfigError, match=r"unknown setting 'licence'\. Did you mean 'license'"):
        create_bundle(made.tiny.teacher, tmp_path / "b", made.tiny.task, {"licence": "x"})
    assert not list(tmp_path.iterdir())


def test_pickled_weights_become_a_bundle(made, bundle: Path, tmp_path: Path) -> None:
    """What comes from MONAI: a folder with models/model.pt. Under `convert`'s own rules."""
    weights = read_model(bundle / "models/model.safetensors").tensors
    (bundle / "models/model.safetensors").unlink()
    torch.save(weights, bundle / "models/model.pt")
    done = convert_bundle(bundle)
    assert done.file == bundle / "models/model.safetensors"
    made_anew = create_bundle(f"resnet8@{done.file}", tmp_path / "anew", made.tiny.task)
    assert made_anew.bundle.worst == 0
    with pytest.raises(TeacherError, match="expected one pickled"):
        convert_bundle(made.folder)


def test_the_commands(made, tmp_path: Path) -> None:
    private, public = make_key(tmp_path)
    args = ["bundle", "create", made.tiny.teacher, "version=1.0", "--task", made.tiny.task, "--sign", str(private)]
    (tmp_path / "word.yaml").write_text("authors: Somebody\nprivacy: none stated\n")
    ended = CliRunner().invoke(app, [*args, "--out", str(tmp_path / "b.zip"), "--config", str(tmp_path / "word.yaml")])
    assert ended.exit_code == 0, ended.output
    assert "golden" in ended.output
    ended = CliRunner().invoke(app, ["bundle", "verify", str(tmp_path / "b.zip"), "--key", str(public)])
    assert ended.exit_code == 0
    assert "signature by the key" in ended.output
    assert "version 1.0" in ended.output


def test_an_older_golden_test_within_its_tolerance_holds(bundle: Path) -> None:
    """Another machine rounds otherwise."""
    arrays = dict(np.load(bundle / "configs/golden.npz"))
    arrays["answers"] = arrays["answers"] * np.float32(1 + 5e-5)
    np.savez(bundle / "configs/golden.npz", **arrays)
    summed_again(bundle)
    assert 0 < verify_bundle(bundle).worst < 1e-4


def test_a_description_may_say_more_to_monai(bundle: Path) -> None:
    changed_json(bundle, "configs/metadata.json", lambda fields: fields.update(changelog={"1.2.0": "first"}))
    assert verify_bundle(bundle).metadata.version == "1.2.0"
