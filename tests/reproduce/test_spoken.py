"""The experiment with spoken digits: each kind of arm gives its figures, on clips that are made here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sansdata.datasets import sounds
from sansdata.datasets.load import load_set
from sansdata.models.build import architecture_of, build
from sansdata.reproduce.experiments import find_experiment, spoken
from sansdata.reproduce.recipes import find_recipe
from sansdata.synthesis.voices import Utterance, speak
from sansdata.tasks import load_task


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Twelve takes of ten words by two voices, and a teacher of random weights."""
    said = [(word, take, voice) for word in sounds.DIGITS for take in range(12) for voice in ("low", "high")]
    clips = [speak(Utterance(word, "formants", voice, 1 + take / 20), 8000) for word, take, voice in said]  # type: ignore[arg-type]
    (tmp_path / "fsdd").mkdir()
    np.savez(
        tmp_path / sounds.FSDD, audio=np.concatenate(clips), length=[len(clip) for clip in clips],
        digit=np.array([sounds.DIGITS.index(word) for word, _, _ in said], np.uint8),
        speaker=[voice for _, _, voice in said], take=np.array([take for _, take, _ in said], np.uint8),
    )  # fmt: skip
    monkeypatch.setenv("SANSDATA_DATA", str(tmp_path))
    sounds.fsdd.cache_clear()
    torch.manual_seed(0)
    teacher = tmp_path / "teacher.safetensors"
    save_file(build(architecture_of("mel-cnn", load_task("spoken-digits"))).state_dict(), teacher)
    monkeypatch.setattr(spoken, "ensure_teacher", lambda task, part: teacher)
    yield
    sounds.fsdd.cache_clear()


@pytest.mark.usefixtures("digits")
def test_parts_share_no_take() -> None:
    task = load_task("spoken-digits")
    counts = {part: len(load_set("fsdd", task, part)) for part in ("test", "train", "fit", "held-out")}
    assert counts == {"test": 100, "train": 140, "fit": 40, "held-out": 100}


@pytest.mark.parametrize(
    ("name", "options", "measures"),
    [
        ("proxy-filter", {"speakers": ["formants"], "clips": 16, "threshold": 1.0}, {"kept", "teacher hears text"}),
        ("inversion", {"batch": 4, "iterations": 2, "chunk": 1, "pool": 8}, set()),
        ("real-clips", {"view": "none"}, set()),
    ],
)
@pytest.mark.usefixtures("digits")
def test_each_kind_of_arm_gives_its_figures(
    tmp_path: Path, name: str, options: dict[str, Any], measures: set[str]
) -> None:
    recipe = find_recipe("spoken-digits")
    arm = next(arm for arm in recipe.arms["small"] if arm.name == name)
    small = arm.model_copy(update={"steps": 2, "options": {**options, "transfer": {"batch": 8}}})
    found = find_experiment("spoken")(recipe, small, 0, {}, tmp_path)
    assert found["steps"] == 2
    assert 0 <= found["accuracy"] <= 1
    assert set(found["measures"]) >= {"teacher", "agreement"} | measures
