"""One image file as pixels, whatever it claims to be."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, ImageOps

from .limits import IMAGE_FORMATS, MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS

Background = Literal["white", "black"]
"""What a transparent picture is seen on."""
NO_GROUND = "drawn by its transparency alone"


class Unreadable(Exception):
    """This one image is left out, for the reason given."""


def decode(
    file: Path | BinaryIO, shape: tuple[int, int, int] | None, background: Background | None = None
) -> tuple[np.ndarray, list[str]]:
    """(uint8 (H, W, C), what was done to it). shape (C, H, W): None leaves the size and gives RGB.

    file: a path, or the bytes of a file. background: None drops transparency. Raises Unreadable with the reason.
    """
    notes: list[str] = []
    try:
        if isinstance(file, Path):
            require_size(file)
        # warnings off, because Pillow's own size warning comes at another limit than ours
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=IMAGE_FORMATS) as image:
            if image.width * image.height > MAX_IMAGE_PIXELS:
                raise Unreadable(f"{image.width}x{image.height} pixels; at most {MAX_IMAGE_PIXELS:,} are read")
            if getattr(image, "is_animated", False):
                notes.append("animated, its first frame taken")
                image.seek(0)
            upright = ImageOps.exif_transpose(image)
            plain = _eight_bit(upright, notes, background).convert("L" if shape and shape[0] == 1 else "RGB")
        if shape and plain.size != (shape[2], shape[1]):
            notes.append(f"resized to {shape[1]}x{shape[2]} (bilinear)")
            plain = plain.resize((shape[2], shape[1]), Image.Resampling.BILINEAR)
    except Unreadable:
        raise
    except Exception as fault:  # decoders raise anything on broken bytes: struct.error, SyntaxError, IndexError ...
        raise Unreadable(_reason(fault)) from None
    array = np.asarray(plain)
    return (array[..., None] if array.ndim == 2 else array), notes


def require_size(path: Path) -> None:
    """Raises Unreadable for a file too large to be one image, OSError where it cannot be looked up."""
    if path.stat().st_size > MAX_IMAGE_BYTES:
        raise Unreadable(f"larger than {MAX_IMAGE_BYTES // 2**20} MiB")


def _eight_bit(image: Image.Image, notes: list[str], background: Background | None) -> Image.Image:
    if image.mode == "F":
        raise Unreadable("float pixels; save it with 8 bits a channel")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65_535:
            raise Unreadable("32-bit pixels; save it with 8 bits a channel")
        notes.append("16 bits a pixel, the upper 8 taken")
        return Image.fromarray((values >> 8).astype(np.uint8))
    if image.has_transparency_data:
        return _opaque(image, notes, background)
    if image.mode == "CMYK":
        notes.append("CMYK converted to RGB")
    return image


def _opaque(image: Image.Image, notes: list[str], background: Background | None) -> Image.Image:
    """Raises Unreadable for a picture that is drawn by its transparency alone, of which dropping it leaves nothing."""
    opaque = image.convert("RGBA")
    if background is not None:
        notes.append(f"transparent, composed on {background}")
        return Image.alpha_composite(Image.new("RGBA", opaque.size, background), opaque)
    *colours, alpha = opaque.split()
    if _varies(alpha) and not any(_varies(colour) for colour in colours):
        raise Unreadable(f"{NO_GROUND}, which is dropped; compose it on white or black")
    notes.append("transparency dropped")
    return image


def _varies(channel: Image.Image) -> bool:
    least, most = channel.getextrema()
    return least != most


def _reason(fault: Exception) -> str:
    if isinstance(fault, Image.UnidentifiedImageError):
        return "not an image, or of a kind that is not read"
    text = " ".join(str(fault).split())[:120]
    return text or type(fault).__name__
