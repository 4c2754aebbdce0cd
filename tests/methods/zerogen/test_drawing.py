"""What is asked of a writer, and how much of what it says is read: a model that says one thing, letter by letter."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from sansdata.contracts import Counters
from sansdata.methods.zerogen.drawing import Author
from sansdata.tasks import Prompts
from sansdata.teachers.writers.base import Debias, Decoding
from sansdata.teachers.writers.causal import Causal, Letters

PROMPTS = Prompts(text='{label}: "', context='Film: "')


class Script(nn.Module):
    """A causal model over letters that says `text` behind a prompt of `length` letters."""

    def __init__(self, text: str, length: int) -> None:
        super().__init__()
        self.text, self.length, self.said = text, length, 0

    def forward(
        self, input_ids: Any, attention_mask: Any, position_ids: Any, past_key_values: Any, use_cache: Any,
        logits_to_keep: Any,
    ) -> Any:  # fmt: skip
        self.said = int(position_ids[0, -1]) + 1 - self.length
        logits = torch.full((1, 1, 128), -100.0)
        logits[0, 0, ord(self.text[self.said])] = 100.0
        return SimpleNamespace(logits=logits, past_key_values=None)


def read(said: str, context: bool = False) -> tuple[str, int]:
    """(what is read of what was said, the letters that were written)."""
    model = Script(said + " " * 60, len(PROMPTS.context if context else PROMPTS.before("good", "")))
    letters = Letters(lambda text: list(map(ord, text)), lambda ids: "".join(map(chr, ids)), None, (0,))
    author = Author(Causal(model, letters, "a script", ""), PROMPTS, ("bad", "good"), Counters())
    how, stream = Decoding(new_tokens=60), torch.Generator().manual_seed(0)
    texts = author.contexts(1, stream, how) if context else author.texts([(1, "")], stream, how, Debias())
    return texts[0], model.said + 1


def test_a_line_feed_ends_a_text_or_a_context_only_where_no_quote_does() -> None:
    for context in (False, True):
        assert read('Great movie\nThe best of the year" more', context) == ("Great movie\nThe best of the year", 33)
        assert read("Great movie\nThe best of the year", context) == ("Great movie", 60)
        assert read("The Godfather. Part II is", context) == ("The Godfather.", 60)


def test_what_stands_before_a_prompt_stands_before_those_of_the_other_classes() -> None:
    """Self-debiasing compares prompts that differ by the class alone, whatever examples they begin with."""
    steered: list[Any] = []

    class Writer:
        needs_prompts = True

        def generate(self, prompts: list[str], stream: torch.Generator, how: Decoding, steering: Any) -> list[str]:
            steered.append((prompts, steering.against))
            return [""] * len(prompts)

    author = Author(Writer(), PROMPTS, ("bad", "good"), Counters())  # type: ignore[arg-type]
    stream = torch.Generator()
    author.texts([(1, ""), (0, "")], stream, Decoding(), Debias(decay=10.0), ["one ", "two "])
    author.texts([(1, "")], stream, Decoding(), Debias(decay=0.0), ["one "])
    assert steered == [
        (['one good: "', 'two bad: "'], [['one bad: "'], ['two good: "']]),
        (['one good: "'], []),
    ]
