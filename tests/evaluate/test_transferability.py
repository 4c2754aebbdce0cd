"""Probes and the fine-tune: against references, without a trace on the network, and between floor and ceiling."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import Plain, make_module, make_student, make_task
from torch import nn

import sansdata
from sansdata.datasets.imageset import ImageSet
from sansdata.datasets.masks import MaskSet
from sansdata.datasets.pairs import load_pair
from sansdata.errors import ConfigError, DataError, StudentError, TeacherError
from sansdata.evaluate.kept import keep_by_name, keep_figures
from sansdata.evaluate.segmentation_probe import probe_mean_iou
from sansdata.evaluate.transfer_probe import LinearProbe, accuracy, features_of, fine_tuned, probe_accuracy
from sansdata.evaluate.transferability import measure_transfer
from sansdata.models.initial_weights import draw_everything
from sansdata.report.findings import transfer_figures
from sansdata.report.sections import figure_rows
from sansdata.report.tree import Tree
from sansdata.runtime import Runtime

TASK, RUNTIME = make_task(), Runtime()


def shades(n: int = 60, classes: int = 3, seed: int = 0) -> ImageSet:
    """Classes that differ in brightness."""
    random = np.random.default_rng(seed)
    labels = np.arange(n, dtype=np.int64) % classes
    images = random.integers(0, 40, (n, 8, 8, 1)) + 80 * labels[:, None, None, None]
    return ImageSet(images.astype(np.uint8), labels, tuple("abc"[:classes]), "made up")


def stripes(n: int = 8) -> MaskSet:
    """Bright pixels are of class 1."""
    random = np.random.default_rng(1)
    masks = (random.random((n, 8, 1)) < 0.5).repeat(8, 2).astype(np.uint8)
    return MaskSet((masks * 180 + random.integers(0, 30, (n, 8, 8))).astype(np.uint8)[..., None], masks, 2, "made up")


# -- the parts


def test_features_are_what_enters_the_last_linear_layer_of_normalised_images() -> None:
    module, data = make_student(), shades(5)
    seen: list[torch.Tensor] = []
    module.linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.from_numpy(data.images).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        module.eval()((images - TASK.mean[0]) / TASK.std[0])
    assert np.allclose(features_of(module, TASK, data, RUNTIME), seen[0].double().numpy(), atol=1e-5)


def test_the_probe_is_the_minimum_of_its_own_loss() -> None:
    """Penalised cross-entropy in float64, by gradient: the sum over images, plus half the squared weights (C = 1)."""
    random = np.random.default_rng(0)
    x, y = random.normal(3, 7, (40, 4)), random.integers(0, 3, 40)
    probe = LinearProbe(x, y)
    w, b = (torch.from_numpy(v).requires_grad_() for v in (probe.model.coef_, probe.model.intercept_))
    z = torch.from_numpy((x - x.mean(0)) / x.std(0))
    loss = nn.functional.cross_entropy(z @ w.T + b, torch.from_numpy(y), reduction="sum") + 0.5 * w.square().sum()
    loss.backward()
    assert w.grad is not None
    assert w.grad.abs().max().item() < 0.01


def test_a_constant_feature_does_no_harm() -> None:
    x = np.c_[np.r_[np.zeros(5), np.ones(5)], np.full(10, 7.0)]
    assert (LinearProbe(x, np.repeat([0, 1], 5)).predict(x) == np.repeat([0, 1], 5)).all()


def test_the_probe_finds_what_is_there_and_nothing_where_labels_are_random() -> None:
    train, test = shades(), shades(seed=1)
    assert probe_accuracy(make_student(), TASK, train, test, RUNTIME) > 0.9
    random = np.random.default_rng(0).permutation(test.labels)
    blind = ImageSet(test.images, random, test.class_names, "random labels")
    assert probe_accuracy(make_student(), TASK, train, blind, RUNTIME) < 0.7


def test_the_fine_tune_learns_gives_the_new_classes_and_repeats_exactly() -> None:
    module, train, test = make_student(), shades(), shades(seed=1)
    tuned = fine_tuned(module, TASK, train, 30, RUNTIME)
    assert tuned.linear.out_features == 3
    assert accuracy(tuned, TASK, test, RUNTIME) > 0.8
    assert accuracy(fine_tuned(module, TASK, train, 0, RUNTIME), TASK, test, RUNTIME) == pytest.approx(1 / 3)
    again = fine_tuned(module, TASK, train, 30, RUNTIME)
    assert all(torch.equal(a, b) for a, b in zip(tuned.state_dict().values(), again.state_dict().values()))


def test_a_segmentation_head_finds_bright_pixels() -> None:
    data = stripes()
    assert probe_mean_iou(make_student(), TASK, data, data, RUNTIME) > 0.8


def test_uncounted_pixels_are_neither_learnt_nor_scored() -> None:
    data = stripes()
    masks = data.masks.copy()
    masks[:, :, :4] = 255
    spoilt = data.images.copy()
    spoilt[:, :, :2] = 255 - spoilt[:, :, :2]
    part = MaskSet(data.images, masks, 2, "half")
    assert probe_mean_iou(make_student(), TASK, part, part, RUNTIME) > 0.8


def test_weights_drawn_anew_keep_nothing() -> None:
    """Also those that no layer of ours owns."""
    module = make_module()
    module.register_parameter("token", nn.Parameter(torch.full((3,), 9.0)))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    draw_everything(module)
    now = module.state_dict()
    same = [n for n in before if torch.equal(before[n], now[n]) and n.endswith(("weight", "running_var", "token"))]
    assert [n for n in same if "bn" not in n or "running" in n] == []


# -- the whole


def test_floor_and_ceiling_are_measured_beside_the_model_and_nothing_is_changed(tmp_path: Path) -> None:
    data = tmp_path / "shades.npz"
    whole = shades(80)
    np.savez(data, x=whole.images[..., 0], y=whole.labels)
    module, teacher = make_student().train(), make_module()
    states = [{n: v.clone() for n, v in net.state_dict().items()} for net in (module, teacher)]
    random = torch.get_rng_state()
    found = measure_transfer(module, TASK, str(data), (teacher, TASK), RUNTIME, steps=2)
    assert torch.equal(random, torch.get_rng_state())
    assert module.training
    for net, before in zip((module, teacher), states):
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert (found.train, found.test, found.measure) == (40, 40, "accuracy")
    assert found.ceiling is not None
    if found.normalised is not None:
        gap = found.ceiling.probe - found.floor.probe
        assert found.normalised == pytest.approx((found.model.probe - found.floor.probe) / gap)
    same = measure_transfer(copy.deepcopy(module), TASK, str(data), (teacher, TASK), RUNTIME, steps=2)
    assert same == found


def test_a_model_that_is_its_own_ceiling_is_all_of_the_way(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", x=stripes(9).images[..., 0], y=stripes(9).masks)
    teacher = make_module()
    found = measure_transfer(teacher, TASK, str(tmp_path / "m.npz"), (teacher, TASK), RUNTIME)
    assert found.measure == "mean IoU"
    assert found.model.fine_tune is None
    assert found.normalised in (None, 1.0)


def test_without_a_ceiling_there_is_no_normalised_score(tmp_path: Path) -> None:
    whole = shades(20)
    np.savez(tmp_path / "s.npz", x=whole.images[..., 0], y=whole.labels)
    found = sansdata.transferability(make_student(), tmp_path / "s.npz", task=TASK, steps=0)
    assert found.ceiling is None
    assert found.normalised is None
    assert found.model.fine_tune is None


def test_wrong_input_is_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", x=np.zeros((8, 8, 8), np.uint8), y=np.zeros(8, np.int64))
    np.savez(tmp_path / "gap.npz", x=np.zeros((8, 8, 8), np.uint8), y=np.array([0, 0, 0, 1, 1, 1, 1, 2]))
    with pytest.raises(DataError, match="at least 2 classes"):
        load_pair(str(tmp_path / "one.npz"), (1, 8, 8), 100)
    with pytest.raises(ConfigError, match="0 or above"):
        sansdata.transferability(make_student(), "digits", task=TASK, steps=-1)
    with pytest.raises(DataError, match="neither a known set"):
        sansdata.transferability(make_student(), "nothing", task=TASK)
    other = sansdata.Teacher.from_module(make_module((3, 8, 8)), make_task((3, 8, 8)))
    with pytest.raises(TeacherError, match=r"\[3, 8, 8\] and the model of \[1, 8, 8\]"):
        sansdata.transferability(make_student(), "digits", task=TASK, teacher=other)
    with pytest.raises(StudentError, match="no linear layer"):
        sansdata.transferability(Plain(), "digits", task=TASK)


def test_a_set_of_another_shape_is_made_to_fit_and_notes_say_so() -> None:
    train, test = load_pair("digits", (3, 12, 12), most=100)
    assert train.images.shape == test.images.shape == (100, 12, 12, 3)
    assert any("8x8 to 12x12" in note for note in test.notes)


# -- what is kept of it


def test_figures_of_own_and_other_tasks_stand_beside_each_other(tmp_path: Path) -> None:
    keep_by_name(tmp_path, "transfer", "mnist", {"normalised": 0.5})
    keep_figures(tmp_path, {"accuracy": 0.9, "over_time": {}})
    keep_by_name(tmp_path, "transfer", "seg_em", {"normalised": 0.4})
    keep_figures(tmp_path, {"accuracy": 0.8})
    kept = json.loads((tmp_path / "evaluation.json").read_text())
    assert kept == {
        "accuracy": 0.8,
        "over_time": {},
        "transfer": {"mnist": {"normalised": 0.5}, "seg_em": {"normalised": 0.4}},
    }
    (tmp_path / "evaluation.json").write_text("{torn")
    keep_figures(tmp_path, {"accuracy": 0.7})
    assert json.loads((tmp_path / "evaluation.json").read_text()) == {"accuracy": 0.7}


def test_the_report_has_a_row_for_each_set() -> None:
    score = {
        "measure": "accuracy", "model": {"probe": 0.931, "fine_tune": 0.97}, "floor": {"probe": 0.9}, "ceiling": None,
        "normalised": None,
    }  # fmt: skip
    (row,) = figure_rows(transfer_figures(Tree({"transfer": {"mnist": score}})), 2)
    assert (row["name"], row["value"].replace("\u00a0", " ")) == ("transfer to mnist", "93.10 %")
    assert "floor 90" in row["meaning"]
    assert "ceiling" not in row["meaning"]
    assert transfer_figures(Tree({"transfer": {"odd": "text"}})) == []
