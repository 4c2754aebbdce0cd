"""A fair autoencoder of pictures: its file, as a teacher, its students, and pictures with a class that are decoded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import sansdata
from sansdata.api.picture_autoencoder import groups_in, write_picture_autoencoder
from sansdata.api.pictures import write_pictures
from sansdata.errors import ConfigError, MethodError, SansdataError, StudentError, TeacherError, UnsafeFileError
from sansdata.models.build import build
from sansdata.models.fair_image_vae import FairImageVAE, LatentPictures, sizes_of
from sansdata.models.tensor_file import read_metadata
from sansdata.tasks import ImageTask, PairTask
from sansdata.teachers.autoencoder import (
    load_picture_autoencoder,
    picture_task_of,
    picture_teacher_of,
    role_of,
    save_picture_autoencoder,
    task_of,
    teacher_of,
)
from sansdata.teachers.autoencoder.base import Bank
from sansdata.teachers.autoencoder.decoding import rule_of
from sansdata.teachers.autoencoder.picture_file import KEY
from sansdata.teachers.autoencoder.pictures import PictureAutoEncoder, decoded_pictures
from sansdata.teachers.specs import load_teacher
from sansdata.teachers.students import load_student
from sansdata.testing.worlds import CLASSES, LATENT, make_autoencoder, make_picture_autoencoder
from sansdata.training import fair_image_vae
from sansdata.training.fair_image_vae import FairImageVAESettings, train_fair_image_vae

RUN: dict[str, Any] = {
    "strict": True, "options": {"transfer": {"batch": 16}}, "settings": {"threads": 1, "device": "cpu"},
}  # fmt: skip


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def with_bank() -> PictureAutoEncoder:
    model = make_picture_autoencoder()
    model.moments, model.bank = None, Bank(torch.randn(30, LATENT, generator=stream()), torch.tensor([0, 1] * 15))
    return model


# -- the network and its training


@pytest.mark.parametrize(("size", "maps"), [
    ((64, 64), [64, 32, 16, 8, 4]), ((28, 28), [28, 14, 7, 3]), ((8, 8), [8, 4]), ((4, 4), [4]),
    ((150, 150), [150, 75, 37, 18, 9]),
])  # fmt: skip
def test_what_is_halved_comes_back_in_its_size(size: tuple[int, int], maps: list[int]) -> None:
    assert [height for height, _ in sizes_of(*size)] == maps
    vae = FairImageVAE((3, *size), 2, 4, 6)
    pictures = torch.rand(2, 3, *size)
    mean, logvar = vae.encoder(pictures)
    assert mean.shape == logvar.shape == (2, 6)
    assert vae.decoder(mean, torch.tensor([0, 1])).shape == pictures.shape
    if size == (64, 64):
        wide = [part.out_channels for part in vae.encoder.layers if isinstance(part, torch.nn.Conv2d)]
        assert wide == [32, 32, 64, 64, 256, 12]


def test_the_loss_of_the_training_is_the_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """One step against float64: what moves the weights is the gradient of that loss. Its dependence, which has tests of
    its own, is a smooth one here, since distances in float32 are rough."""

    def smooth(mean: torch.Tensor, logvar: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        return (mean * (1 + groups[:, None])).square().sum() + logvar.square().mean()

    monkeypatch.setitem(fair_image_vae.DEPENDENCE, "dcor", smooth)
    images = torch.randint(256, (8, 1, 8, 8), generator=stream(), dtype=torch.uint8)
    labels, groups = torch.arange(8) % 3, torch.arange(8) % 2
    seen: list[torch.Tensor] = []
    plain = torch.optim.Adam.step

    def watched(self: torch.optim.Adam, *args: Any) -> Any:
        seen.extend(one.grad.clone() for group in self.param_groups for one in group["params"])
        return plain(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    settings = FairImageVAESettings(latent=3, epochs=1, batch=8, weight=7.0, label=2.0)
    train_fair_image_vae(images, labels, groups, 3, settings, seed=4)
    streams = fair_image_vae.Streams(4)
    with streams.as_global("teacher"):
        vae = FairImageVAE((1, 8, 8), 2, 3, 3).double()
    streams.begin(0)
    order, noise = torch.randperm(8, generator=streams("order")), streams("latents")
    unit, own = images[order].double() / 255, groups[order]
    mean, logvar = vae.encoder(unit)
    latent = mean + (logvar / 2).exp() * torch.randn(8, 3, generator=noise).double()
    made = vae.decoder(latent, own).sigmoid()
    pixels = -(unit * made.log() + (1 - unit) * (1 - made).log()).flatten(1).sum(1).mean()
    normal = (-0.5 * (1 + logvar - mean**2 - logvar.exp())).sum(1).mean()
    told = F.cross_entropy(vae.tell(latent, own), labels[order])
    (pixels + normal + 2 * told + 7 * smooth(mean, logvar, own)).backward()
    assert len(seen) == len(list(vae.parameters()))
    for mine, wanted in zip(seen, vae.parameters()):
        assert wanted.grad is not None
        assert (mine.double() - wanted.grad).norm() < 1e-4 * wanted.grad.norm() + 1e-6


# -- the file


@pytest.mark.parametrize("make", [make_picture_autoencoder, with_bank])
def test_a_file_comes_back_as_it_was(make: Any, tmp_path: Path) -> None:
    model, path = make(), tmp_path / "a.safetensors"
    save_picture_autoencoder(path, model)
    again = load_picture_autoencoder(path)
    assert (again.names, again.class_names, again.shape, again.modes) == (
        model.names, model.class_names, model.shape, model.modes,
    )  # fmt: skip
    noise, groups = torch.randn(4, LATENT), torch.tensor([0, 1, 1, 0])
    assert torch.allclose(again.pictures(noise, groups), model.pictures(noise, groups), atol=1e-6)
    assert torch.allclose(again.classes(noise, groups), model.classes(noise, groups), atol=1e-6)
    held = "teacher with latents of 30 real pictures: personal data" if make is with_bank else "teacher"
    assert role_of(str(path)) == held


def rewritten(path: Path, tensors: dict[str, Any] | None = None, **fields: Any) -> None:
    described = json.loads(read_metadata(path)[KEY]) | fields
    save_file({**load_file(path), **(tensors or {})}, path, {KEY: json.dumps(described)})


@pytest.mark.parametrize(("fields", "tensors", "error"), [
    ({"shape": [1, 8, 16]}, {}, UnsafeFileError), ({"shape": [1, 10**6, 10**6]}, {}, TeacherError),
    ({"latent": 10**9}, {}, TeacherError), ({"latent": 6}, {}, UnsafeFileError), ({"shares": [0.5]}, {}, TeacherError),
    ({"groups": ["one"]}, {}, TeacherError), ({"real_latents": 3}, {}, UnsafeFileError),
    ({"code": 1}, {}, TeacherError),
    ({}, {"more": torch.zeros(1)}, TeacherError), ({}, {"label.0.bias": torch.full((64,), torch.nan)}, TeacherError),
    ({}, {"moments.weights": torch.tensor([0.5, 0.6])}, TeacherError),
])  # fmt: skip
def test_a_file_that_was_changed_is_refused(
    fields: dict[str, Any], tensors: dict[str, Any], error: type[SansdataError], tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    save_picture_autoencoder(path, make_picture_autoencoder())
    rewritten(path, tensors, **fields)
    with pytest.raises(error):
        load_picture_autoencoder(path)


# -- teacher, student, pictures


def test_the_teacher_decodes_draws_of_its_moments_for_a_group() -> None:
    model = make_picture_autoencoder()
    teacher = picture_teacher_of(model, picture_task_of(model))
    noise, groups = torch.randn(5, LATENT, generator=stream()), torch.tensor([0, 1, 0, 1, 1])
    made = teacher({"noise": noise, "label": groups}).value
    assert model.moments is not None
    assert torch.allclose(made, model.pictures(model.moments.moved(noise), groups), atol=1e-6)
    assert not torch.allclose(made, teacher({"noise": noise, "label": 1 - groups}).value, atol=1e-3)
    other = PairTask(inputs={"kind": "noise", "shape": [3]}, outputs={"kind": "field", "shape": [1, 8, 8]})
    with pytest.raises(TeacherError, match="its task"):
        picture_teacher_of(model, other)


def test_the_class_under_neutral_is_the_mean_over_the_groups() -> None:
    model = make_picture_autoencoder()
    with torch.no_grad():  # the group alone tells the class
        model.vae.label[2].weight.zero_()  # type: ignore[union-attr, operator]
        model.vae.label[0].weight.zero_()  # type: ignore[union-attr, operator]
        model.vae.label[0].weight[0, -2] = 1.0  # type: ignore[union-attr, operator, index]
        model.vae.label[0].bias.zero_()  # type: ignore[union-attr, operator]
        model.vae.label[2].bias.copy_(torch.tensor([9.0, 0, -9, -9]))  # type: ignore[union-attr, operator]
        model.vae.label[2].weight[0, 0], model.vae.label[2].weight[1, 0] = -20.0, 0.0  # type: ignore[union-attr, operator, index]
    latents = torch.randn(4000, LATENT, generator=stream())
    for rule, same in (("neutral", True), ("balanced", False), ("fixed:red", False)):
        made = decoded_pictures(model, latents, rule_of(rule, (), model), stream())
        first = [float((made.labels[made.groups == group] == 0).double().mean()) for group in made.groups.unique()]
        if same:
            assert first == pytest.approx([0.6, 0.6], abs=0.05), "the share of the group that the class 0 goes with"
            assert float(made.groups.double().mean()) == pytest.approx(0.6, abs=0.05)
        else:
            assert first[0] < 0.05
        assert made.images.dtype == torch.uint8
        assert made.images.shape == (4000, 8, 8, 1)
    with pytest.raises(ConfigError, match="to be a proxy"):
        rule_of("neutral", ("size",), model)


def test_a_run_teaches_the_latents_and_leaves_the_decoder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = make_picture_autoencoder(), tmp_path / "teacher.safetensors"
    save_picture_autoencoder(path, model)
    task = picture_task_of(model)
    result = sansdata.distill(
        str(path), "latents:latent-mlp-small", "fair4free", "60steps", tmp_path / "run", task=task, **RUN
    )
    student = sansdata.load(tmp_path / "run").student
    assert isinstance(student, LatentPictures)
    for name, value in student.decoder.state_dict().items():
        assert torch.equal(value, model.vae.decoder.state_dict()[name])
    noise, groups = torch.randn(200, LATENT), torch.arange(200) % 2
    assert torch.equal(student(noise, groups), model.pictures(student(noise), groups))
    assert torch.equal(student(noise), result.student(noise))
    done = write_pictures(tmp_path / "run", str(path), tmp_path / "made.npz", count=50, rule="balanced")
    with np.load(done.file) as file:
        assert {name: file[name].shape for name in file} == {"x": (50, 8, 8, 1), "y": (50,), "s": (50,)}
        assert file["x"].dtype == np.uint8
    assert sansdata.export(tmp_path / "run", "pt2").passed
    again = write_pictures(tmp_path / "run", str(path), tmp_path / "again.npz", count=50, rule="balanced")
    assert torch.equal(done.made.images, again.made.images)
    report = sansdata.report(tmp_path / "run")
    assert "data:image/png" in Path(getattr(report, "file", report)).read_text(), "teacher and student side by side"
    other = make_picture_autoencoder(seed=1)
    save_picture_autoencoder(tmp_path / "other.safetensors", other)
    with pytest.raises(TeacherError, match="another autoencoder"):
        write_pictures(tmp_path / "run", str(tmp_path / "other.safetensors"), tmp_path / "no.npz", count=5)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "no.npz")

    monkeypatch.setattr("sansdata.api.pictures.write_atomic", full)
    with pytest.raises(ConfigError, match=r"no\.npz: cannot be written \(No space left on device\)$"):
        write_pictures(tmp_path / "run", str(path), tmp_path / "no.npz", count=5)


class Plain(torch.nn.Module):
    """Pictures of noise, without latents between."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(LATENT, 64)

    def forward(self, noise: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return self.layer(noise).view(-1, 1, 8, 8)


def test_what_does_not_fit_is_said_before_the_first_step(tmp_path: Path) -> None:
    model, path = make_picture_autoencoder(), tmp_path / "teacher.safetensors"
    save_picture_autoencoder(path, model)
    task = picture_task_of(model)
    with pytest.raises(StudentError, match="does not"):
        sansdata.distill(str(path), "latents:conv4", "fair4free", "2steps", tmp_path / "a", task=task, **RUN)
    with pytest.raises(MethodError, match="latents:latent-mlp"):
        sansdata.distill(str(path), Plain(), "fair4free", "2steps", tmp_path / "b", task=task, **RUN)
    rows = make_autoencoder()
    with pytest.raises(StudentError, match="of pictures"):
        load_student("latents:latent-mlp", teacher_of(rows, task_of(rows)), task_of(rows))
    of = {"kind": "zoo", "name": "latent-mlp-small", "args": {}}
    for wrong in ({"shape": [1, 8]}, {"groups": True}, {"latent": 10**9}, {"shape": [2, 8, 8]}):
        with pytest.raises(StudentError):
            build({"kind": "latents", "shape": [1, 8, 8], "groups": 2, "latent": 5, "of": of, **wrong})
    assert load_teacher(str(path), task).capabilities


# -- the owner's side


def owned(path: Path, **arrays: Any) -> Path:
    random = np.random.default_rng(0)
    plain = {
        "x": random.integers(0, 256, (40, 8, 8), dtype=np.uint8), "y": np.arange(40) % CLASSES,
        "s": np.arange(40) // 20,
    }  # fmt: skip
    np.savez(path, **{**plain, **arrays})
    return path


TASK = ImageTask(shape=(1, 8, 8), classes=CLASSES, mean=(0.5,), std=(0.25,))


@pytest.mark.parametrize("handover", ["prior", "moments", "latent-bank"])
def test_an_owner_writes_the_file_and_the_task_of_its_students(handover: str, tmp_path: Path) -> None:
    done = write_picture_autoencoder(
        owned(tmp_path / "d.npz"), "s=red,green", tmp_path / "out", task=TASK,
        settings={"epochs": 1, "batch": 16, "latent": 3, "components": 2, "handover": handover},
    )  # fmt: skip
    model = load_picture_autoencoder(done.folder / "teacher.safetensors")
    assert model.names == ("red", "green")
    assert model.group_shares == (0.5, 0.5)
    assert (model.moments is not None, model.bank is not None) == (handover == "moments", handover == "latent-bank")
    load_teacher(str(done.folder / "teacher.safetensors"), sansdata.load_task(done.folder / "task.yaml"))
    assert 0 <= done.group_auc <= 1
    with pytest.raises(ConfigError, match="there already"):
        write_picture_autoencoder(tmp_path / "d.npz", "s", tmp_path / "out", task=TASK)


@pytest.mark.parametrize(("arrays", "sensitive"), [
    ({"s": np.zeros(40, int)}, "s"), ({"s": np.arange(40) - 1}, "s"), ({}, "s=red"), ({}, "s=red,red"), ({}, "t"),
    ({"s": np.ones(40)}, "s"),
])  # fmt: skip
def test_groups_that_are_none_are_said(arrays: dict[str, Any], sensitive: str, tmp_path: Path) -> None:
    with pytest.raises(SansdataError):
        groups_in(owned(tmp_path / "d.npz", **arrays), sensitive)


def test_both_commands_know_pictures(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from sansdata.cli.main import app
    from sansdata.config import dump_yaml

    owned(tmp_path / "d.npz")
    (tmp_path / "task.yaml").write_text(dump_yaml(TASK.model_dump(mode="json")))
    runner = CliRunner()
    made = runner.invoke(app, [
        "autoencoder", "--data", str(tmp_path / "d.npz"), "--sensitive", "s=red,green", "--task",
        str(tmp_path / "task.yaml"), "--out", str(tmp_path / "fair"), "epochs=1", "latent=3",
    ])  # fmt: skip
    assert made.exit_code == 0, made.output
    assert "red 50" in made.output
    teacher, task = str(tmp_path / "fair/teacher.safetensors"), str(tmp_path / "fair/task.yaml")
    sansdata.distill(teacher, "latents:latent-mlp-small", "fair4free", "2steps", tmp_path / "run", task=task, **RUN)
    written = runner.invoke(app, ["rows", str(tmp_path / "run"), "--teacher", teacher, "--out", str(tmp_path / "m.npz"),
                                  "--count", "30", "--rule", "fixed:green"])  # fmt: skip
    assert written.exit_code == 0, written.output
    assert "green: 100" in written.output
