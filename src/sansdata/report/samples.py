"""Samples that a run kept, as a person sees them: a picture, a text or a record each, with its caption."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from torch import Tensor

from .. import columns
from ..decoding.arrays import read_arrays
from ..errors import DataError, SansdataError
from ..figures import Film, Picture, Preview, Record, Sound, Text
from ..files import by_step, open_regular, reason
from ..kinds.base import OutputKind
from ..kinds.index import input_kind, output_kind
from ..kinds.outputs import mask_drawing
from ..tasks import Task
from . import plots
from .media import data_uri, film_uri, sound_uri
from .words import clip

PER_GRID = 12
WHOSE = {"teacher": "logits", "student": "student"}
"""Whose answers -> the array of a grid that holds them."""
MAX_GRID_BYTES = 512_000_000
MAX_TEXT = 400
MAX_COLUMNS = 40
MOST_FILMS, FILM_BYTES = 4, 3
"""Films of a grid that are shown, each for so many pictures' bytes."""
MOST_SOUNDS = 6
FAULTS = (SansdataError, OSError, ValueError, TypeError, RuntimeError, MemoryError)
"""What a damaged file, or arrays of another task, may raise."""


@dataclass(frozen=True)
class Sample:
    """name: what the teacher takes it for, sure: how surely; both empty where the file does not say."""

    preview: Preview
    name: str = ""
    sure: str = ""


@dataclass(frozen=True)
class Grid:
    """The first samples that were kept at one step, of `count`. legend: how to read what is drawn into them, or ''."""

    step: int
    samples: tuple[Sample, ...]
    count: int
    legend: str


def read_grids(folder: Path, task: Task | None, wanted: int, faults: list[str]) -> tuple[list[Grid], int]:
    """(at most `wanted` of the grids in `folder`, spread over the run; how many there are). A file that cannot be shown
    is a line in `faults`."""
    if folder.is_symlink():
        faults.append("samples: a link, which is not followed")
        return [], 0
    try:
        files = by_step(folder, ".npz")
    except OSError as fault:
        faults.append(f"samples: cannot be listed ({reason(fault)})")
        return [], 0
    if task is None:
        return [], len(files)
    grids, wanted = [], min(wanted, len(files))
    for place in sorted({round(i * (len(files) - 1) / max(wanted - 1, 1)) for i in range(wanted)}):
        step, path = files[place]
        try:
            grids.append(_read_grid(step, path, task))
        except FAULTS as fault:
            faults.append(f"samples/{path.name}: left out ({clip(reason(fault), 300)})")
    return grids, len(files)


def _read_grid(step: int, path: Path, task: Task) -> Grid:
    """Raises DataError for a damaged file, ValueError for arrays that are none of the task, OSError."""
    with open_regular(path, MAX_GRID_BYTES) as file:
        arrays = read_arrays(file, path.name, MAX_GRID_BYTES)
    kind = input_kind(task)
    packed = kind.from_arrays(arrays)
    count = columns.count(packed)
    if count == 0:
        raise DataError("no samples in it")
    outputs = output_kind(task)
    answers = {
        whose: first for whose, name in WHOSE.items() if name in arrays
        and (first := outputs.from_array(np.atleast_1d(arrays[name])[:PER_GRID], min(count, PER_GRID))) is not None
    }  # fmt: skip
    captions = _captions(answers.get("teacher"), outputs, task)
    plain = kind.preview(columns.take(packed, slice(PER_GRID)))
    drawn = outputs.drawn(plain, answers)
    legend = outputs.legend(tuple(answers)) if answers and drawn[0] is not plain[0] else ""
    return Grid(step, tuple(Sample(preview, *caption) for preview, caption in zip(drawn, captions)), count, legend)


def _captions(answers: Tensor | None, kind: OutputKind, task: Task) -> list[tuple[str, str]]:
    """Of the first samples; empty texts where the file holds no answers to them."""
    if answers is None:
        return [("", "")] * PER_GRID
    captions = kind.captions(answers.numpy(), task.name_of)
    return [(clip(name, 80), clip(sure, 40)) for name, sure in captions]


# -- as rows of a page


def rows_of(samples: Sequence[Sample], picture_bytes: int) -> dict[str, Any]:
    """What a page shows of samples: pictures as data URIs of about `picture_bytes` each, films, sounds, texts, and
    records as a table.

    All have 'name' and 'sure'; 'captioned': whether one of them says anything.
    """
    pictures, films, sounds, texts, records = [], [], [], [], []
    for sample in samples:
        caption = {"name": sample.name, "sure": sample.sure}
        match sample.preview:
            case Picture(pixels):
                height, width = pixels.shape[:2]
                pictures.append(caption | {"uri": data_uri(pixels, picture_bytes), "size": f"{width}×{height}"})
            case Film():
                films.append(caption | _film(sample.preview, FILM_BYTES * picture_bytes))
            case Sound():
                sounds.append(caption | _sound(sample.preview, picture_bytes))
            case Text(text):
                texts.append(caption | {"text": clip(text, MAX_TEXT)})
            case Record(fields):
                records.append((caption, fields))
    return {
        "pictures": pictures, "films": films[:MOST_FILMS], "sounds": sounds[:MOST_SOUNDS], "texts": texts,
        "records": _table(records), "captioned": any(sample.name for sample in samples),
    }  # fmt: skip


def _film(film: Film, limit: int) -> dict[str, Any]:
    """uri, size, and the curves below it as an SVG, '' where it has none."""
    frames, height, width = film.frames.shape[:3]
    curves = {name: [(frame / film.fps, value) for frame, value in enumerate(row)] for name, row in film.curves.items()}
    key = f"film{zlib.crc32(film.frames.tobytes()):x}"
    small = {"size": (2.8, 1.7), "colours": tuple(mask_drawing.COLOURS)}  # the contours' own colours
    drawn = Markup(plots.lines(key, "area of the mask over time, in seconds", curves, **small)) if curves else ""
    return {"uri": film_uri(film.frames, film.fps, limit), "size": f"{frames} frames of {width}×{height}", "svg": drawn}


def _sound(sound: Sound, picture_bytes: int) -> dict[str, Any]:
    """uri of a picture of its bands, heard: of what is played, size."""
    return {
        "uri": data_uri(sound.spectrogram, picture_bytes), "heard": sound_uri(sound.samples, sound.rate),
        "size": f"{len(sound.samples) / sound.rate:.2f} s",
    }  # fmt: skip


def _table(records: Sequence[tuple[dict[str, str], Mapping[str, str]]]) -> dict[str, Any]:
    """Columns, rows with a cell for each, and how many columns are left out."""
    names = list(dict.fromkeys(name for _, fields in records for name in fields))
    shown = names[:MAX_COLUMNS]
    rows = [caption | {"cells": [clip(fields.get(name, ""), 60) for name in shown]} for caption, fields in records]
    return {"columns": [clip(name, 60) for name in shown], "rows": rows, "more": len(names) - len(shown)}
