"""A writer as a reader: of the phrases of a context the answer is the one behind which the question is likeliest
(PROMPTING as for classes, the noisy channel of Min et al. 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...errors import TeacherError
from ...kinds.index import input_kind
from ...kinds.inputs.two_texts import TwoTexts
from ...tasks import Task
from .base import Writer
from .phrases import phrases
from .prompted import prompts_for

NEVER = -1e4
"""The logit of a place at which no phrase begins or ends."""


class PromptedSpans(nn.Module):
    """Ids and masks (B, L) of both texts -> logits (B, L1, 2): of each place the best log-probability of the question
    behind a phrase that begins there, and that ends there. The texts are those that the task's tokenizer makes of the
    ids."""

    def __init__(self, writer: Writer, task: Task) -> None:
        """Raises TeacherError where the writer shows no probabilities, or the task has no prompts for one that needs
        them."""
        super().__init__()
        self.writer, self.prompts = writer, prompts_for(writer, task)
        kind = input_kind(task)
        assert isinstance(kind, TwoTexts)
        self.kind, self.longest = kind, task.outputs.longest

    @torch.no_grad()
    def forward(self, first: Tensor, first_mask: Tensor, second: Tensor, second_mask: Tensor) -> Tensor:
        if not self.writer.scores:
            raise TeacherError(f"{self.writer.source}: shows no probabilities, so it cannot be asked for a place")
        tokenizer = self.kind.tokenizer
        if tokenizer is None:
            raise TeacherError("the task names no tokenizer, so what its ids say cannot be read: give inputs.tokenizer")
        questions = tokenizer.texts(second.cpu(), second_mask.cpu())
        logits = torch.full((*first.shape, 2), NEVER)
        for row, (ids, mask, question) in enumerate(zip(first.cpu(), first_mask.cpu(), questions)):
            context, places = tokenizer.letters(ids[mask].tolist())
            spans = spans_of(context, places, self.longest)
            prompts = [self.prompts.before(context[places[i][0] : places[j][1]].strip(), context) for i, j in spans]
            scores, _ = self.writer.score(prompts, [question] * len(spans))
            for (begin, end), score in zip(spans, scores.tolist()):
                logits[row, begin, 0] = max(float(logits[row, begin, 0]), score)
                logits[row, end, 1] = max(float(logits[row, end, 1]), score)
        return logits.to(first.device)

    def fingerprint(self) -> str:
        return self.writer.fingerprint()


def spans_of(text: str, places: list[tuple[int, int]], longest: int) -> list[tuple[int, int]]:
    """The phrases of a text as (first token, last token), of at most `longest` tokens and of whole ones alone."""
    spans = []
    for start, end in phrases(text):
        inside = [
            number for number, (first, last) in enumerate(places) if first < end and last > start and last > first
        ]
        if inside and places[inside[-1]][1] >= end and len(inside) <= longest:
            spans.append((inside[0], inside[-1]))
    return spans
