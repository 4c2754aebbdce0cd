"""Sounds: their spectrogram against references, what is drawn, and what is read from folders."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from sansdata.datasets.load import load_set
from sansdata.decoding.wav import wav_bytes
from sansdata.errors import DataError, TaskError
from sansdata.figures import Sound
from sansdata.kinds.inputs.log_mel import LogMel, filterbank
from sansdata.kinds.inputs.sound_noise import SOURCES
from sansdata.kinds.inputs.waveform import Waveforms
from sansdata.report.media import sound_uri
from sansdata.tasks import PairTask, WaveformSpec, load_task


def of(door: LogMel, waveform: Tensor, length: Tensor) -> dict[str, Tensor]:
    seen = door({"waveform": waveform, "length": length})
    assert not isinstance(seen, Tensor)
    return dict(seen)


def test_bands_are_those_of_torchs_transform() -> None:
    waveform = torch.randn(3, 2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    door = LogMel(8000, 200, 80, 30)
    turned = torch.stft(
        waveform, 200, 80, window=torch.hann_window(200, dtype=torch.float64), center=True, return_complex=True
    )
    wanted = torch.einsum("fn,bnt->bft", torch.from_numpy(filterbank(8000, 200, 30)).double(), turned.abs().square())
    assert torch.allclose(door.bands(waveform).double(), wanted, rtol=1e-4, atol=1e-6)


def test_filters_are_those_of_whisper(transformers: ModuleType) -> None:
    audio = import_module(f"{transformers.__name__}.audio_utils")
    wanted = audio.mel_filter_bank(201, 80, 0.0, 8000.0, 16000, norm="slaney", mel_scale="slaney")
    assert np.abs(filterbank(16000, 400, 80) - wanted.T).max() < 1e-6


def test_whispers_scale_is_that_of_its_feature_extractor(transformers: ModuleType) -> None:
    whisper = transformers.WhisperFeatureExtractor(chunk_length=2)
    sound = torch.randn(1, 32000, generator=torch.Generator().manual_seed(0)) * 0.1
    wanted = torch.from_numpy(whisper(sound[0].numpy(), sampling_rate=16000, return_tensors="np")["input_features"])
    seen = of(LogMel(16000, 400, 160, 80, "whisper"), sound, torch.tensor([32000]))["bands"]
    assert seen.shape == wanted.shape
    assert torch.allclose(seen, wanted, atol=1e-3)


@pytest.mark.parametrize("scale", ["clip", "bands"])
def test_what_fills_a_clip_does_not_count_and_loudness_does_not_either(scale: str) -> None:
    door = LogMel(8000, 200, 80, 20, scale)  # type: ignore[arg-type]
    waveform = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0)) * 0.1
    length = torch.tensor([4000, 2000])
    waveform[1, 2000:] = 0
    seen = of(door, waveform, length)
    assert seen["mask"].sum(1).tolist() == [50, 25]
    assert not bool(seen["bands"][1, :, 25:].any())
    inside = seen["bands"][1, :, :25]
    assert abs(float(inside.mean())) < 1e-4
    assert abs(float(inside.std()) - 1) < 0.05
    quieter = of(door, 0.3 * waveform, length)["bands"]
    assert (quieter - seen["bands"]).abs().max() < 0.05


def test_a_gradient_reaches_the_samples_even_of_silence() -> None:
    sound = torch.zeros(1, 1000, requires_grad=True)
    of(LogMel(8000, 200, 80, 20), sound, torch.tensor([1000]))["bands"].square().sum().backward()
    assert sound.grad is not None
    assert bool(sound.grad.isfinite().all())


@pytest.mark.parametrize("source", SOURCES)
def test_noise_is_finite_and_of_the_colour_that_it_is_called(source: str) -> None:
    sounds = SOURCES[source](8, 4096, 8000, torch.Generator().manual_seed(0))
    assert sounds.shape == (8, 4096)
    assert bool(sounds.isfinite().all())
    power = torch.fft.rfft(sounds).abs().square().mean(0)
    low, high = power[1:600].mean(), power[1400:2000].mean()
    if source == "white":
        assert 0.8 < float(low / high) < 1.25
    elif source in ("pink", "babble"):
        assert float(low / high) > 2


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ({"door": "cellar"}, "unknown door"), ({"mean": [0]}, "not 'mean'"), ({"mels": 0}, "mels must be"),
        ({"window": 3}, "4 samples"), ({"hop": 999}, "no longer"), ({"scale": "loud"}, "scale is one of"),
        ({"names": []}, "names"), ({"names": [1]}, "names"), ({"mels": True}, "mels must be"),
        ({"door": "samples", "hop": 3}, "not 'hop'"),
    ],
)  # fmt: skip
def test_a_door_that_is_none_is_refused(described: dict, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        Waveforms(WaveformSpec(rate=8000, length=1024)).preprocessor(described)


def test_a_preview_is_heard_and_seen() -> None:
    kind = Waveforms(WaveformSpec(rate=44100, length=4410))
    (shown,) = kind.preview(kind.pack(kind.draw(1, torch.Generator().manual_seed(0), "tones")))
    assert isinstance(shown, Sound)
    assert shown.spectrogram.dtype == np.uint8
    assert int(shown.spectrogram.max()) > 200
    assert sound_uri(shown.samples, shown.rate).startswith("data:audio/wav;base64,UklGR")


def two_classes(length: int = 800) -> PairTask:
    outputs = {"kind": "classes", "classes": 2, "class_names": ["no", "yes"]}
    sides = {"inputs": {"kind": "waveform", "rate": 8000, "length": length}, "outputs": outputs}
    task = load_task(sides)
    assert isinstance(task, PairTask)
    return task


def write(path: Path, samples: int, rate: int = 8000) -> None:
    path.parent.mkdir(exist_ok=True)
    sound = np.random.default_rng(samples).integers(-9000, 9000, samples).astype(np.int16)
    path.write_bytes(wav_bytes(sound, rate))


def test_folders_and_manifests_are_read(tmp_path: Path) -> None:
    write(tmp_path / "no" / "a.wav", 500)
    write(tmp_path / "yes" / "b.wav", 1600, 16000)
    write(tmp_path / "yes" / "c.wav", 2000)
    data = load_set(tmp_path, two_classes())
    assert data.labels.tolist() == [0, 1, 1]
    assert data.packed["length"].tolist() == [500, 800, 800]  # type: ignore[index, union-attr]
    assert "1 of 3 sounds were cut" in data.notes[0]
    (tmp_path / "list.tsv").write_text("path\tsaid\nyes/b.wav\tyes\nno/a.wav\t0\n")
    assert load_set(tmp_path / "list.tsv", two_classes()).labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("line", "words"),
    [("../x.wav,no", "outside"), ("no/a.wav", "has 1 field"), ("no/a.wav,perhaps", "none of the task's"),
     ("no/none.wav,no", "cannot be read")],
)  # fmt: skip
def test_a_manifest_that_cannot_be_followed_is_refused(line: str, words: str, tmp_path: Path) -> None:
    write(tmp_path / "no" / "a.wav", 500)
    (tmp_path / "list.csv").write_text(line + "\n")
    with pytest.raises(DataError, match=words):
        load_set(tmp_path / "list.csv", two_classes())


def test_notes_repeat_themselves_and_noise_does_not() -> None:
    """The highest place of the autocorrelation, beyond the first, of most notes and of no noise."""
    highest = {}
    for source in ("notes", "white"):
        waveform = SOURCES[source](60, 2000, 16000, torch.Generator().manual_seed(0))
        assert waveform.shape == (60, 2000)
        spectrum = torch.fft.rfft(waveform, 4096)
        alike = torch.fft.irfft(spectrum * spectrum.conj())[:, :600]
        shares = alike / alike[:, :1] / (1 - torch.arange(600) / 2000)
        highest[source] = shares[:, 8:].amax(1)
    assert (highest["notes"] > 0.5).float().mean() > 0.6
    assert (highest["white"] > 0.5).float().mean() == 0
