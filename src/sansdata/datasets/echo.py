"""Films of the heart with what is known of them: EchoNet-Dynamic, EchoNet-Synthetic and CAMUS, as their folders lie.

None of them comes with sansdata, nor can it fetch them: each has terms of use of its own. Layouts:
- EchoNet-Dynamic, and EchoNet-Synthetic which follows it: FileList.csv (FileName, EF, FPS, Split), Videos/NAME.avi
  (MJPEG) and, for the first, VolumeTracings.csv (FileName, X1, Y1, X2, Y2, Frame), two traced frames a film;
- CAMUS: patientNNNN/patientNNNN_4CH_half_sequence.nii.gz, the same with _gt for its masks (1 is the ventricle), and
  Info_4CH.cfg (ED, ES, EF, FrameRate).
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ..decoding.avi import read_avi
from ..decoding.nifti import read_nifti
from ..decoding.shape import resize
from ..errors import DataError
from ..files import read_regular, text_lines

MAX_TABLE_BYTES = 64 * 1024**2
VENTRICLE = 1
NAME = re.compile(r"[A-Za-z0-9_\-]{1,100}")
"""Of a film in a table: never a path."""


@dataclass(frozen=True, eq=False)
class EchoFilm:
    """frames: uint8 (T, H, W, C). masks: those of `traced` frames, bool (len(traced), H, W). ed, es: frames of the ends
    of filling and of emptying. ef: percent, nan where unknown. fps: frames a second."""

    frames: np.ndarray
    traced: Sequence[int]
    masks: np.ndarray
    ed: Sequence[int]
    es: Sequence[int]
    ef: float
    fps: float
    name: str = ""


def echonet(folder: Path, split: str = "test") -> Iterator[EchoFilm]:
    """The films of `split` ('train', 'val', 'test' or 'all') in FileList.csv, one after the other.

    Which traced frame is the full one is decided by the larger area, never by their order, in which releases differ.
    Films without tracings have no masks and no events. Raises DataError.
    """
    traced: dict[str, dict[int, list[tuple[float, ...]]]] = {}
    if (folder / "VolumeTracings.csv").is_file():
        for row in _table(folder / "VolumeTracings.csv"):
            points = tuple(_number(row, side, folder) for side in ("X1", "Y1", "X2", "Y2"))
            of_film = traced.setdefault(_name(row, folder), {})
            of_film.setdefault(int(_number(row, "Frame", folder)), []).append(points)
    for row in _table(folder / "FileList.csv"):
        if split in ("all", (row.get("Split") or "").lower()):
            yield _echonet_film(folder, row, traced.get(_name(row, folder), {}))


def _echonet_film(folder: Path, row: Mapping[str, str], traced: Mapping[int, Sequence[tuple[float, ...]]]) -> EchoFilm:
    name = _name(row, folder)
    frames, fps = read_avi(folder / "Videos" / f"{name}.avi")
    there = {frame: lines for frame, lines in traced.items() if 0 <= frame < len(frames)}
    known = {frame: _traced_mask(lines, frames.shape[1:3]) for frame, lines in there.items()}
    by_area = sorted(known, key=lambda frame: int(known[frame].sum()))
    masks = np.stack([known[frame] for frame in by_area]) if known else np.zeros((0, *frames.shape[1:3]), bool)
    two = len(by_area) >= 2
    return EchoFilm(
        frames, by_area, masks, by_area[-1:] if two else (), by_area[:1] if two else (),
        _number(row, "EF", folder) if row.get("EF") else float("nan"),
        _number(row, "FPS", folder) if row.get("FPS") else fps, name,
    )  # fmt: skip


def _traced_mask(lines: Sequence[tuple[float, ...]], size: tuple[int, ...]) -> np.ndarray:
    """bool (H, W). lines: (x1, y1, x2, y2); the first is the long axis, the others cross it from apex to base."""
    across = lines[1:]
    outline = [(x1, y1) for x1, y1, _, _ in across] + [(x2, y2) for _, _, x2, y2 in reversed(across)]
    picture = Image.new("1", (size[1], size[0]))
    if len(outline) >= 3:
        ImageDraw.Draw(picture).polygon(outline, fill=1)
    return np.asarray(picture, dtype=bool)


def camus(folder: Path, view: str = "4CH", size: int | None = None) -> Iterator[EchoFilm]:
    """The films of one view ('4CH' or '2CH') of every patient, half a beat each. size: pixels of a side to bring them
    to; None leaves them. Raises DataError."""
    patients = sorted(path for path in folder.iterdir() if path.is_dir() and NAME.fullmatch(path.name))
    if not patients:
        raise DataError(f"{folder}: no folders patientNNNN")
    for patient in patients:
        stem = patient / f"{patient.name}_{view}_half_sequence"
        pictures, masks = (_frames(stem.with_name(f"{stem.name}{end}.nii.gz")) for end in ("", "_gt"))
        if pictures.shape != masks.shape:
            raise DataError(f"{stem}: pictures {pictures.shape} and masks {masks.shape}")
        info = _info(patient / f"Info_{view}.cfg")
        ed, es = (int(info.get(key, 0)) - 1 for key in ("ED", "ES"))  # frames are counted from 1 there
        if not (0 <= ed < len(pictures) and 0 <= es < len(pictures)):
            raise DataError(f"{patient}: ED {ed + 1} and ES {es + 1} of {len(pictures)} frames")
        grey = pictures.clip(0, 255).astype(np.uint8)[..., None]
        inside = (masks == VENTRICLE).astype(np.uint8)[..., None]
        if size is not None:
            grey, inside = resize(grey, size, size), resize(255 * inside, size, size) // 128
        yield EchoFilm(
            grey, range(len(grey)), inside[..., 0].astype(bool), (ed,), (es,), info.get("EF", float("nan")),
            info.get("FrameRate", 50.0), patient.name,
        )  # fmt: skip


def _frames(path: Path) -> np.ndarray:
    """(T, H, W): NIfTI has x, y, t."""
    volume = np.squeeze(read_nifti(path))
    if volume.ndim != 3:
        raise DataError(f"{path}: expected (x, y, t), got {volume.shape}")
    return volume.transpose(2, 1, 0)


def _info(path: Path) -> dict[str, float]:
    """The numbers of an Info file, by name."""
    entries: dict[str, float] = {}
    for line in text_lines(_text(path)):
        key, _, value = line.partition(":")
        with contextlib.suppress(ValueError):
            if math.isfinite(number := float(value)):
                entries[key.strip()] = number
    return entries


def _table(path: Path) -> list[dict[str, str]]:
    try:
        return list(csv.DictReader(io.StringIO(_text(path), newline="")))
    except csv.Error as fault:
        raise DataError(f"{path}: cannot be read as a table ({fault})") from None


def _text(path: Path) -> str:
    try:
        return read_regular(path, MAX_TABLE_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError) as fault:
        raise DataError(f"{path}: cannot be read ({fault})") from None


def _name(row: Mapping[str, str], folder: Path) -> str:
    name = (row.get("FileName") or "").removesuffix(".avi")
    if not NAME.fullmatch(name):
        raise DataError(f"{folder}: a film is called '{name[:60]}'; expected letters and figures")
    return name


def _number(row: Mapping[str, str], key: str, folder: Path) -> float:
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if math.isfinite(number := float(row[key])):
            return number
    raise DataError(f"{folder}: '{key}' of a row is {row.get(key)!r:.40}; expected a number")
