"""The output side of a transcript: tokens one after another, up to one that ends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import pydantic

from .side import Side
from .tokens import MAX_VOCABULARY, read_tokenizer, vocabulary_size

MAX_TRANSCRIPT = 448
"""Tokens: as far as Whisper's decoder reaches."""
MAX_PROMPT = 8


TIMES = 1501
"""Tokens of Whisper that stand for moments, behind all others and in no tokenizer.json."""


def _of_whisper(path: Path) -> dict[str, Any] | None:
    """What follows from a tokenizer of Whisper: its size, how a transcript in English without times begins, how it
    ends. None for another tokenizer. Raises ValueError."""
    listed = read_tokenizer(path).get("added_tokens")
    ids = {one.get("content"): one.get("id") for one in listed if isinstance(one, dict)} if listed else {}
    names = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>", "<|endoftext|>")
    known = [ids.get(name) for name in names]
    if not all(isinstance(one, int) for one in known):
        return None
    start, english, task, without_times, end = (int(one) for one in known if one is not None)
    one_language = start == end + 1  # the networks of English alone are told neither language nor task
    prompt = [start, without_times] if one_language else [start, english, task, without_times]
    return {"vocabulary": without_times + 1 + TIMES, "prompt": prompt, "end": end}


class TranscriptSpec(Side):
    """At most `length` tokens of a vocabulary of so many, the last of them `end`.

    alphabet: the letters of a recogniser of letters; then 0 is the end, 1 the beginning, and letters follow from 2 on.
    tokenizer: else a tokenizer.json, in which the ids are read. prompt: the ids before every text, such as Whisper's
    language and task.
    """

    files: ClassVar[tuple[str, ...]] = ("tokenizer",)
    kind: Literal["transcript"] = "transcript"
    length: int = pydantic.Field(ge=1, le=MAX_TRANSCRIPT)
    alphabet: str = ""
    tokenizer: str = ""
    vocabulary: int = pydantic.Field(ge=3, le=MAX_VOCABULARY)
    prompt: tuple[int, ...] = (1,)
    end: int = 0

    @property
    def door(self) -> dict[str, Any]:
        """A decoder is given the bands, and what every text begins with."""
        return {"names": ["bands"], "prompt": list(self.prompt)}

    @pydantic.model_validator(mode="before")
    @classmethod
    def _counted(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or "vocabulary" in fields:
            return fields
        if isinstance(fields.get("alphabet"), str) and fields["alphabet"]:
            return {**fields, "vocabulary": 2 + len(fields["alphabet"])}
        if fields.get("tokenizer"):
            path = Path(str(fields["tokenizer"]))
            return {**fields, **(_of_whisper(path) or {"vocabulary": vocabulary_size(path)}), **fields}
        return fields

    @pydantic.model_validator(mode="after")
    def _sensible(self) -> TranscriptSpec:
        if bool(self.alphabet) == bool(self.tokenizer):
            raise ValueError("a transcript is read by an alphabet or by a tokenizer; give one of the two")
        if self.alphabet != self.alphabet.lower():
            raise ValueError("texts are read in lower case, and the alphabet has capitals: write it in lower case")
        letters = 2 + len(self.alphabet)
        if self.alphabet and (len(set(self.alphabet)) < len(self.alphabet) or self.vocabulary != letters):
            raise ValueError(f"an alphabet has each letter once, and a vocabulary of two more: {letters}")
        if not 1 <= len(self.prompt) <= MAX_PROMPT or not all(0 <= one < self.vocabulary for one in self.prompt):
            raise ValueError(f"prompt is 1 to {MAX_PROMPT} ids of the vocabulary, got {list(self.prompt)[:20]}")
        if not 0 <= self.end < self.vocabulary:
            raise ValueError(f"end={self.end} is no id of a vocabulary of {self.vocabulary}")
        return self
