"""Few-shot tasks as evaluation: what is drawn, what is measured, and what is said of sets that cannot be."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import WORLDS
from torch import nn
from typer.testing import CliRunner

import sansdata
from sansdata.cli.main import app
from sansdata.datasets.imageset import ImageSet
from sansdata.errors import ConfigError, DataError
from sansdata.evaluate.few_shot import Episodes, FewShotSettings, random_start
from sansdata.models.build import architecture_of
from sansdata.models.saved import write_model
from sansdata.teachers.base import fingerprint

WORLD: Any = WORLDS["panel"]
SMALL = {"tasks": 4, "shots": 2, "queries": 3, "steps": 2}


def stripes(classes: int = 5, each: int = 8) -> ImageSet:
    """Images 8x8 with a bright row, whose place is the class, in some noise."""
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (classes * each, 8, 8, 1), dtype=np.uint8)
    labels = np.repeat(np.arange(classes), each)
    for image, label in zip(images, labels):
        image[label] = 255
    return ImageSet(images, labels, tuple(f"row {one}" for one in range(classes)), "stripes")


@pytest.fixture
def student(tmp_path: Path) -> Path:
    architecture = architecture_of("conv4", WORLD.task)
    architecture["args"]["scale"] = 0.25
    write_model(tmp_path / "student.safetensors", WORLD.student(), architecture, WORLD.task, {})
    return tmp_path / "student.safetensors"


def test_a_task_has_ways_of_its_own_and_no_image_twice() -> None:
    data = stripes()
    episodes = Episodes(data, 3, FewShotSettings(shots=2, queries=5, classes=("row 1", "row 3", "row 4")))
    for number in range(10):
        (support, support_ways), (query, query_ways) = episodes.draw(number)
        assert support_ways.tolist() == [0, 0, 1, 1, 2, 2]
        rows_of = {way: set(support[support_ways == way].flatten(1).view(-1, 8, 8).mean(2).argmax(1).tolist())
                   for way in range(3)}  # fmt: skip
        assert all(len(rows) == 1 for rows in rows_of.values())
        assert set.union(*rows_of.values()) == {1, 3, 4}
        named = query.flatten(1).view(-1, 8, 8).mean(2).argmax(1)
        assert all(named[place].item() in rows_of[int(way)] for place, way in enumerate(query_ways))
        together = torch.cat([support, query]).flatten(1)
        assert len(together.unique(dim=0)) == 21
    assert all(torch.equal(a, b) for one, again in zip(episodes.draw(3), episodes.draw(3)) for a, b in zip(one, again))


def test_figures_are_means_over_tasks_beside_random_weights(student: Path) -> None:
    before = fingerprint(WORLD.student())
    measured = sansdata.evaluate(student, stripes(), few_shot=SMALL | {"tasks": 20, "steps": 5, "rate": 0.2})  # type: ignore[arg-type]
    assert fingerprint(WORLD.student()) == before
    assert measured.few_shot_accuracy > 0.6
    assert measured.gain == pytest.approx(measured.few_shot_accuracy - measured.random_start_accuracy, abs=1e-9)
    low, high = measured.few_shot_accuracy_interval
    assert low < measured.few_shot_accuracy < high
    assert measured.count == 40
    assert "20 tasks, 3-way 2-shot" in measured.source


def test_a_random_start_is_another_network_each_seed_and_the_same_each_time() -> None:
    module = WORLD.student()
    drawn = [fingerprint(random_start(module, seed)) for seed in (0, 1, 0)]
    assert drawn[0] == drawn[2] != drawn[1]
    assert fingerprint(module) not in drawn


def test_a_random_start_keeps_no_weights_of_attention_and_no_token() -> None:
    """Neither has a `reset_parameters` of its own."""
    learnt = nn.Sequential(nn.MultiheadAttention(8, 2), nn.Linear(8, 5), nn.BatchNorm1d(5))
    learnt.register_parameter("token", nn.Parameter(torch.empty(1, 8)))
    with torch.no_grad():
        for parameter in (*learnt.parameters(), *(part for part in learnt.buffers() if part.is_floating_point())):
            parameter.fill_(7)
    fresh = random_start(learnt, 0)
    assert not any((part == 7).any() for part in (*fresh.parameters(), *fresh.buffers()))
    assert (learnt.token == 7).all()


def test_the_interval_is_that_of_the_mean() -> None:
    from sansdata.evaluate.few_shot import _figure

    values = np.array([0.5, 0.7, 0.9, 0.7])
    figure = _figure("x", values, "", "")
    half = 1.96 * math.sqrt(((values - 0.7) ** 2).sum() / 3) / 2
    assert figure.value == pytest.approx(0.7)
    assert figure.interval == pytest.approx((0.7 - half, 0.7 + half))


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"classes": ["row 9"]}, ConfigError, "'row 9' is no class"),
        ({"classes": ["row 1", "row 2"]}, DataError, "2 classes with images, and a task takes 3"),
        ({"shots": 7}, DataError, r"has 8 images, and a task takes 7 \+ 3"),
        ({"shot": 1}, ConfigError, "Did you mean 'shots'"),
        ({"tasks": 1}, ConfigError, "tasks"),
    ],
)
def test_tasks_that_cannot_be_drawn(student: Path, fields: dict[str, Any], error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        sansdata.evaluate(student, stripes(), few_shot=SMALL | fields)  # type: ignore[arg-type]


def test_few_shot_is_of_models_of_ways_and_has_no_teacher(student: Path) -> None:
    with pytest.raises(ConfigError, match="no teacher beside it"):
        sansdata.evaluate(student, stripes(), teacher=WORLD.teacher())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="for a model of ways"):
        sansdata.evaluate(WORLDS["image"].module(), stripes(4), WORLDS["image"].task, few_shot=SMALL)  # type: ignore[arg-type]


def test_the_command_reads_a_folder_of_classes(student: Path, tmp_path: Path) -> None:
    """Whose images are of any size, and whose classes are nobody's."""
    data = stripes(4, 5)
    for number, (image, label) in enumerate(zip(data.images, data.labels)):
        folder = tmp_path / "data" / data.class_names[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).resize((12 + number % 2, 12)).save(folder / f"{number}.png")
    flags = [flag for key, value in SMALL.items() for flag in ("--few-shot", f"{key}={value}")]
    words = ["evaluate", str(student), "--data", str(tmp_path / "data"), *flags]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "few_shot_accuracy" in done.output
    assert "95 % interval" in done.output
    wrong = CliRunner().invoke(app, [*words, "--few-shot", "shotz=1"])
    assert isinstance(wrong.exception, ConfigError) or wrong.exit_code == 2
