"""Speech without a speaker: words spoken by programs of the system, or by a formant generator of our own that no one
understands.

What was spoken is kept, so that nothing is synthesised twice: not by a run that was killed, nor by the next one.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Generator

from ..decoding.wav import parse_wav, read_wav, resampled, to_int16, wav_bytes
from ..errors import DataError, MethodError
from ..files import cache_root, write_atomic
from ..kinds.inputs import sound_noise

Speaker = Literal["espeak-ng", "flite", "formants"]
PROGRAMS = ("espeak-ng", "flite")
"""Speakers that are programs of the system."""
VOICES: dict[str, tuple[str, ...]] = {
    "espeak-ng": tuple(
        f"{accent}+{variant}"
        for accent in ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp")
        for variant in ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5")
    ),
    "flite": ("awb", "kal", "kal16", "rms", "slt"),
    "formants": ("low", "middle", "high"),
}
SPEEDS = (0.7, 0.85, 1.0, 1.2, 1.4)
"""Factors on a program's own pace."""
PITCHES = (0.75, 0.88, 1.0, 1.15, 1.35)
"""Factors on a voice's own pitch."""
MAX_TEXT = 1000
MAX_BYTES = 64 * 1024**2
PATIENCE = 60.0
"""Seconds that a program may take for one text."""
FLITE_PITCH = {"slt": 180.0}
QUIET = 0.01
"""Of the peak: what is less at the ends of a sound is cut off."""
MARGIN = 0.03
"""Seconds of it that stay."""


@dataclass(frozen=True)
class Utterance:
    """text, said by a voice of a speaker. speed, pitch: factors."""

    text: str
    speaker: Speaker
    voice: str
    speed: float = 1.0
    pitch: float = 1.0

    @property
    def key(self) -> str:
        """SHA-256 of all that decides how it sounds."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()


def drawn(texts: Sequence[str], speakers: Sequence[Speaker], generator: Generator, count: int) -> list[Utterance]:
    """Random texts, each by a random voice of all that the speakers have, at random speed and pitch."""

    def one(many: int) -> list[int]:
        return torch.randint(many, (count,), generator=generator).tolist()

    several = zip(one(len(texts)), one(len(speakers)), one(1_000_000), one(len(SPEEDS)), one(len(PITCHES)))
    spoken = []
    for text, who, number, speed, pitch in several:
        voices = VOICES[speakers[who]]  # a speaker with few is heard as often as one with many
        voice = voices[number % len(voices)]
        spoken.append(Utterance(texts[text], speakers[who], voice, SPEEDS[speed], PITCHES[pitch]))
    return spoken


def programs(speakers: Sequence[str]) -> dict[Path, str]:
    """The programs that these speakers are -> their names; one that is not there is left out."""
    paths = {name: shutil.which(name) for name in speakers if name in PROGRAMS}
    return {Path(path): name for name, path in paths.items() if path}


def require(speakers: Sequence[str]) -> None:
    """Raises MethodError where a speaker is a program that is not on this machine."""
    missing = [name for name in speakers if name in PROGRAMS and shutil.which(name) is None]
    if missing:
        raise MethodError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not on this machine, and the settings ask "
            f"it to speak: apt-get install {' '.join(missing)}, or leave it out of 'speakers'"
        )


def store() -> Path:
    """The folder where all that was spoken is kept, one small file an utterance."""
    return cache_root() / "voices"


def speak(utterance: Utterance, rate: int) -> np.ndarray:
    """int16 (L,) at `rate`, from the store where it was spoken before. Raises MethodError where the program fails."""
    if utterance.speaker == "formants":
        return _trimmed(_formants(utterance, rate), rate)
    path = store() / utterance.key[:2] / f"{utterance.key}.wav"
    if path.is_file():
        try:
            return _trimmed(read_wav(path, rate)[0], rate)
        except DataError:
            path.unlink()  # broken: it is spoken anew
    samples, own = _spoken(utterance)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, wav_bytes(samples, own))
    return _trimmed(samples if own == rate else resampled(samples, own, rate), rate)


def _spoken(utterance: Utterance) -> tuple[np.ndarray, int]:
    require([utterance.speaker])
    program = str(shutil.which(utterance.speaker))
    try:
        done = subprocess.run(
            [program, *_arguments(utterance)], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE,
            check=False, env={"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise MethodError(f"{program} does not speak ({str(fault)[:200]})") from None
    if done.returncode or len(done.stdout) > MAX_BYTES:
        reason = done.stderr.decode(errors="replace").strip()[:200] or f"exit code {done.returncode}"
        raise MethodError(f"{program} does not say {utterance.text[:40]!r} with the voice {utterance.voice}: {reason}")
    try:
        return parse_wav(done.stdout, program)
    except DataError as fault:
        raise MethodError(str(fault)) from None


def _arguments(utterance: Utterance) -> list[str]:
    text = " ".join(utterance.text.split())[:MAX_TEXT]
    if utterance.speaker == "espeak-ng":
        speed, pitch = round(165 * utterance.speed), round(50 * utterance.pitch)
        return ["-v", utterance.voice, "-s", str(speed), "-p", str(min(99, pitch)), "--stdout", "--", text]
    hertz = FLITE_PITCH.get(utterance.voice, 105.0) * utterance.pitch
    slower = 1 / utterance.speed
    return [
        "-voice", utterance.voice, "--setf", f"duration_stretch={slower:.3f}", "--setf",
        f"int_f0_target_mean={hertz:.1f}", "-t", text, "-o", "/dev/stdout",
    ]  # fmt: skip


def _formants(utterance: Utterance, rate: int) -> np.ndarray:
    """A letter is a sound of its own, always the same: vowels of three resonances, other letters breath or hum. Nobody
    understands it; it is there for tests and for tasks without words."""
    register = {"low": 95.0, "middle": 140.0, "high": 220.0}[utterance.voice] * utterance.pitch
    parts = []
    for letter in utterance.text.lower()[:MAX_TEXT]:
        seed = int.from_bytes(hashlib.sha256(letter.encode()).digest()[:6], "little")
        generator = torch.Generator().manual_seed(seed)
        length = max(32, round(rate * 0.07 / utterance.speed))
        voiced = 1.0 if letter in "aeiouylmnrw" else 0.15
        hertz = register * (1 + 0.02 * math.sin(seed))
        pulses = (torch.arange(length) % max(2, round(rate / hertz)) == 0).float() * rate / hertz
        breath = torch.randn(length, generator=generator)
        place = int(torch.randint(len(sound_noise.FORMANTS), (), generator=generator))
        shift = 0.7 + 0.8 * float(torch.rand((), generator=generator))
        path = (sound_noise.FORMANTS[place] * shift)[None, :, None].expand(1, 3, length)
        source = (voiced * pulses + (1 - voiced) * 2 * breath)[None]
        parts.append(sound_noise.resonant(source, path, rate)[0])
    sound = torch.cat(parts) if parts else torch.zeros(32)
    return to_int16((0.5 * sound / sound.abs().max().clamp_min(1e-6)).double().numpy())


def _trimmed(samples: np.ndarray, rate: int) -> np.ndarray:
    """Without the silence at both ends, at half the loudest level."""
    loud = np.abs(samples.astype(np.int32))
    audible = np.flatnonzero(loud > QUIET * max(1, loud.max(initial=0)))
    if not len(audible):
        return samples[: max(1, len(samples))]
    margin = round(MARGIN * rate)
    part = samples[max(0, audible[0] - margin) : audible[-1] + 1 + margin]
    return to_int16(0.5 * part / loud.max())
