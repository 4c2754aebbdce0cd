"""Noise as it travels, with a label and without, flat and in the shape of a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sansdata import columns
from sansdata.errors import ConfigError, TaskError
from sansdata.figures import Picture, Record
from sansdata.kinds.inputs.noise import Noise, noise_of
from sansdata.tasks import NoiseSpec, load_task

FLAT = Noise(NoiseSpec(shape=(6,)))
PICTURE = Noise(NoiseSpec(shape=(3, 4, 5), labels=4, label_names=("a", "b", "c", "d")))

GUIDED = Noise(NoiseSpec(shape=(6,), labels=4, guidance=(1.0, 5.0)))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_what_is_drawn_is_standard_normal_with_labels_of_equal_chance() -> None:
    flat, asked = FLAT.draw(20_000, seeded()), PICTURE.draw(4000, seeded())
    assert isinstance(flat, Tensor)
    assert flat.shape == (20_000, 6)
    assert not isinstance(asked, Tensor)
    assert asked["noise"].shape == (4000, 3, 4, 5)
    for noise in (flat, asked["noise"]):
        assert noise.mean().abs() < 0.01
        assert noise.std() == pytest.approx(1, abs=0.01)
    correlation = torch.corrcoef(flat.T) - torch.eye(6)
    assert correlation.abs().max() < 0.03
    assert torch.bincount(asked["label"]).div(4000).sub(0.25).abs().max() < 0.03


def test_columns_of_a_method_are_not_stored() -> None:
    drawn = PICTURE.draw(3, seeded())
    assert not isinstance(drawn, Tensor)
    packed = PICTURE.pack({**drawn, "time": torch.rand(3)})
    assert columns.same(packed, PICTURE.pack(drawn))
    flat = FLAT.draw(3, seeded())
    assert isinstance(flat, Tensor)
    assert torch.equal(noise_of(FLAT.pack({"noise": flat, "time": torch.rand(3)})), flat)
    seen = FLAT.preprocessor({})({"noise": flat, "time": torch.zeros(3)})
    assert not isinstance(seen, Tensor)
    assert set(seen) == {"noise", "time"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": np.array([0, 1, 4])}, "label"), ({"label": np.array([0, -1, 1])}, "label"),
        ({"label": np.array([0, 1])}, "label"), ({"noise": np.full((3, 3, 4, 5), np.nan, np.float32)}, "finite"),
        ({"noise": np.zeros((3, 60), np.float32)}, "N, 3, 4, 5"),
        ({"noise": np.zeros((3, 3, 4, 5), np.int64)}, "float"),
    ],
)  # fmt: skip
def test_arrays_beyond_the_task_are_refused(change: dict[str, np.ndarray], said: str) -> None:
    arrays = PICTURE.to_arrays(PICTURE.pack(PICTURE.draw(3, seeded())))
    with pytest.raises(ValueError, match=said):
        PICTURE.from_arrays(arrays | change)


def test_strengths_of_guidance_travel_where_a_generator_is_told_them() -> None:
    drawn = GUIDED.draw(4000, seeded())
    assert not isinstance(drawn, Tensor)
    strengths = drawn["guidance"]
    assert strengths.min() >= 1
    assert strengths.max() <= 5
    assert strengths.mean() == pytest.approx(3, abs=0.1)
    arrays = GUIDED.to_arrays(GUIDED.pack(drawn))
    assert columns.same(GUIDED.from_arrays(arrays), drawn)
    assert list(GUIDED.signature()) == ["noise", "label", "guidance"]
    for wrong in (strengths.numpy() + 2, strengths.numpy()[1:], np.full(4000, np.nan, np.float32), None):
        with pytest.raises(ValueError, match="guidance"):
            GUIDED.from_arrays({**arrays, "guidance": wrong})  # type: ignore[dict-item]


def test_a_range_of_guidance_needs_labels_and_is_left_out_where_there_is_none() -> None:
    for fields in ({"guidance": (1, 2)}, {"labels": 3, "guidance": (2, 1)}, {"labels": 3, "guidance": (-1, 2)}):
        with pytest.raises(ConfigError, match="guidance"):
            NoiseSpec(shape=(6,), **fields)
    assert "guidance" not in PICTURE.spec.model_dump()
    assert GUIDED.spec.model_dump(mode="json")["guidance"] == [1.0, 5.0]


def test_previews_are_pictures_where_the_noise_has_the_shape_of_one() -> None:
    pictures = PICTURE.preview(PICTURE.pack(PICTURE.draw(2, seeded())))
    assert all(isinstance(one, Picture) and one.pixels.shape == (4, 5, 3) for one in pictures)
    (record,) = FLAT.preview(FLAT.pack(FLAT.draw(1, seeded())))
    assert isinstance(record, Record)
    assert len(record.fields) == 6


def test_a_convolution_of_other_channels_is_named() -> None:
    assert PICTURE.hint(nn.Conv2d(3, 1, 1)) == ""
    assert PICTURE.hint(nn.Conv2d(1, 1, 1)) == ". Its first convolution takes 1 channels and the task's noise has 3"
    reads_time_too: Any = nn.Linear(9, 1)
    reads_time_too.takes = 6
    assert FLAT.hint(reads_time_too) == ""


def test_names_alone_say_how_many_labels_there_are() -> None:
    assert NoiseSpec.model_validate({"shape": [2], "label_names": ["a cat", "a shoe"]}).labels == 2


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"shape": []}, "shape"), ({"shape": [0, 3]}, "shape"), ({"shape": [100_000, 100_000]}, "numbers"),
        ({"shape": [2], "labels": 2, "label_names": ["x"]}, "1 names for 2 labels"),
        ({"shape": [2], "labels": -1}, "labels"),
        ({"shape": [2], "labels": 0, "label_names": ["x"]}, "1 names for 0 labels"),
        ({}, "shape"), ({"shape": [2], "mean": 0}, "mean"),
    ],
)  # fmt: skip
def test_wrong_fields_are_named(fields: dict[str, object], said: str) -> None:
    with pytest.raises(TaskError, match=said):
        load_task({"inputs": {"kind": "noise", **fields}, "outputs": {"kind": "classes", "classes": 2}})
