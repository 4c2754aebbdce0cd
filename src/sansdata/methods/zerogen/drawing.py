"""Asking a writer for contexts and for texts of a class, and cutting what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Generator

from ...contracts import Counters
from ...errors import MethodError
from ...tasks import Prompts
from ...teachers.writers.base import Debias, Decoding, Steering, Writer
from .cutting import QUOTE, cut

PATIENCE = 12
"""Rounds of drawing before one does with fewer than were wanted."""

Request = tuple[int, str]
"""(class, what the text is to be about)."""


@dataclass(frozen=True)
class Author:
    """A writer that was told of a task. names: of the classes, in their order. Every question is counted as one to the
    teacher."""

    writer: Writer
    prompts: Prompts
    names: tuple[str, ...]
    counters: Counters

    def texts(
        self, requests: Sequence[Request], stream: Generator, how: Decoding, debias: Debias, before: Sequence[str] = ()
    ) -> list[str]:
        """A text for each request, '' where nothing could be cut from what was said. before: what stands before each
        prompt, examples and such."""
        framed = list(zip(before or [""] * len(requests), requests))
        prompts = [first + self.prompts.before(self.names[label], about) for first, (label, about) in framed]
        # What stands before a prompt stands before those of the other classes too: they differ by the class alone.
        against = [[first + other for other in self._others(*request)] for first, request in framed]
        steering = Steering(against if debias.decay else [], debias, QUOTE)
        continuations = self.writer.generate(prompts, stream, how, steering)
        self.counters.add("teacher_forwards", len(continuations))
        return [cut(one) for one in continuations] if self.writer.needs_prompts else continuations

    def _others(self, label: int, about: str) -> list[str]:
        return [self.prompts.before(name, about) for number, name in enumerate(self.names) if number != label]

    def contexts(self, count: int, stream: Generator, how: Decoding) -> list[str]:
        """At most `count` distinct ones, at least one. Raises MethodError where the prompt gives none."""
        contexts: dict[str, None] = {}
        for _ in range(PATIENCE):
            continuations = self.writer.generate([self.prompts.context] * count, stream, how, Steering(ends=QUOTE))
            self.counters.add("teacher_forwards", len(continuations))
            cut_out = cut if self.writer.needs_prompts else str.strip
            contexts |= dict.fromkeys(filter(None, map(cut_out, continuations)))
            if len(contexts) >= count:
                break
        if not contexts:
            raise MethodError(
                f"zerogen: the prompt {self.prompts.context[:60]!r} gives no context: nothing ends in a quote, a line "
                "feed or a full stop"
            )
        return list(contexts)[:count]
