"""A part of the first of two texts: answers are logits (B, L, 2) float32, of the place where it begins and of the one
where it ends.

What is true of them is int64 (N, 2 + L): both places, -1 where the answer lies outside, and behind them for each place
of the first text the number of its word as the comparison counts it, so that equal words are equal numbers and articles
and signs are 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...contracts import Outputs
from ...errors import TeacherError
from ...figures import Figure, Finding, Warned
from ...models.span_nets import OUT
from ...models.taps import logits_of
from ...objectives import logits
from ...objectives.spans import NORMALISER, best_spans, counted_words, f1
from ...tasks import SpanSpec
from ..base import OutputKind, all_alike, not_finite, unmoved
from ..inputs.tokenizer import Tokenizer
from .class_metrics import wilson_interval

NameOf = Callable[[int], str]
FEW = 0.02
OUTSIDE = -1
"""In the place of an answer that is not among the tokens."""


class Spans(OutputKind):
    """spec.positions is L."""

    Spec = SpanSpec
    unit = "places"
    comparable = compares = False
    """A teacher may be a language model that is asked about every phrase of a context: only an evaluation asks it."""

    def read(self, raw: Any) -> Tensor:
        answers = logits_of(raw).float()
        if answers.ndim != 3:
            raise TeacherError(
                f"the model returned {list(answers.shape)}; expected (B, {self.spec.positions}, 2) logits of places"
            )
        return answers

    def faults(self, raw: Any, count: int) -> list[str]:
        try:
            answers = logits_of(raw)
        except TeacherError as fault:
            return [str(fault)]
        expected = (count, self.spec.positions, 2)
        if not answers.is_floating_point() or tuple(answers.shape) != expected:
            return [f"the teacher returned {answers.dtype} {list(answers.shape)}; expected {expected} logits of places"]
        return []

    def spans(self, answers: Tensor) -> Tensor:
        """(B, 2) int64: first and last place of the likeliest part."""
        return best_spans(answers, self.spec.longest)

    def truth(self, tokenizer: Tokenizer, contexts: Sequence[str], letters: Sequence[tuple[int, int]]) -> np.ndarray:
        """(N, 2 + L) int64: what is true where the answer is between these letters of each context."""
        rows = np.zeros((len(contexts), 2 + self.spec.positions), dtype=np.int64)
        known: dict[str, tuple[list[tuple[int, int]], list[int]]] = {}
        for row, context, (start, end) in zip(rows, contexts, letters):
            if context not in known:
                places = tokenizer.places(context, self.spec.positions)
                known[context] = places, counted_words(context, places)
            places, words = known[context]
            row[:2] = place_of(places, start, end) or (OUTSIDE, OUTSIDE)
            row[2 : 2 + len(words)] = words
        return rows

    # -- what is asked of every kind

    def judge(self, answers: Tensor, name_of: NameOf) -> tuple[str, list[str], list[str]]:
        if faults := not_finite(answers, "logits"):
            return "unknown", faults, []
        if bool(unmoved(answers).all()):
            return "logits", [all_alike("place")], []
        return "logits of places", [], []

    def match(self, student: Outputs, teacher: Outputs, how: Any) -> Tensor:
        """The mean over both places."""
        return logits.match(how.match, *on_shared_places(student.value, teacher.value), how.temperature)

    def same(self, one: Tensor, other: Tensor) -> Tensor:
        return (self.spans(one) == self.spans(other)).all(1)

    def agreement(self, student: Tensor, teacher: Tensor) -> Mapping[str, float]:
        student, teacher = on_shared_places(student.detach(), teacher.detach())
        shared = torch.minimum(student.softmax(1), teacher.softmax(1)).sum(1)
        return {
            "agreement": float(self.same(student, teacher).float().mean()), "overlap": float(shared.mean()),
            "kl": float(logits.kl(student, teacher).mean()),
        }  # fmt: skip

    def describe(self, answers: Tensor, late: Tensor | None = None) -> list[Finding]:
        spans = self.spans(answers)
        sure = answers.softmax(1).amax(1).mean()
        return [
            Figure("distinct_spans", len(spans.unique(dim=0)) / len(spans), "share",
                   "answers at places of their own", "higher"),
            Figure("answer_length", float((spans[:, 1] - spans[:, 0] + 1).float().mean()), "number",
                   "mean tokens of an answer"),
            Figure("confidence", float(sure), "share", "the teacher's, mean over both places"),
        ]  # fmt: skip

    def warnings(self, described: Mapping[str, Any], agreed: float, count: int, name_of: NameOf) -> list[Warned]:
        if described["distinct_spans"] > FEW or count < 1 / FEW:
            return []
        return [Warned("one place", described["distinct_spans"], "the teacher finds nearly all answers at the same "
                       "place, so the student learns the place")]  # fmt: skip

    def evaluate(self, answers: np.ndarray, truth: np.ndarray, teacher: np.ndarray | None = None) -> list[Finding]:
        """answers (N, L, 2), truth (N, 2 + L): exact match and F1 of the words."""
        spans = self.spans(torch.from_numpy(answers)).numpy()
        scores = scores_of(spans, truth)
        outside = float((truth[:, 0] == OUTSIDE).mean())
        findings: list[Finding] = [
            *_figures(scores),
            Figure("outside", outside, "share", "answers that are cut off or no tokens"),
        ]
        if teacher is None:
            return findings
        theirs = self.spans(torch.from_numpy(teacher)).numpy()
        beside = [Figure(f"teacher_{one.name}", one.value, "share", "on the same samples")
                  for one in _figures(scores_of(theirs, truth))]  # fmt: skip
        alike = float((spans == theirs).all(1).mean())
        return [*findings, *beside, Figure("agreement", alike, "share", "both name the same places", "higher")]

    def targets(self, answers: Tensor) -> np.ndarray:
        """Every place has a word of its own there: what the texts say is not known here."""
        spans = self.spans(answers)
        words = torch.arange(1, self.spec.positions + 1).expand(len(spans), -1)
        return torch.cat([spans, words], 1).numpy()

    def captions(self, answers: np.ndarray, name_of: NameOf) -> Sequence[tuple[str, str]]:
        if answers.ndim != 3 or answers.shape[2] != 2:
            return []
        plain = torch.from_numpy(np.nan_to_num(answers)).float()
        sure = plain.softmax(1).amax(1).prod(1).tolist()
        return [
            (f"tokens {first + 1} to {last + 1}", f"{100 * share:.0f} %")
            for (first, last), share in zip(self.spans(plain).tolist(), sure)
        ]

    def signature(self) -> tuple[str, tuple[int, ...]]:
        return "places", (self.spec.positions, 2)


def on_shared_places(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both answers (B, L, 2) without the places that either calls empty by a logit near `OUT`, as networks of ours do
    where there is padding: a network of somebody else's may say anything there, and would be matched in that."""
    empty = (one < OUT / 2) | (other < OUT / 2)
    return one.masked_fill(empty, OUT), other.masked_fill(empty, OUT)


def place_of(places: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int] | None:
    """The first and the last token that have letters from `start` to before `end`; None where not all letters are
    among the tokens."""
    inside = [number for number, (first, last) in enumerate(places) if first < end and last > start and last > first]
    if not inside or places[inside[-1]][1] < end:
        return None
    return inside[0], inside[-1]


def scores_of(spans: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(N, 2): exact match and F1 of spans (N, 2) against what is true (N, 2 + L)."""
    scores = np.zeros((len(spans), 2))
    for place, ((first, last), row) in enumerate(zip(spans.tolist(), truth)):
        if row[0] == OUTSIDE:
            continue
        words = row[2:]
        named = [int(word) for word in words[first : last + 1] if word]
        right = [int(word) for word in words[row[0] : row[1] + 1] if word]
        scores[place] = named == right, f1(named, right)
    return scores


def _figures(scores: np.ndarray) -> list[Figure]:
    exact = int(scores[:, 0].sum())
    return [
        Figure("exact", exact / len(scores), "share", f"answers that are right word by word; {NORMALISER}", "higher",
               wilson_interval(exact, len(scores))),
        Figure("f1", float(scores[:, 1].mean()), "share", "words in common with the right answer, mean", "higher"),
    ]  # fmt: skip
