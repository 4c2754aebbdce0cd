"""Films in AVI files of JPEG pictures (MJPEG), as EchoNet-Dynamic has them: parsed by hand, bounded, nothing else."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import DataError
from ..files import read_regular, reason

MAX_FILE_BYTES = 256 * 1024**2
MAX_FRAMES = 10_000
MAX_FRAME_PIXELS = 1024 * 1024
MAX_FILM_PIXELS = 2**28
"""Of all frames together, three bytes each: JPEG makes a black frame of a megapixel out of a few thousand bytes."""
MAX_DEPTH = 4


def read_avi(path: Path) -> tuple[np.ndarray, float]:
    """(frames uint8 (T, H, W, 3), frames a second). Raises DataError for what is no such file, or too large."""
    try:
        content = read_regular(path, MAX_FILE_BYTES)
    except (OSError, ValueError) as fault:
        raise DataError(f"{path}: cannot be read ({reason(fault)})") from None
    if content[:4] != b"RIFF" or content[8:12] != b"AVI ":
        raise DataError(f"{path}: no AVI file; convert the film to one of MJPEG frames")
    frames, fps, room = [], 50.0, MAX_FILM_PIXELS
    for name, chunk in _chunks(memoryview(content), 12, len(content), MAX_DEPTH):
        if name == b"avih" and len(chunk) >= 4:
            microseconds = struct.unpack_from("<I", chunk)[0]
            fps = 1e6 / microseconds if microseconds else fps
        elif name[2:] in (b"dc", b"db") and len(chunk):
            if len(frames) == MAX_FRAMES:
                raise DataError(f"{path}: more than {MAX_FRAMES:,} frames; cut the film into parts")
            frames.append(_picture(chunk, path, room))
            room -= frames[-1].shape[0] * frames[-1].shape[1]
    if not frames or len({frame.shape for frame in frames}) != 1:
        raise DataError(f"{path}: {len(frames)} frames of {len({frame.shape for frame in frames})} sizes")
    return np.stack(frames), fps


def _chunks(content: memoryview, start: int, end: int, depth: int) -> Iterator[tuple[bytes, memoryview]]:
    """Every chunk that holds no others, in order; a size beyond its file is cut."""
    while start + 8 <= end:
        name, size = bytes(content[start : start + 4]), struct.unpack_from("<I", content, start + 4)[0]
        body, after = start + 8, min(end, start + 8 + size)
        if name == b"LIST" and depth:
            yield from _chunks(content, body + 4, after, depth - 1)
        else:
            yield name, content[body:after]
        start = after + size % 2


def _picture(chunk: memoryview, path: Path, room: int) -> np.ndarray:
    """room: pixels that are left for it."""
    try:
        with Image.open(io.BytesIO(chunk), formats=("JPEG",)) as picture:
            if picture.width * picture.height > MAX_FRAME_PIXELS:
                raise DataError(f"{path}: a frame of {picture.width}x{picture.height}; expected at most 1024x1024")
            if picture.width * picture.height > room:
                raise DataError(f"{path}: more than {MAX_FILM_PIXELS:,} pixels in all its frames; give a shorter film")
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as fault:
        raise DataError(f"{path}: a frame is no JPEG picture ({str(fault)[:80]}): only MJPEG films are read") from None
