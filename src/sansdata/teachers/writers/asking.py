"""An n-gram model that asks for a part of a text: the smallest writer of questions there is.

What it reads of a context is the sentence of the answer, and of the answer whether it is a number or words.
For both there is an n-gram model, which takes words of that sentence over as `cached_ngram` does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import Generator, Tensor

from .base import UNSTEERED, Decoding, Steering
from .cached_ngram import CachedNGrams
from .vocabulary import pieces

KIND = "asking-ngram"
SORTS = ("number", "words")
"""Of an answer."""
_ENDS = re.compile(r"(?<=[.!?])\s+")


class AskingNGrams(CachedNGrams):
    """A writer that is asked an answer, a line feed and its context; its classes are the SORTS."""

    words = "letters"

    @classmethod
    def of_questions(cls, rows: Sequence[tuple[str, str, str]]) -> AskingNGrams:
        """Fitted on (context, question, answer), some of each sort of answer."""
        texts = [
            (_sentence(context, answer), _spaced(question), SORTS.index(sort_of(answer)))
            for context, question, answer in rows
        ]
        return cls.fitted(texts, SORTS)

    def generate(
        self, prompts: Sequence[str], stream: Generator, how: Decoding, steering: Steering = UNSTEERED
    ) -> list[str]:
        return super().generate(list(map(_plain, prompts)), stream, how)

    def score(self, prompts: Sequence[str], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        return super().score(list(map(_plain, prompts)), list(map(_spaced, texts)))


def sort_of(answer: str) -> str:
    return "number" if any(sign.isdigit() for sign in answer) else "words"


def _plain(prompt: str) -> str:
    """As the n-grams are asked."""
    answer, _, context = prompt.partition("\n")
    return f"{sort_of(answer)}\n{_sentence(context, answer)}"


def _sentence(context: str, answer: str) -> str:
    """The words of the first sentence that holds the answer, without it: a question does not give it away."""
    sentences = _ENDS.split(context.lower())
    chosen = next((one for one in sentences if answer.lower() in one), sentences[0])
    return _spaced(chosen.replace(answer.lower(), " "))


def _spaced(text: str) -> str:
    return " ".join(pieces(text, "letters"))
