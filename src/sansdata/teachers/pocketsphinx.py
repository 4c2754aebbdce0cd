"""PocketSphinx as a teacher that is only asked: the recogniser of US English that the package `pocketsphinx` brings,
model and all (Huggins-Daines et al. 2006). Nothing is fetched.

Of classes it is given a grammar of their names, so that it hears one of them or nothing. Of transcripts it hears by its
own language model.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..contracts import Access
from ..decoding.wav import resampled, to_int16
from ..errors import MissingLibraryError, TeacherError
from ..kinds.outputs.transcript import IGNORED, Transcripts
from ..objectives.edits import normalised
from ..tasks import Task
from .base import Teacher, freeze
from .scores import LABEL_LOGIT, SMALLEST

NAME = "pocketsphinx"
RATE = 16_000
PAUSE = 0.1
"""Seconds of silence at both ends: a word that begins at once is often missed."""
GRAMMAR = "words"
MODEL = ("cmudict-en-us.dict", "en-us.lm.bin", "en-us-phone.lm.bin")


def is_pocketsphinx(spec: str) -> bool:
    return spec == NAME


def pocketsphinx_files(spec: str) -> list[Path]:
    """The files of its model, which it reads by itself."""
    package = find_spec(NAME)
    if package is None or not package.submodule_search_locations:
        return []
    folder = Path(package.submodule_search_locations[0]) / "model" / "en-us"
    return [*(folder / name for name in MODEL), *sorted((folder / "en-us").glob("*"))]


def load_pocketsphinx(spec: str, task: Task) -> Teacher:
    """Raises MissingLibraryError without the package, TeacherError for another job, or for names of classes that are no
    words of its dictionary."""
    if task.pair not in (("waveform", "classes"), ("waveform", "transcript")):
        raise TeacherError(f"{NAME}: a recogniser of speech, and this is a task of {' x '.join(task.pair)}")
    try:
        library = import_module(NAME)
    except ImportError as fault:
        raise MissingLibraryError(
            f"the teacher {NAME} needs the package of that name ({fault}): pip install {NAME}"
        ) from None
    name = f"{NAME} {version(NAME)}"
    note = f"{name}: says how sure it is of what it heard; all else is alike to it"
    names = [task.name_of(label) for label in range(task.classes)] if task.pair[1] == "classes" else []
    decoder = library.Decoder(samprate=float(RATE), loglevel="FATAL", **({"lm": None} if names else {}))
    if names:
        decoder.add_jsgf_string(GRAMMAR, grammar_of(names, decoder))
        decoder.activate_search(GRAMMAR)
        module: nn.Module = HeardClasses(decoder, task.inputs.rate, name, names)
    else:
        module = HeardTexts(decoder, task.inputs.rate, name, Transcripts(task.outputs))
    own = task.seen_through({"door": "black-box", "names": ["waveform", "length"]})
    return Teacher(freeze(module), own, None, NAME, None, most=Access.SCORES, notes=[note])


def grammar_of(names: list[str], decoder: Any) -> str:
    """JSGF of texts of which one is said. Raises TeacherError for a name with a word that the dictionary lacks."""
    texts = [normalised(name) for name in names]
    if len(set(texts)) < len(texts) or not all(texts):
        raise TeacherError(f"{NAME}: the names of the classes must be words, each another; got {', '.join(names[:20])}")
    unknown = sorted({word for text in texts for word in text.split() if decoder.lookup_word(word) is None})
    if unknown:
        raise TeacherError(f"{NAME}: its dictionary lacks {', '.join(unknown[:10])}; name the classes by words of US "
                           "English, as they are spoken")  # fmt: skip
    return f"#JSGF V1.0; grammar {GRAMMAR}; public <said> = {' | '.join(texts)};"


class Hears(nn.Module, ABC):
    """Samples (B, L) in -1..1 with their length (B,), at `rate`, through a decoder."""

    def __init__(self, decoder: Any, rate: int, name: str) -> None:
        """name: of the program and its version."""
        super().__init__()
        self.decoder, self.rate, self.name = decoder, rate, name

    def fingerprint(self) -> str:
        """SHA-256 over its name and what it is to hear; its weights lie in the package."""
        return hashlib.sha256(f"{self.name} {self.repertoire()}".encode()).hexdigest()

    @abstractmethod
    def repertoire(self) -> str:
        """What it can hear."""

    def transcripts(self, waveform: Tensor, length: Tensor) -> list[tuple[str, float]]:
        """(text, how sure it is, 0..1) of each; '' where it heard nothing."""
        pause, several = np.zeros(round(PAUSE * RATE), np.int16), []
        for sound, many in zip(waveform.detach().cpu().double().numpy(), length.tolist()):
            plain = to_int16(sound[: max(1, many)])
            samples = plain if self.rate == RATE else resampled(plain, self.rate, RATE)
            self.decoder.start_utt()
            self.decoder.process_raw(np.concatenate([pause, samples, pause]).tobytes(), full_utt=True)
            self.decoder.end_utt()
            best = self.decoder.hyp()
            several.append(("", 0.0) if best is None else (normalised(best.hypstr), float(best.prob)))
        return several


class HeardClasses(Hears):
    """Logits (B, K): their softmax is its own confidence for the class that it heard, and alike for the others."""

    def __init__(self, decoder: Any, rate: int, name: str, classes: list[str]) -> None:
        super().__init__(decoder, rate, name)
        self.places = {normalised(one): label for label, one in enumerate(classes)}

    def repertoire(self) -> str:
        return " | ".join(self.places)

    def forward(self, waveform: Tensor, length: Tensor) -> Tensor:
        classes = len(self.places)
        chances = torch.full((len(waveform), classes), 1 / classes)
        for row, (text, sure) in zip(chances, self.transcripts(waveform, length)):
            if text in self.places:
                # Its confidence may lie below an even share, and what it named is still what it heard.
                own = min(max(sure, 1.01 / classes), 1 - SMALLEST)
                row.fill_((1 - own) / (classes - 1))
                row[self.places[text]] = own
        return chances.log().to(waveform.device)


class HeardTexts(Hears):
    """Logits (B, V, L) that name the tokens of what it heard, and say nothing of how sure it is."""

    def __init__(self, decoder: Any, rate: int, name: str, kind: Transcripts) -> None:
        super().__init__(decoder, rate, name)
        self.kind = kind

    def repertoire(self) -> str:
        return self.kind.spec.model_dump_json()

    def forward(self, waveform: Tensor, length: Tensor) -> Tensor:
        tokens = self.kind.ids([text for text, _ in self.transcripts(waveform, length)])
        ended = tokens.masked_fill(tokens == IGNORED, self.kind.spec.end)
        one_hot = torch.nn.functional.one_hot(ended, self.kind.spec.vocabulary).transpose(1, 2)
        return (LABEL_LOGIT * one_hot.float()).to(waveform.device)
