"""Masks drawn into the samples that they belong to: contours in a colour for each of those who drew them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...figures import Film, Picture, Preview

COLOURS = {"orange": (240, 160, 30), "blue": (40, 150, 240), "green": (60, 190, 90)}
"""Of the first, second and third whose masks are drawn."""


def edges(mask: np.ndarray) -> np.ndarray:
    """bool (..., H, W): pixels of a mask of classes whose right or lower neighbour is of another class."""
    edge = np.zeros(mask.shape, dtype=bool)
    edge[..., :, :-1] |= mask[..., :, 1:] != mask[..., :, :-1]
    edge[..., :-1, :] |= mask[..., 1:, :] != mask[..., :-1, :]
    return edge


def outlined(pixels: np.ndarray, masks: Sequence[np.ndarray]) -> np.ndarray:
    """uint8 (..., H, W, 3): the boundaries of each of `masks`, (..., H, W), drawn into `pixels` (..., H, W, 1 or 3)."""
    coloured = np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels.copy()
    for mask, colour in zip(masks, COLOURS.values()):
        coloured[edges(mask)] = colour
    return coloured


def legend(whose: Sequence[str]) -> str:
    """Such as 'Contours: orange the teacher's, blue the student's.'"""
    return "Contours: " + ", ".join(f"{colour} the {name}'s" for colour, name in zip(COLOURS, whose)) + "."


def drawn(previews: Sequence[Preview], several: Mapping[str, np.ndarray]) -> list[Preview]:
    """Pictures and films with the contours of several masks each, uint8 (N, ..., H, W), and below a film the area of
    each; other previews, and masks of another size than the picture, as they are."""
    named = [{whose: masks[place] for whose, masks in several.items()} for place in range(len(previews))]
    return [_with(preview, masks) for preview, masks in zip(previews, named)]


def _with(preview: Preview, masks: Mapping[str, np.ndarray]) -> Preview:
    pixels = preview.pixels if isinstance(preview, Picture) else preview.frames if isinstance(preview, Film) else None
    if pixels is None or any(mask.shape != pixels.shape[:-1] for mask in masks.values()):
        return preview
    drawn = outlined(pixels, list(masks.values()))
    if isinstance(preview, Picture):
        return Picture(drawn)
    assert isinstance(preview, Film)
    areas = {whose: (mask > 0).mean((1, 2)).tolist() for whose, mask in masks.items()}
    return Film(drawn, preview.fps, areas)
