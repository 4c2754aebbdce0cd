"""Labelled sounds: a folder with a sub-folder of WAV files per class, a manifest that names files and classes, or a set
known by name.

Under SANSDATA_DATA: fsdd/fsdd_8k.npz, the Free Spoken Digit Dataset (Jackson et al.): its 'audio' in one row of int16,
with 'length', 'digit', 'speaker' and 'take' of each clip. Takes 0 to 4 are the test, as its authors have it.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from ..decoding.arrays import read_array
from ..decoding.limits import MAX_SET_BYTES
from ..decoding.wav import read_wav, resampled
from ..errors import DataError
from ..files import read_regular, text_lines
from ..kinds.inputs.waveform import Waveforms
from ..kinds.outputs.transcript import Transcripts
from ..tasks import Task, WaveformSpec
from .imageset import check_labels, class_number
from .labelled import KindSet

FSDD, FSDD_RATE = "fsdd/fsdd_8k.npz", 8_000
TEST_TAKES = 5
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MAX_SOUNDS = 200_000
MAX_MANIFEST_BYTES = 64_000_000
Labelled = list[tuple[np.ndarray, str]]


def load_sounds(spec: str | Path, task: Task, split: str = "test") -> KindSet:
    """The labelled sounds of `spec`, resampled to the task's rate and cut to its length.

    A folder has a folder of .wav files per class; a .tsv or .csv manifest a path and a class a line, paths relative to
    it. 'fsdd' is known by name. Raises DataError for what cannot be found or read.
    """
    names = task.names
    if str(spec) == "fsdd":
        clips = fsdd(split)
        sounds = clips.sounds
        if task.inputs.rate != FSDD_RATE:
            sounds = [resampled(sound, FSDD_RATE, task.inputs.rate) for sound in sounds]
        pairs = [(sound, str(digit)) for sound, digit in zip(sounds, clips.digits.tolist())]
    else:
        pairs = _of_path(Path(spec).expanduser(), task.inputs)
    if not pairs:
        raise DataError(f"{spec}: no sounds; give at least one with its class")
    labels = np.array([_class_of(label, names, str(spec)) for _, label in pairs], dtype=np.int64)
    check_labels(labels, task.classes, str(spec))
    sounds = [sound for sound, _ in pairs]
    return KindSet(task, Waveforms(task.inputs).read(sounds), labels, names, str(spec), _cut(sounds, task))


def load_transcribed(spec: str | Path, task: Task, split: str = "test") -> KindSet:
    """Sounds with what is said in them: a .tsv or .csv manifest of paths and texts, or 'fsdd' with the digits as words.
    Raises DataError for what cannot be found or read."""
    kind, path = Transcripts(task.outputs), Path(spec).expanduser()
    if str(spec) == "fsdd":
        clips = fsdd(split)
        sounds = [resampled(sound, FSDD_RATE, task.inputs.rate) for sound in clips.sounds]
        texts = [DIGITS[digit] for digit in clips.digits]
    elif path.is_file() and path.suffix.lower() in (".tsv", ".csv"):
        entries = read_manifest(path)
        sounds, texts = _sounds(entries, task.inputs), [text for _, text in entries]
    else:
        raise DataError(
            f"'{str(spec)[:200]}' is neither fsdd nor a .tsv or .csv manifest of paths and what is said there"
        )
    if not sounds:
        raise DataError(f"{spec}: no sounds; give at least one with what is said in it")
    notes = _cut(sounds, task)
    if unwritable := kind.unwritable(texts):
        notes += (f"{unwritable:,} letters of the texts are not in the alphabet and were left out of them",)
    return KindSet(task, Waveforms(task.inputs).read(sounds), kind.references(texts).numpy(), (), str(spec), notes)


def _cut(sounds: Sequence[np.ndarray], task: Task) -> tuple[str, ...]:
    """What to say of sounds that are longer than the task's."""
    long = sum(len(sound) > task.inputs.length for sound in sounds)
    return (f"{long:,} of {len(sounds):,} sounds were cut to {task.inputs.seconds:g} s",) if long else ()


class Clips:
    """Spoken digits. sounds: int16 (L,) each at FSDD_RATE; digits, takes: (N,); speakers: (N,) names."""

    def __init__(self, sounds: list[np.ndarray], digits: np.ndarray, speakers: np.ndarray, takes: np.ndarray) -> None:
        self.sounds, self.digits, self.speakers, self.takes = sounds, digits, speakers, takes

    def where(self, keep: np.ndarray) -> Clips:
        """keep: (N,) bool."""
        ids = np.flatnonzero(keep)
        return Clips([self.sounds[place] for place in ids], self.digits[ids], self.speakers[ids], self.takes[ids])


@cache
def fsdd(split: str) -> Clips:
    """split: 'test', takes 0 to 4 of each speaker and digit; 'train', the others; 'held-out', takes 5 to 9 of these;
    'fit', the rest. Raises DataError."""
    root = os.environ.get("SANSDATA_DATA")
    path = Path(root or ".") / FSDD
    if root is None or not path.is_file():
        raise DataError(f"fsdd is not on this machine: set SANSDATA_DATA to a folder with {FSDD}")
    audio, length, digit, speaker, take = (
        read_array(path, name) for name in ("audio", "length", "digit", "speaker", "take")
    )
    ends = np.cumsum(length)
    if audio.dtype != np.int16 or not len(length) or ends[-1] != len(audio) or (length < 1).any():
        raise DataError(f"{path}: its lengths do not add up to its {len(audio):,} samples")
    whole = Clips(np.split(audio, ends[:-1]), digit.astype(np.int64), speaker, take)
    parts = {
        "test": take < TEST_TAKES, "train": take >= TEST_TAKES, "fit": take >= 2 * TEST_TAKES,
        "held-out": (take >= TEST_TAKES) & (take < 2 * TEST_TAKES),
    }  # fmt: skip
    if split not in parts:
        raise DataError(f"fsdd has the parts {', '.join(parts)}, not '{split[:40]}'")
    return whole.where(parts[split])


def _of_path(path: Path, spec: WaveformSpec) -> Labelled:
    if path.is_dir():
        entries = _files_of(path)
    elif path.is_file() and path.suffix.lower() in (".tsv", ".csv"):
        entries = read_manifest(path)
    else:
        raise _neither(path)
    return list(zip(_sounds(entries, spec), (label for _, label in entries)))


def _sounds(entries: list[tuple[Path, str]], spec: WaveformSpec) -> list[np.ndarray]:
    """int16 (L,) of each file, at the rate of the task and to one sample beyond its length, by which one sees that
    there was more."""
    if (need := 2 * len(entries) * spec.length) > MAX_SET_BYTES:
        raise DataError(
            f"{len(entries):,} sounds of {spec.seconds:g} s take {need / 2**30:.1f} GiB; at most "
            f"{MAX_SET_BYTES / 2**30:.0f} GiB is read. Give fewer sounds, or a task of shorter ones"
        )
    return [read_wav(file, spec.rate, spec.length + 1)[0] for file, _ in entries]


def _neither(path: Path) -> DataError:
    return DataError(
        f"'{str(path)[:200]}' is neither a known set of sounds (fsdd), a folder of class folders with .wav files, nor "
        "a .tsv or .csv manifest of paths and classes"
    )


def _files_of(root: Path) -> list[tuple[Path, str]]:
    folders = sorted(one for one in root.iterdir() if one.is_dir() and not one.name.startswith("."))
    files = [
        (file, folder.name) for folder in folders for file in sorted(folder.iterdir())
        if file.suffix.lower() == ".wav" and file.is_file() and not file.is_symlink()
    ]  # fmt: skip
    if len(files) > MAX_SOUNDS:
        raise DataError(f"{root}: {len(files):,} sounds; at most {MAX_SOUNDS:,} are read")
    return files


def read_manifest(path: Path) -> list[tuple[Path, str]]:
    """(file, what the second column says) of each line of a .tsv or .csv file. A file lies at or below the folder of
    the manifest. Raises DataError."""
    try:
        text = read_regular(path, MAX_MANIFEST_BYTES).decode("utf-8-sig")
        plain = path.suffix.lower() == ".tsv"
        table = [line.split("\t") for line in text_lines(text)] if plain else csv.reader(io.StringIO(text, newline=""))
        rows = list(table)
    except (OSError, ValueError, csv.Error) as fault:
        raise DataError(f"{path}: cannot be read as a manifest ({str(fault)[:200]})") from None
    entries, root = [], path.parent.resolve()
    for number, row in enumerate((row for row in rows if any(row)), 1):
        if len(row) < 2:
            raise DataError(f"{path}: line {number} has {len(row)} field; expected a path and what is said there")
        if number == 1 and not row[0].lower().endswith(".wav"):
            continue  # a line of names
        file = (root / row[0].strip()).resolve()
        if not file.is_relative_to(root):
            raise DataError(f"{path}: line {number} names a file outside of the manifest's folder")
        entries.append((file, row[1].strip()))
    if len(entries) > MAX_SOUNDS:
        raise DataError(f"{path}: {len(entries):,} sounds; at most {MAX_SOUNDS:,} are read")
    return entries


def _class_of(label: str, names: tuple[str, ...], source: str) -> int:
    if label in names:
        return names.index(label)
    if (number := class_number(label)) is not None:
        return number
    raise DataError(f"{source}: class {label[:40]!r} is none of the task's: {', '.join(names[:20])}")
