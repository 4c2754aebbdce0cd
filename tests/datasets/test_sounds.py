"""Labelled sounds from folders and manifests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sansdata.datasets import sounds
from sansdata.datasets.sounds import load_sounds, read_manifest
from sansdata.decoding.wav import resampled, wav_bytes
from sansdata.errors import DataError
from sansdata.tasks import Task, load_task

SOUND = (8000 * np.sin(np.arange(900) / 7)).astype(np.int16)


@pytest.fixture
def task() -> Task:
    return load_task({"kind": "sound-classification", "rate": 16_000, "length": 400, "classes": 2})


def test_a_sound_is_cut_before_it_is_resampled_and_the_note_still_counts_it(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []

    def watched(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
        decoded.append(len(samples))
        return resampled(samples, rate, wanted)

    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "long.wav").write_bytes(wav_bytes(np.tile(SOUND, 20), 8000))
    (tmp_path / "0" / "short.wav").write_bytes(wav_bytes(SOUND[:150], 8000))
    monkeypatch.setattr("sansdata.decoding.wav.resampled", watched)
    data = load_sounds(tmp_path, task)
    assert max(decoded) < 300
    assert data.notes == ("1 of 2 sounds were cut to 0.025 s",)
    whole = resampled(np.tile(SOUND, 20), 8000, 16_000)[:400]
    assert data.packed["waveform"][0].tolist() == whole.tolist()  # type: ignore[call-overload]
    monkeypatch.setattr(sounds, "MAX_SET_BYTES", 1000)
    with pytest.raises(DataError, match="at most"):
        load_sounds(tmp_path, task)


def test_a_manifest_keeps_its_lines_and_a_class_is_a_number_of_a_class(task: Task, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(SOUND, 16_000))
    for name, text in (("m.tsv", "a.wav\tso\u2028 it is\n"), ("m.csv", 'a.wav,"so\u2028 it is"\r\n')):
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
        assert read_manifest(tmp_path / name) == [(tmp_path / "a.wav", "so\u2028 it is")]
    for label in ("9" * 20, "9" * 5000):
        (tmp_path / "m.tsv").write_text(f"a.wav\t{label}\n")
        with pytest.raises(DataError, match="class '9999"):
            load_sounds(tmp_path / "m.tsv", task)
