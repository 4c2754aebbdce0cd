"""Pictures, films and sounds as data URIs, within a budget of bytes for the whole page."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from ..decoding.wav import wav_bytes

_SIDES = (224, 160, 112, 80, 56, 40, 28)
MAX_SECONDS = 5.0
MOST_RATE = 16_000


def data_uri(image: np.ndarray, limit: int) -> str:
    """`image` (H, W, 1 or 3) uint8 as a data URI of about `limit` bytes at most.

    Exact pixels (PNG) where they fit; otherwise a smaller JPEG, because large noise does not compress.
    """
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    exact = _encode(picture, "PNG") if image.size <= 4 * limit else b""
    if exact and len(exact) * 4 <= limit * 3:
        return _uri(exact, "image/png")
    small = b""
    for side in _SIDES:
        scale = min(1.0, side / max(picture.size))
        shape = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        small = _encode(picture.resize(shape, Image.Resampling.BOX), "JPEG")
        if len(small) * 4 <= limit * 3:
            break
    return _uri(small, "image/jpeg")


def film_uri(frames: np.ndarray, fps: float, limit: int) -> str:
    """`frames` (T, H, W, 1 or 3) uint8 as an endless animation in a data URI of about `limit` bytes at most: a WebP,
    smaller and of fewer frames until it fits. It needs no player and no other file."""
    content = b""
    for scale, every in ((1.0, 1), (1.0, 2), (0.5, 2), (0.5, 4), (0.25, 4)):
        pictures = [Image.fromarray(frame[:, :, 0] if frame.shape[2] == 1 else frame) for frame in frames[::every]]
        width, height = pictures[0].size
        size = (max(1, round(scale * width)), max(1, round(scale * height)))
        small = [picture.convert("RGB").resize(size, Image.Resampling.BOX) for picture in pictures]
        buffer = io.BytesIO()
        small[0].save(
            buffer, "WEBP", save_all=True, append_images=small[1:], loop=0, quality=70, method=0,
            duration=max(10, round(1000 * every / fps)),
        )  # fmt: skip
        content = buffer.getvalue()
        if len(content) * 4 <= limit * 3:
            break
    return _uri(content, "image/webp")


def sound_uri(samples: np.ndarray, rate: int) -> str:
    """int16 (L,) as a WAV file in a data URI: its first seconds, at MOST_RATE or less."""
    every = max(1, round(rate / MOST_RATE))
    part = samples[: int(MAX_SECONDS * rate)]
    if every > 1:
        part = part[: len(part) // every * every].reshape(-1, every).mean(1).astype(np.int16)
    return _uri(wav_bytes(part, rate // every), "audio/wav")


def _encode(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"optimize": True} if kind == "PNG" else {"quality": 80}))
    return buffer.getvalue()


def _uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
