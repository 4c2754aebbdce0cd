"""Sounds that need no data: noise of two colours, tones, notes, and voices that babble without a language."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

FORMANTS = torch.tensor([
    [730, 1090, 2440], [270, 2290, 3010], [300, 870, 2240], [530, 1840, 2480], [570, 840, 2410], [490, 1350, 1690],
    [660, 1720, 2410], [440, 1020, 2240],
], dtype=torch.float32)  # fmt: skip
"""Hertz of eight vowels of men (Peterson & Barney 1952)."""
BANDWIDTHS = (90.0, 110.0, 170.0)
SYLLABLES = 5.0
"""A second, of a voice."""
LOWEST, HIGHEST = 32.7, 2000.0
"""Hertz of notes: six octaves from C1 on."""
PARTIALS = 16
RARE = 0.1
"""Share of notes that are noise alone, and of those without any."""


def white(count: int, length: int, rate: int, generator: Generator) -> Tensor:
    return torch.randn(count, length, generator=generator)


def pink(count: int, length: int, rate: int, generator: Generator) -> Tensor:
    """Power that falls with frequency."""
    spectrum = torch.fft.rfft(torch.randn(count, length, generator=generator))
    return torch.fft.irfft(spectrum / torch.arange(1, spectrum.shape[1] + 1).sqrt(), length)


def tones(count: int, length: int, rate: int, generator: Generator) -> Tensor:
    """Three gliding tones each, between 60 Hz and nine tenths of what the rate can hold, with an envelope."""
    low, high = math.log(60.0), math.log(max(120.0, 0.45 * rate))
    ends = (low + (high - low) * torch.rand(count, 3, 2, generator=generator)).exp()
    place = torch.linspace(0, 1, length)
    hertz = ends[..., :1] * (ends[..., 1:] / ends[..., :1]) ** place
    waves = (2 * math.pi * hertz.cumsum(2) / rate + 6.3 * torch.rand(count, 3, 1, generator=generator)).sin()
    return (waves * torch.rand(count, 3, 1, generator=generator)).sum(1) + 0.01 * white(count, length, rate, generator)


def notes(count: int, length: int, rate: int, generator: Generator) -> Tensor:
    """One pitch each, which glides and trembles, with partials of random strength and phase, in noise of 0 to 40 dB
    below; a few are the noise alone, and a few without it."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator)

    seconds = torch.arange(length) / rate
    octaves = math.log2(min(HIGHEST, 0.4 * rate) / LOWEST)
    glide = (uniform(1) - 0.5) * seconds  # octaves a second
    tremble = 0.04 * uniform(1) * (2 * math.pi * ((4 + 4 * uniform(1)) * seconds + uniform(1))).sin()
    hertz = LOWEST * 2 ** (octaves * uniform(1) + glide + tremble)
    phase = (hertz.double() / rate).cumsum(1).float()
    order = torch.arange(1, PARTIALS + 1)
    strength, begin = uniform(PARTIALS) * order ** (-2.5 * uniform(1)), uniform(PARTIALS)
    waves = torch.zeros(count, length)
    for place in range(PARTIALS):  # one by one: all at once would be sixteen times the sounds
        part, number = slice(place, place + 1), place + 1
        audible = number * hertz < 0.5 * rate
        waves += strength[:, part] * audible * (2 * math.pi * (number * phase + begin[:, part])).sin()
    breath = torch.where(uniform(1) < 0.5, white(count, length, rate, generator), pink(count, length, rate, generator))
    loud = 10 ** (-2 * uniform(1)) * (uniform(1) > RARE)
    level = [one.square().mean(1, keepdim=True).sqrt().clamp_min(1e-6) for one in (waves, breath)]
    pitched = uniform(1) > RARE
    return waves / level[0] * pitched + breath / level[1] * torch.where(pitched, loud, torch.ones_like(loud))


def voices(count: int, length: int, rate: int, generator: Generator) -> Tensor:
    """Pulses or breath through three resonances that move from vowel to vowel, about five a second: no word of any
    language."""
    turns = max(2, round(SYLLABLES * length / rate) + 1)
    vowels = FORMANTS[torch.randint(len(FORMANTS), (count, turns), generator=generator)]
    size = 0.85 + 0.5 * torch.rand(count, 1, 1, generator=generator)
    path = F.interpolate((vowels * size).transpose(1, 2), length, mode="linear", align_corners=True)
    pitch = 80 + 170 * torch.rand(count, turns, generator=generator)
    pitch = F.interpolate(pitch.mean(1, keepdim=True)[:, None] * (0.9 + 0.2 * torch.rand(
        count, 1, turns, generator=generator)), length, mode="linear", align_corners=True)[:, 0]  # fmt: skip
    phase = (pitch / rate).cumsum(1)
    pulses = (phase.floor() - F.pad(phase, (1, 0))[:, :-1].floor()).clamp(0, 1) * rate / pitch
    breath = torch.randn(count, length, generator=generator)
    voiced = (torch.rand(count, turns, 1, generator=generator) > 0.25).float()
    loud = (0.1 + 0.9 * torch.rand(count, turns, 1, generator=generator)) * torch.ones(turns, 1)
    gates = F.interpolate(torch.cat([voiced * loud, (1 - voiced) * loud], 2).transpose(1, 2), length, mode="linear",
                          align_corners=True)  # fmt: skip
    source = gates[:, 0] * pulses + 0.4 * gates[:, 1] * breath
    return resonant(source, path, rate)


def resonant(source: Tensor, path: Tensor, rate: int) -> Tensor:
    """source (B, L) through resonances around path (B, 3, L) in hertz, in overlapping pieces of the spectrum."""
    size = max(16, 2 ** round(math.log2(0.032 * rate)))
    window = torch.hann_window(size)
    turned = torch.stft(source, size, size // 4, window=window, return_complex=True)
    hertz = torch.linspace(0, rate / 2, turned.shape[1]).view(1, 1, -1, 1)
    moved = F.interpolate(path, turned.shape[2], mode="linear", align_corners=True)[:, :, None]
    widths = torch.tensor(BANDWIDTHS).view(1, 3, 1, 1)
    gain = (1 / (1 + ((hertz - moved) / widths).square())).sqrt().sum(1) + 1e-3
    return torch.istft(turned * gain, size, size // 4, window=window, length=source.shape[1])


def babble(count: int, length: int, rate: int, generator: Generator) -> Tensor:
    """One to four of those voices at once."""
    several = voices(4 * count, length, rate, generator).view(count, 4, length)
    many = torch.randint(1, 5, (count, 1, 1), generator=generator)
    return (several * (torch.arange(4).view(1, 4, 1) < many)).sum(1)


SOURCES = {"white": white, "pink": pink, "tones": tones, "notes": notes, "babble": babble}
"""Name -> (count, samples, rate, generator) -> (count, samples), of any loudness."""
