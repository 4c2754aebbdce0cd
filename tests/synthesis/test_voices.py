"""Speech of programs and of formants, what is kept of it, and rooms around it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sansdata.errors import ConfigError, MethodError
from sansdata.synthesis import voices
from sansdata.synthesis.rooms import Rooms, in_rooms
from sansdata.synthesis.voices import PROGRAMS, Utterance, drawn, require, speak


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "sansdata" / "voices"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_speaks_once_and_its_words_are_kept(
    program: Any, own_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on this machine: apt-get install {program}")
    said = [Utterance("seven", program, voices.VOICES[program][0]), Utterance("-h", program, voices.VOICES[program][0])]
    first = [speak(one, 8000) for one in said]
    assert all(800 < len(sound) < 16000 and 10_000 < np.abs(sound.astype(int)).max() < 20_000 for sound in first)
    assert len(list(own_store.rglob("*.wav"))) == 2
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("was asked twice"))
    assert all(np.array_equal(speak(one, 8000), sound) for one, sound in zip(said, first))


@pytest.mark.parametrize("program", PROGRAMS)
def test_speed_is_heard(program: Any) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on this machine: apt-get install {program}")
    voice = voices.VOICES[program][0]
    slow, fast = (speak(Utterance("nine", program, voice, speed), 8000) for speed in (0.7, 1.4))
    assert len(slow) > 1.3 * len(fast)


def test_formants_need_no_program_and_letters_sound_unlike() -> None:
    one, again, other = (speak(Utterance(text, "formants", "low"), 8000) for text in ("one", "one", "six"))
    assert np.array_equal(one, again)
    assert not np.array_equal(one[:1000], other[:1000])


def test_a_program_that_is_missing_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(MethodError, match="apt-get install espeak-ng flite"):
        require(["espeak-ng", "flite", "formants"])
    require(["formants"])


@pytest.mark.parametrize(
    ("script", "words"),
    [("exit 3", "exit code 3"), ("echo no such voice >&2; exit 1", "no such voice"), ("echo music", "no WAV")],
)
def test_a_program_that_fails_says_why(
    script: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "flite"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(program))
    with pytest.raises(MethodError, match=words):
        speak(Utterance("one", "flite", "slt"), 8000)


def test_every_speaker_is_heard_as_often() -> None:
    said = drawn(["a", "b"], ("espeak-ng", "flite"), torch.Generator().manual_seed(0), 2000)
    assert 900 < sum(one.speaker == "flite" for one in said) < 1100
    assert {one.voice for one in said if one.speaker == "flite"} == set(voices.VOICES["flite"])
    assert said == drawn(["a", "b"], ("espeak-ng", "flite"), torch.Generator().manual_seed(0), 2000)
    assert len({one.key for one in said}) == len(set(said))


def test_rooms_add_what_they_say() -> None:
    generator = torch.Generator().manual_seed(0)
    length = torch.full((64,), 8000)
    tone = torch.sin(2 * torch.pi * 300 * torch.arange(8000) / 8000).expand(64, -1).clone()
    bare = Rooms(noise=0, reverberation=0, band=0, quiet=0)
    assert torch.allclose(in_rooms(tone, length, 8000, bare, generator), 0.9 * tone / tone.max(), atol=1e-4)
    noisy = in_rooms(tone, length, 8000, bare.model_copy(update={"noise": 1, "snr": (10.0, 10.0)}), generator)
    turned = torch.fft.rfft(noisy).abs().square()
    ratio = 10 * (turned[:, 300] / (turned.sum(1) - turned[:, 300])).log10()
    assert abs(float(ratio.mean()) - 10) < 0.5
    short = torch.full((64,), 3000)
    assert not bool(in_rooms(tone, short, 8000, Rooms(), generator)[:, 3000:].any())
    with pytest.raises(ConfigError, match="snr"):
        Rooms(snr=(5.0, 1.0))
