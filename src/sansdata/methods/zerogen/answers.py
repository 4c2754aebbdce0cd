"""Where the answers come from of which ZeroGen's questions are written: the phrases of the contexts that are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...kinds.inputs.tokenizer import Tokenizer
from ...kinds.outputs.span import place_of
from ...teachers.writers.phrases import phrases


@dataclass(frozen=True)
class Candidate:
    """A part of a context, from one letter to before another."""

    context: str
    start: int
    end: int

    @property
    def answer(self) -> str:
        return self.context[self.start : self.end]


def candidates(contexts: Sequence[str], tokenizer: Tokenizer, length: int, longest: int) -> list[Candidate]:
    """All phrases of the contexts that lie within the first `length` tokens and have at most `longest` of them."""
    chosen = []
    for context in contexts:
        places = tokenizer.places(context, length)
        for start, end in phrases(context):
            place = place_of(places, start, end)
            if place is not None and place[1] - place[0] < longest:
                chosen.append(Candidate(context, start, end))
    return chosen


def reason_against(question: str, answer: str, fewest: int) -> str:
    """Why a question is not kept: 'empty', 'short' (fewer than `fewest` words) or 'answer' (it gives it away); '' for
    one that is (ZeroGen's release)."""
    if not question:
        return "empty"
    if len(question.split()) < fewest:
        return "short"
    return "answer" if answer.lower() in question.lower() else ""
