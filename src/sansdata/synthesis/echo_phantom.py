"""A beating left ventricle in ultrasound, made by a procedure: clips of an apical view with every label exact.

Ours, after the geometry and the physiology that textbooks give: half an ellipsoid with its apex up, a wall around it, a
mitral line and an atrium below, in a sector of speckle; a volume that falls as a raised cosine and comes back in two
waves. No image of anybody is in it. Two domains differ as a hospital's films and a generator's do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

FPS = 50.0
SYSTOLE = 0.35
"""Share of a beat in which the ventricle empties."""
BLOOD, GROUND, WALL = 14.0, 42.0, 90.0
"""Brightness before speckle, of 255. Blood in a real film is no black: clutter and reverberation fill it."""


@dataclass(frozen=True)
class Domain:
    """How films of one origin look. ef: (lowest, highest) ejection fraction, or (mean, deviation) where `normal`. gain:
    range of the brightness. blur: of the picture, in pixels at 64. contrast: range of the wall's brightness between the
    ground's and the highest. speckle: range of its strength, 1 as physics has it. dropout: share of films with a side
    wall lost."""

    ef: tuple[float, float]
    normal: bool
    gain: tuple[float, float]
    blur: float
    contrast: tuple[float, float]
    speckle: tuple[float, float]
    dropout: float


HOSPITAL = Domain((0.55, 0.12), True, (0.8, 1.1), 0.0, (0.3, 0.9), (0.9, 1.1), 0.5)
GENERATOR = Domain((0.10, 0.90), False, (0.6, 1.3), 0.6, (0.3, 1.0), (0.8, 1.1), 0.5)


@dataclass(frozen=True)
class Films:
    """clips: uint8 (N, 1, T, S, S). masks: uint8 (N, T, S, S), 1 in the ventricle. volumes: (N, T), relative to each
    film's largest. beats: frames of one beat, (N,). ed, es: (film, frame) of each end of filling and of emptying."""

    clips: Tensor
    masks: Tensor
    volumes: Tensor
    beats: Tensor
    ed: tuple[tuple[int, int], ...]
    es: tuple[tuple[int, int], ...]

    @property
    def ejection_fractions(self) -> Tensor:
        """(N,) percent, of the volumes."""
        return 100 * (1 - self.volumes.amin(1) / self.volumes.amax(1))


def films(count: int, frames: int, size: int, domain: Domain, generator: Generator, loudness: float = 1.0) -> Films:
    """`count` films of `frames` frames at FPS, size x size pixels. loudness: factor on the speckle, 2 for a noisy
    probe."""
    draw = _Draws(count, generator)
    beats = 60 * FPS / draw.between(45, 110)
    ef = draw.normal(*domain.ef).clamp(0.15, 0.8) if domain.normal else draw.between(*domain.ef)
    phase = (draw.between(0, 1)[:, None] + torch.arange(frames) / beats[:, None]) % 1
    volumes = 1 - ef[:, None] * emptied(phase)
    masks, pictures = _pictures(volumes, phase, size, domain, draw, loudness)
    ed, es = _events(phase, beats)
    return Films(pictures, masks, volumes, beats, ed, es)


def emptied(phase: Tensor) -> Tensor:
    """Share of the stroke volume that is out, 0..1, at a phase 0..1 of the beat: out as a raised cosine until SYSTOLE,
    back in two waves, 60 % early, 25 % with the atrium, the rest between."""
    out = 0.5 - 0.5 * torch.cos(math.pi * phase / SYSTOLE)
    rest = (phase - SYSTOLE) / (1 - SYSTOLE)
    early, late = _rise(rest, 0.0, 0.4), _rise(rest, 0.75, 1.0)
    back = 1 - 0.6 * early - 0.15 * _rise(rest, 0.3, 0.8) - 0.25 * late
    return torch.where(phase < SYSTOLE, out, back)


def _rise(x: Tensor, start: float, end: float) -> Tensor:
    return 0.5 - 0.5 * torch.cos(math.pi * ((x - start) / (end - start)).clamp(0, 1))


def _events(phase: Tensor, beats: Tensor) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Frames nearest to the phases 0 (end of filling) and SYSTOLE (end of emptying)."""
    blocks: list[tuple[tuple[int, int], ...]] = []
    for target in (0.0, SYSTOLE):
        away = (phase - target + 0.5) % 1 - 0.5  # in beats, -0.5..0.5
        half = 0.5 / beats[:, None]
        near = (away >= -half) & (away < half)
        blocks.append(tuple((int(film), int(frame)) for film, frame in near.nonzero()))
    return tuple(blocks)


def _pictures(
    volumes: Tensor, phase: Tensor, size: int, domain: Domain, draw: _Draws, loudness: float
) -> tuple[Tensor, Tensor]:
    """(masks uint8 (N, T, S, S), clips uint8 (N, 1, T, S, S))."""
    count, frames = volumes.shape
    axis = (torch.arange(size) + 0.5) / size
    y, x = (side.expand(count, frames, size, size) for side in (axis[:, None], axis[None, :]))
    at: Callable[[Tensor], Tensor] = lambda value: value.reshape(count, -1, 1, 1)  # noqa: E731

    length = at(draw.between(0.42, 0.56)) * at(volumes) ** 0.25
    width = at(draw.between(0.24, 0.34)) * at(volumes) ** 0.375  # volume goes with length x width^2
    tilt, shift = at(draw.between(-0.26, 0.26)), at(draw.between(-0.06, 0.06))
    top = at(draw.between(0.14, 0.2)) + 0.006 * torch.randn(count, frames, 1, 1, generator=draw.generator)
    across, along = x - 0.5 - shift, y - top
    u = (along * tilt.cos() + across * tilt.sin()) / length  # depth from apex, 0..1 in the ventricle
    v = across * tilt.cos() - along * tilt.sin()
    half = _half_width(u, width)
    inside = (u > 0) & (u < 1) & (v.abs() < half)

    thickness = 0.12 * at(draw.between(0.42, 0.56)) * (1.15 - 0.25 * at(volumes))
    outer = _half_width((u * length + thickness) / (length + thickness), width + 2 * thickness)
    wall = (u * length > -thickness) & (u < 1) & (v.abs() < outer) & ~inside
    atrium = (u >= 1) & (u < 1.45) & (v.abs() < 0.42 * width * (1.45 - u).clamp_min(0).mul(2.2).clamp_max(1).sqrt())
    opening = at(((phase - SYSTOLE) / (1 - SYSTOLE)).clamp(0, 1).mul(math.pi).sin().clamp_min(0))
    leaflet = (v.abs() - width * (0.12 + 0.25 * opening)).abs() < 0.012
    valve = ((u - 1).abs() < 0.035) & (v.abs() < 0.45 * width) & ((opening < 0.15) | leaflet)

    blood, outside = BLOOD, GROUND
    wall_level = outside + (WALL - outside) * at(draw.between(*domain.contrast))
    level = torch.full_like(v, outside)
    level = torch.where(wall, wall_level, level)
    level = torch.where(inside | atrium, torch.as_tensor(blood), level)
    level = torch.where(valve, torch.as_tensor(95.0), level)
    haze = at(draw.between(0.0, 14.0))  # reverberation near the probe: blood is not black there
    level = level + haze * (1 - y).clamp_min(0) ** 2
    lost = at((draw.between(0, 1) < domain.dropout).float()) * at(draw.between(0.3, 0.8))
    side = torch.where(at(draw.between(-1, 1)) > 0, v, -v)
    level = level * (1 - lost * ((side - 0.3 * width) / (0.2 * width)).clamp(0, 1))

    strength = at(draw.between(*domain.speckle)) * loudness
    picture = scanned(level, strength, draw.generator)
    fade = (1 - at(draw.between(0.1, 0.45)) * y) * at(draw.between(*domain.gain))
    sector = ((x - 0.5).abs() < (y + 0.02) * at(draw.between(0.7, 1.0))) & ((x - 0.5) ** 2 + y**2 < 0.98**2)
    picture = picture * fade * sector
    if domain.blur:
        picture = _blurred(picture, domain.blur * size / 64)
    clips = picture.mul(1.6).clamp(0, 255).round().to(torch.uint8)
    return (inside & sector).to(torch.uint8), clips[:, None]


def _half_width(u: Tensor, width: Tensor) -> Tensor:
    """Of half an ellipsoid with its apex at u = 0 and its widest disc at u = 1."""
    return width / 2 * (u * (2 - u)).clamp_min(0).sqrt()


def scanned(level: Tensor, strength: Tensor, generator: Generator) -> Tensor:
    """(N, T, S, S) what a probe sees of scatterers of the mean brightness `level` (N, T, S, S): their echoes, of random
    phase, add up over its point spread, which is wider along arcs. That is Rayleigh speckle, and an edge of `level` is
    as soft as a speckle is wide: a sharp one under soft speckle could be read off single pixels, without any heart.
    Speckle moves and is renewed slowly. strength: 1 as physics has it, 0 for none."""
    size, keep = level.shape[-1], 0.85
    spread = 0.7 * size / 64, 1.8 * size / 64
    echoes = torch.randn(2, *level.shape, generator=generator)
    for frame in range(1, level.shape[1]):
        echoes[:, :, frame] = keep * echoes[:, :, frame - 1] + math.sqrt(1 - keep**2) * echoes[:, :, frame]
    point = torch.zeros(1, size, size)
    point[0, size // 2, size // 2] = 1
    usual = _blurred(point, *spread).square().sum().sqrt() * math.sqrt(math.pi / 2)
    amplitude = _blurred(echoes * level, *spread).square().sum(0).sqrt() / usual
    smooth = _blurred(level, *spread)
    return (smooth + strength * (amplitude - smooth)).clamp_min(0)


def _blurred(pictures: Tensor, down: float, across: float | None = None) -> Tensor:
    """pictures (..., S, S) after a Gaussian of deviation `down` and `across` pixels."""
    flat = pictures.reshape(-1, 1, *pictures.shape[-2:])
    for sigma, axis in ((down, 2), (across or down, 3)):
        reach = max(1, math.ceil(2.5 * sigma))
        kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
        shape = [1, 1, 1, 1]
        shape[axis] = len(kernel)
        pad = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        flat = F.conv2d(F.pad(flat, pad, mode="replicate"), (kernel / kernel.sum()).view(shape))
    return flat.reshape(pictures.shape)


class _Draws:
    """One number for each of `count` films."""

    def __init__(self, count: int, generator: Generator) -> None:
        self.count, self.generator = count, generator

    def between(self, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(self.count, generator=self.generator)

    def normal(self, mean: float, deviation: float) -> Tensor:
        return mean + deviation * torch.randn(self.count, generator=self.generator)
