"""What lies between a mouth and a microphone: a room, a line that passes some frequencies, other sounds."""

from __future__ import annotations

import math

import pydantic
import torch
from torch import Generator, Tensor

from ..config import Strict
from ..kinds.inputs import sound_noise


class Rooms(Strict):
    """noise, reverberation, band: the share of sounds that get it, ours. snr: range of the ratio of sound to noise, in
    dB. decay: range of the seconds in which an echo falls by 60 dB. quiet: a sound is turned down by up to so many
    dB."""

    noise: float = pydantic.Field(default=0.7, ge=0, le=1)
    snr: tuple[float, float] = (8.0, 35.0)
    reverberation: float = pydantic.Field(default=0.4, ge=0, le=1)
    decay: tuple[float, float] = (0.05, 0.4)
    band: float = pydantic.Field(default=0.4, ge=0, le=1)
    quiet: float = pydantic.Field(default=20.0, ge=0, le=80)

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Rooms:
        for name in ("snr", "decay"):
            low, high = getattr(self, name)
            if not (math.isfinite(low) and math.isfinite(high) and low <= high) or (name == "decay" and low <= 0):
                raise ValueError(f"{name} is a range [low, high], got {[low, high]}")
        return self


def in_rooms(waveform: Tensor, length: Tensor, rate: int, rooms: Rooms, generator: Generator) -> Tensor:
    """waveform (B, L) in -1..1, zeros behind length (B,) -> the same as a microphone hears it."""
    count, longest = waveform.shape

    def share(of: float) -> Tensor:
        return (torch.rand(count, 1, generator=generator) < of).float()

    def within(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, generator=generator)

    wet, narrow, noisy = share(rooms.reverberation), share(rooms.band), share(rooms.noise)
    sound = waveform + wet * (_echoed(waveform, within(*rooms.decay), rate, generator) - waveform)
    sound = sound + narrow * (_through_a_line(sound, rate, generator) - sound)
    places = torch.arange(longest)[None] < length[:, None]
    level = ((sound * places).square().sum(1, keepdim=True) / length[:, None].clamp_min(1)).sqrt()
    colour = share(0.5)
    white, pink = (make(count, longest, rate, generator) for make in (sound_noise.white, sound_noise.pink))
    noise = colour * white / white.std(1, keepdim=True) + (1 - colour) * pink / pink.std(1, keepdim=True)
    sound = sound + noisy * level * noise * 10 ** (-within(*rooms.snr) / 20)
    peak = sound.abs().amax(1, keepdim=True).clamp_min(1e-6)
    return sound / peak * 0.9 * 10 ** (-within(0, rooms.quiet) / 20) * places


def _echoed(waveform: Tensor, decay: Tensor, rate: int, generator: Generator) -> Tensor:
    """Behind a direct sound an echo of noise that falls away."""
    count, longest = waveform.shape
    place = torch.arange(longest) / rate
    tail = torch.randn(count, longest, generator=generator) * torch.exp(-6.9 * place / decay)
    tail = 0.5 * tail / tail.square().sum(1, keepdim=True).sqrt().clamp_min(1e-6)
    tail[:, 0] += 1
    size = 2 * longest
    both = torch.fft.rfft(waveform, size) * torch.fft.rfft(tail, size)
    return torch.fft.irfft(both, size)[:, :longest]


def _through_a_line(waveform: Tensor, rate: int, generator: Generator) -> Tensor:
    """What a telephone or a small loudspeaker leaves: a band with soft edges."""
    count, longest = waveform.shape
    low = 80 * (5.0 ** torch.rand(count, 1, generator=generator))
    high = rate / 2 * (0.45 + 0.55 * torch.rand(count, 1, generator=generator))
    hertz = torch.linspace(0, rate / 2, longest // 2 + 1)[None]
    passed = torch.sigmoid((hertz - low) / 30) * torch.sigmoid((high - hertz) / 100)
    return torch.fft.irfft(torch.fft.rfft(waveform) * passed, longest)
