"""WAV files that are not trusted: parsed by hand, bounded, plain PCM and floats, nothing else."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..files import read_regular

MAX_FILE_BYTES = 256 * 1024**2
MAX_CHANNELS = 32
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
LEVELS = 32_768
MAX_RESAMPLED = 2**25
"""Samples that a sound may have at another rate: a few bytes that claim a low one would become gigabytes."""


def read_wav(path: Path, rate: int | None = None, most: int | None = None) -> tuple[np.ndarray, int]:
    """(int16 (L,), samples a second) of a file; its channels are averaged, and it is resampled where `rate` asks for
    another. most: samples that are wanted; of a longer sound no more than these are decoded. Raises DataError for what
    is no such file, or too large."""
    try:
        content = read_regular(path, MAX_FILE_BYTES)
    except (OSError, ValueError) as fault:
        raise DataError(f"{path}: cannot be read ({fault})") from None
    return parse_wav(content, str(path), rate, most)


def parse_wav(
    content: bytes, where: str, rate: int | None = None, most: int | None = None
) -> tuple[np.ndarray, int]:  # fmt: skip
    """The same of the bytes of a WAV file. A program that writes into a pipe cannot know the length beforehand: a size
    beyond the file is cut. Raises DataError."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise DataError(f"{where}: no WAV file")
    form: tuple[int, int, int, int] | None = None
    place = 12
    while place + 8 <= len(content):
        name, size = content[place : place + 4], struct.unpack_from("<I", content, place + 4)[0]
        body = memoryview(content)[place + 8 : place + 8 + size]
        if name == b"fmt " and len(body) >= 16:
            code, channels, own, _, _, bits = struct.unpack_from("<HHIIHH", body)
            if code == EXTENSIBLE and len(body) >= 26:
                code = struct.unpack_from("<H", body, 24)[0]
            form = code, channels, own, bits
        elif name == b"data":
            if form is None:
                raise DataError(f"{where}: its sound comes before its format")
            return _at_rate(body, form, where, rate or form[2], most)
        place += 8 + size + size % 2
    raise DataError(f"{where}: has no sound in it")


def _at_rate(
    data: memoryview, form: tuple[int, int, int, int], where: str, rate: int, most: int | None
) -> tuple[np.ndarray, int]:
    """The first `most` samples at `rate`: cut before they are resampled, and so far behind their end that the filter
    sees what it would have seen."""
    code, channels, own, bits = form
    _require_form(code, channels, own, bits, where)
    up, down = rate // math.gcd(rate, own), own // math.gcd(rate, own)
    width = channels * bits // 8
    if most is not None:
        data = data[: (-(-most * down // up) + 10 * max(up, down) // up + 2) * width]
    if own != rate and (many := len(data) // width * up // down) > MAX_RESAMPLED:
        raise DataError(
            f"{where}: {own:,} samples a second would become {many:,} samples at {rate:,}; at most "
            f"{MAX_RESAMPLED:,} are made"
        )
    samples = _mono(data, code, channels, bits)
    return (samples if own == rate else resampled(samples, own, rate))[:most], rate


def _require_form(code: int, channels: int, rate: int, bits: int, where: str) -> None:
    """Raises DataError for a form that is not read."""
    if not (1 <= channels <= MAX_CHANNELS and 100 <= rate <= 384_000):
        raise DataError(f"{where}: {channels} channels of {rate:,} samples a second are not read")
    if (code, bits) not in ((PCM, 8), (PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32), (FLOAT, 64)):
        raise DataError(f"{where}: form {code} of {bits} bits is not read; save it as 16-bit PCM")


def _mono(data: memoryview, code: int, channels: int, bits: int) -> np.ndarray:
    """int16 (L,), the mean of the channels."""
    width = bits // 8
    data = data[: len(data) // (width * channels) * width * channels]
    if code == FLOAT:
        unit = np.frombuffer(data, f"<f{width}").astype(np.float64)
    elif width == 1:
        unit = np.frombuffer(data, np.uint8) / 128.0 - 1
    elif width == 3:
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
        unit = ((parts[:, 0] << 8 | parts[:, 1] << 16 | parts[:, 2] << 24) >> 8) / 2.0**23
    else:
        unit = np.frombuffer(data, f"<i{width}") / 2.0 ** (bits - 1)
    return to_int16(np.nan_to_num(unit.reshape(-1, channels).mean(1), nan=0.0, posinf=1.0, neginf=-1.0))


def to_int16(unit: np.ndarray) -> np.ndarray:
    """Samples of -1..1, rounded; what lies beyond is cut."""
    return (unit * LEVELS).round().clip(-LEVELS, LEVELS - 1).astype(np.int16)


def resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """int16 (L',) at another rate, through a filter that keeps out what the new one cannot hold."""
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    return to_int16(resample_poly(samples / LEVELS, wanted // common, rate // common))


def wav_bytes(samples: np.ndarray, rate: int) -> bytes:
    """A WAV file of int16 (L,)."""
    data = np.ascontiguousarray(samples, "<i2").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, PCM, 1, rate, 2 * rate, 2, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", 36 + len(data), b"WAVE") + form + struct.pack("<4sI", b"data", len(data)) + data
    )
