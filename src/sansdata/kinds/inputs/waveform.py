"""Sounds of one channel. They travel as {'waveform': (B, L) float32 in -1..1, 'length': (B,) int64}, with zeros behind
their length, and are kept as int16; a network sees their log-mel bands, or the samples themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from ...columns import Inputs
from ...errors import DivergedError, TaskError
from ...figures import Figure, Finding, Preview, Sound, Warned
from ...objectives import agreement
from ...tasks import WaveformSpec
from ...tasks.waveform import MAX_MELS
from ..base import Axes, InputKind, Preprocessor
from .log_mel import SCALES, LogMel, Samples
from .sound_noise import SOURCES

NAMES = ("waveform", "length")
LEVELS = 32_768
SAME = 0.02
"""Mean distance between two clips of equal loudness below which they are one; two of noise have 1.4."""
SILENT = 1e-3
"""Root of the mean square of a clip that nobody hears: 60 dB below the loudest."""
MUCH = 0.5
SHOWN_MELS = 48


class Waveforms(InputKind):
    """spec says how many samples a second there are, and how many in a clip at most."""

    Spec = WaveformSpec
    unit = "sounds"
    differentiable = True
    sources = ("white", "pink", "tones", "notes", "babble")
    exact = True

    def draw(
        self, count: int, generator: Generator, source: str = "", door: Preprocessor | None = None
    ) -> dict[str, Tensor]:
        """Sounds of a quarter of the length to all of it, at levels of -40 to -6 dB. white, pink: noise. tones:
        gliding. notes: one pitch with its partials. babble: voices of no language."""
        rate, longest = self.spec.rate, self.spec.length
        waveform = SOURCES[source or self.sources[0]](count, longest, rate, generator)
        length = torch.randint(max(1, longest // 4), longest + 1, (count,), generator=generator)
        length[torch.randint(count, (), generator=generator)] = longest
        loud = 10 ** (-2 + 1.7 * torch.rand(count, 1, generator=generator))
        waveform = waveform / waveform.square().mean(1, keepdim=True).sqrt().clamp_min(1e-6) * loud
        return self.cut({"waveform": waveform.clamp(-1, 1), "length": length})

    @staticmethod
    def cut(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same with zeros behind the length of each."""
        waveform, length = inputs["waveform"], inputs["length"]
        within = torch.arange(waveform.shape[1], device=waveform.device)[None] < length[:, None]
        return {"waveform": waveform * within, "length": length}

    def edges(self) -> dict[str, Tensor]:
        """Silence, the loudest click, one sample, and a wave at half the rate."""
        longest = self.spec.length
        waveform = torch.zeros(4, longest)
        waveform[1, longest // 2], waveform[2, 0] = -1.0, 1.0
        waveform[3] = 1 - 2 * (torch.arange(longest) % 2).float()
        return {"waveform": waveform, "length": torch.tensor([longest, longest, 1, longest])}

    def pack(self, inputs: Inputs) -> dict[str, Tensor]:
        """Raises DivergedError for sounds that are not finite, which whole numbers could not say."""
        assert not isinstance(inputs, Tensor)
        waveform = inputs["waveform"].detach().to("cpu", torch.float32)
        if not bool(torch.isfinite(waveform).all()):
            raise DivergedError("sounds that were to be kept are not finite")
        levels = (waveform * LEVELS).round().clamp(-LEVELS, LEVELS - 1).to(torch.int16)
        return self.cut({"waveform": levels, "length": inputs["length"].detach().to("cpu", copy=True)})

    def unpack(self, packed: Inputs) -> dict[str, Tensor]:
        assert not isinstance(packed, Tensor)
        return {"waveform": packed["waveform"].float() / LEVELS, "length": packed["length"]}

    def read(self, sounds: list[np.ndarray]) -> dict[str, Tensor]:
        """Stored sounds from samples int16 (L,) each, cut to the task's length."""
        length = torch.tensor([min(len(sound), self.spec.length) for sound in sounds], dtype=torch.int64)
        waveform = torch.zeros(len(sounds), self.spec.length, dtype=torch.int16)
        for row, sound, many in zip(waveform, sounds, length.tolist()):
            row[:many] = torch.from_numpy(sound[:many])
        return {"waveform": waveform, "length": length}

    def preprocessor(self, described: Mapping[str, Any]) -> Preprocessor:
        door, rest = described.get("door", "log-mel"), {k: v for k, v in described.items() if k != "door"}
        own = LogMel.of(self.spec.rate, self.spec.length)
        known = {
            "log-mel": ("window", "hop", "mels", "scale", "names", "prompt"),
            "samples": ("names",),
            "black-box": ("names", "prompt"),  # who is only asked begins a text by itself
        }
        if door not in known:
            raise TaskError(f"preprocessing: unknown door {door!r:.80} of sounds. Known: {', '.join(known)}.")
        if unknown := rest.keys() - set(known[door]):
            raise TaskError(f"preprocessing: the door '{door}' of sounds has {', '.join(known[door])}, and not "
                            f"'{min(unknown)!s:.40}'")  # fmt: skip
        names = rest.get("names", {"log-mel": own.names, "samples": NAMES[:1], "black-box": NAMES}[door])
        if not (isinstance(names, (list, tuple)) and 1 <= len(names) <= 2 and all(isinstance(n, str) for n in names)):
            raise TaskError("preprocessing of sounds takes names: [the argument for bands or samples] or with a second "
                            "for what tells how long they are")  # fmt: skip
        if door != "log-mel":
            return Samples(tuple(names), passes_on=door == "samples")
        window, hop, mels = (rest.get(name, getattr(own, name)) for name in ("window", "hop", "mels"))
        most = {"window": self.spec.length, "hop": self.spec.length, "mels": MAX_MELS}
        for name, value in (("window", window), ("hop", hop), ("mels", mels)):
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most[name]:
                raise TaskError(f"preprocessing: {name} must be a whole number of 1 to {most[name]}, got {value!r:.40}")
        if window < 4 or hop > window:
            raise TaskError(f"preprocessing: a window of 4 samples or more and a hop no longer, not {window} and {hop}")
        scale = rest.get("scale", own.scale)
        if scale not in SCALES:
            raise TaskError(f"preprocessing: scale is one of {', '.join(SCALES)}, got {scale!r:.40}")
        prompt = rest.get("prompt", ())
        if not isinstance(prompt, (list, tuple)) or not all(type(one) is int and one >= 0 for one in prompt[:99]):
            raise TaskError(f"preprocessing: prompt is a list of ids, got {prompt!r:.40}")
        return LogMel(self.spec.rate, window, hop, mels, scale, tuple(names), tuple(prompt[:8]))

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        waveform, length = arrays.get("waveform"), arrays.get("length")
        if waveform is None or length is None or waveform.dtype != np.int16 or length.dtype.kind not in "iu":
            raise ValueError("expected 'waveform' of int16 and 'length' of whole numbers")
        if waveform.ndim != 2 or waveform.shape[1] != self.spec.length or length.shape != waveform.shape[:1]:
            raise ValueError(f"expected (N, {self.spec.length}) and (N,), got {waveform.shape} and {length.shape}")
        if length.size and (length.min() < 0 or length.max() > self.spec.length):
            raise ValueError(f"a length beyond the {self.spec.length} samples of a clip")
        stored = {"waveform": torch.from_numpy(waveform.copy()), "length": torch.from_numpy(length.astype(np.int64))}
        return self.cut(stored)

    def statistics(self, packed: Inputs) -> list[Finding]:
        assert not isinstance(packed, Tensor)
        sounds = self.unpack(packed)
        waveform, length = sounds["waveform"], sounds["length"].clamp_min(1)
        level = (waveform.square().sum(1) / length).sqrt()
        even = waveform / waveform.square().mean(1, keepdim=True).sqrt().clamp_min(1e-6)
        return [
            Figure("pairwise_distance", agreement.pairwise_distance(even), "number",
                   "mean between sounds brought to one loudness; 1.4: unrelated, near 0: all alike"),
            Figure("seconds", float(length.float().mean()) / self.spec.rate, "seconds", "mean length of a sound"),
            Figure("level", float(20 * level.clamp_min(1e-5).log10().mean()), "number",
                   "mean loudness in dB; 0 is the loudest"),
            Figure("silent", float((level < SILENT).float().mean()), "share", "sounds that nobody hears", "lower"),
            Figure("clipped", float((waveform.abs() > 0.999).float().mean()), "share",
                   "samples at the ends of the range", "lower"),
        ]  # fmt: skip

    def warnings(self, statistics: Mapping[str, Any]) -> list[Warned]:
        if statistics["pairwise_distance"] < SAME:
            return [Warned("identical samples", statistics["pairwise_distance"], "hardly any sound differs from the "
                           "others, so the student learned one")]  # fmt: skip
        if statistics["silent"] > MUCH:
            return [Warned("silent samples", statistics["silent"], "most sounds are too quiet to be heard: look at how "
                           "they are made")]  # fmt: skip
        return []

    def preview(self, packed: Inputs) -> list[Preview]:
        assert not isinstance(packed, Tensor)
        door = LogMel.of(self.spec.rate, self.spec.length, SHOWN_MELS)
        logs = (door.bands(self.unpack(packed)["waveform"]) + 1e-6).log()
        several: list[Preview] = []
        for bands, waveform, length in zip(logs, packed["waveform"], packed["length"].tolist()):
            shown = bands[:, : max(2, door.frames(length))].flip(0)
            low, high = shown.quantile(0.05), shown.max()
            grey = ((shown - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)
            several.append(Sound(waveform[:length].numpy(), self.spec.rate, (255 * grey).byte()[..., None].numpy()))
        return several

    def describe(self) -> str:
        return f"sounds of at most {self.spec.seconds:g} s at {self.spec.rate:,} samples a second"

    def signature(self) -> Mapping[str, Axes]:
        return {
            "waveform": Axes("float32", (self.spec.length,), f"-1..1, {self.spec.rate} a second, 0 behind the end"),
            "length": Axes("int64", (), "samples that count"),
        }

    def hint(self, module: nn.Module) -> str:
        first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
        if first is None or first.in_channels == 1:
            return ""
        return f". Its first convolution takes {first.in_channels} channels and a spectrogram has 1"
