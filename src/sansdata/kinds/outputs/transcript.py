"""Transcripts: answers are logits (B, V, L) float32 of the tokens of a text, one place after another; what comes behind
the first token that ends a text does not count."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...contracts import Outputs
from ...errors import TeacherError
from ...figures import Figure, Finding, Warned
from ...models.taps import logits_of
from ...objectives import logits
from ...objectives.edits import NORMALISER, edits, normalised
from ...tasks import TranscriptSpec
from ..base import OutputKind, all_alike, not_finite, unmoved
from ..inputs.tokenizer import Tokenizer

NameOf = Callable[[int], str]
IGNORED = -100
"""In the place of a token behind the end."""
LIKELIEST = 32
"""Tokens of a place of which a file keeps how likely they are: a vocabulary of 50,000 would fill the disk."""
FEW = 0.02
RUNAWAY = 2.0
"""Words said for each that is there, from which a transcript has run away."""


class Transcripts(OutputKind):
    """spec.vocabulary is V, spec.length L."""

    Spec = TranscriptSpec
    unit = "tokens"

    def read(self, raw: Any) -> Tensor:
        answers = logits_of(raw).float()
        if answers.ndim != 3:
            raise TeacherError(f"the model returned {list(answers.shape)}; expected (B, {self.spec.vocabulary}, "
                               f"{self.spec.length}) logits of tokens")  # fmt: skip
        return answers

    def faults(self, raw: Any, count: int) -> list[str]:
        try:
            answers = logits_of(raw)
        except TeacherError as fault:
            return [str(fault)]
        expected = (count, self.spec.vocabulary, self.spec.length)
        if not answers.is_floating_point() or tuple(answers.shape) != expected:
            return [f"the teacher returned {answers.dtype} {list(answers.shape)}; expected {expected} logits of tokens"]
        return []

    # -- tokens and texts

    def tokens(self, answers: Tensor) -> Tensor:
        """(B, L) int64: the likeliest of each place up to the end, IGNORED behind it."""
        likeliest = answers.argmax(1)
        ended = (likeliest == self.spec.end).long().cumsum(1)
        behind = (ended - (likeliest == self.spec.end).long()) > 0
        return likeliest.masked_fill(behind, IGNORED)

    def ids(self, texts: Sequence[str]) -> Tensor:
        """(B, L) int64 of texts, ended, IGNORED behind; what is longer is cut, and letters that are none left out."""
        return self._rows([self._encoded(text)[: self.spec.length - 1] for text in texts], self.spec.length)

    def references(self, texts: Sequence[str]) -> Tensor:
        """(B, M) int64 of whole texts, M as the longest needs: what transcripts are measured against. A text that was
        cut would forgive whatever is not heard behind the cut."""
        several = [self._encoded(text) for text in texts]
        return self._rows(several, max(self.spec.length, 1 + max(map(len, several), default=0)))

    def unwritable(self, texts: Sequence[str]) -> int:
        """How many letters of texts, but for spaces and signs, the alphabet lacks; 0 where there is none."""
        if not self.spec.alphabet:
            return 0
        return sum(one not in self.spec.alphabet for text in texts for one in normalised(text) if not one.isspace())

    def _rows(self, several: Sequence[Sequence[int]], length: int) -> Tensor:
        rows = torch.full((len(several), length), IGNORED)
        for row, ids in zip(rows, several):
            row[: len(ids) + 1] = torch.tensor([*ids, self.spec.end])
        return rows

    def _encoded(self, text: str) -> list[int]:
        if self.spec.alphabet:
            return [2 + self.spec.alphabet.index(one) for one in text.lower() if one in self.spec.alphabet]
        return Tokenizer.of(self.spec.tokenizer).encoded(text)

    def texts(self, tokens: Tensor) -> list[str]:
        """Rows (B, L) of ids in letters."""
        rows = [[one for one in row if one not in (IGNORED, self.spec.end)] for row in tokens.tolist()]
        if self.spec.alphabet:
            return ["".join(self.spec.alphabet[one - 2] for one in row if one >= 2) for row in rows]
        return [Tokenizer.of(self.spec.tokenizer).decoded(row).strip() for row in rows]

    def continued(self, tokens: Tensor) -> Tensor:
        """What a decoder is given so that it says these (B, L) tokens, place by place: (B, P + L - 1)."""
        prompt = torch.tensor(self.spec.prompt, device=tokens.device).expand(len(tokens), -1)
        return torch.cat([prompt, tokens[:, :-1].masked_fill(tokens[:, :-1] == IGNORED, self.spec.end)], 1)

    # -- what is asked of every kind

    def judge(self, answers: Tensor, name_of: NameOf) -> tuple[str, list[str], list[str]]:
        if faults := not_finite(answers, "logits"):
            return "unknown", faults, []
        if bool(unmoved(answers).all()):
            return "logits", [all_alike("text")], []
        return "logits of tokens", [], []

    def match(self, student: Outputs, teacher: Outputs, how: Any) -> Tensor:
        """The mean over the places of the teacher's text."""
        if how.match != "kl":
            return logits.match(how.match, student.value, teacher.value)
        counted = self.tokens(teacher.value) != IGNORED
        values = logits.kl(student.value, teacher.value, how.temperature) * counted
        return values.sum(1) / counted.sum(1)

    def same(self, one: Tensor, other: Tensor) -> Tensor:
        return (self.tokens(one) == self.tokens(other)).all(1)

    def agreement(self, student: Tensor, teacher: Tensor) -> Mapping[str, float]:
        """Over the places of the teacher's text: the same token, the overlap of both distributions."""
        student, teacher = student.detach(), teacher.detach()
        counted = self.tokens(teacher) != IGNORED
        total = counted.sum().clamp_min(1)
        mine, theirs = student.softmax(1), teacher.softmax(1)
        alike = (student.argmax(1) == teacher.argmax(1)) & counted
        return {
            "agreement": float(alike.sum() / total),
            "overlap": float((torch.minimum(mine, theirs).sum(1) * counted).sum() / total),
            "kl": float((logits.kl(student, teacher) * counted).sum() / total),
        }

    def describe(self, answers: Tensor, late: Tensor | None = None) -> list[Finding]:
        tokens = self.tokens(answers)
        counted = tokens != IGNORED
        sure = (answers.softmax(1).amax(1) * counted).sum() / counted.sum()
        return [
            Figure("distinct_transcripts", len(tokens.unique(dim=0)) / len(tokens), "share",
                   "transcripts that are not repeated", "higher"),
            Figure("transcript_length", float(counted.sum(1).float().mean()), "number",
                   "mean number of tokens, the end among them"),
            Figure("confidence", float(sure), "share", "the teacher's, mean over the tokens"),
        ]  # fmt: skip

    def warnings(self, described: Mapping[str, Any], agreed: float, count: int, name_of: NameOf) -> list[Warned]:
        if described["distinct_transcripts"] > FEW or count < 1 / FEW:
            return []
        return [Warned("one transcript", described["distinct_transcripts"], "the teacher hears the same in nearly all "
                       "samples, so the student learns to say it")]  # fmt: skip

    def evaluate(self, answers: np.ndarray, truth: np.ndarray, teacher: np.ndarray | None = None) -> list[Finding]:
        """answers (N, V, L), truth int64 (N, M) as `references` gives it. Error rates are those of the whole set."""
        references = self.texts(torch.from_numpy(truth))
        transcripts = self.texts(self.tokens(torch.from_numpy(answers)))
        findings = error_rates(references, transcripts)
        if teacher is None:
            return findings
        theirs = self.texts(self.tokens(torch.from_numpy(teacher)))
        beside = [
            one for one in error_rates(references, theirs) if isinstance(one, Figure) and one.name in ("wer", "cer")
        ]
        alike = float(np.mean([normalised(a) == normalised(b) for a, b in zip(transcripts, theirs)]))
        return [
            *findings,
            *(Figure(f"teacher_{one.name}", one.value, "share", "on the same samples") for one in beside),
            Figure("agreement", alike, "share", "student and teacher say the same", "higher"),
        ]

    def targets(self, answers: Tensor) -> np.ndarray:
        return self.tokens(answers).numpy()

    def captions(self, answers: np.ndarray, name_of: NameOf) -> Sequence[tuple[str, str]]:
        if answers.ndim != 3:
            return []
        plain = torch.from_numpy(np.nan_to_num(answers)).float()
        tokens = self.tokens(plain)
        chances = plain.log_softmax(1).amax(1) * (tokens != IGNORED)
        sure = (chances.sum(1) / (tokens != IGNORED).sum(1)).exp()
        return [(text or "(nothing)", f"{100 * share:.0f} %") for text, share in zip(self.texts(tokens), sure.tolist())]

    def signature(self) -> tuple[str, tuple[int, ...]]:
        return "logits", (self.spec.vocabulary, self.spec.length)

    # -- answers that are kept

    @property
    def _shortened(self) -> bool:
        return self.spec.vocabulary > 2 * LIKELIEST + 1

    def pack(self, answers: Tensor) -> Tensor:
        """Of a large vocabulary (B, 2 K + 1, L) float32: of each place the numbers of its K likeliest tokens, the logs
        of their probabilities, and that of what is left for all others together. Of a small one all of it."""
        if not self._shortened:
            return super().pack(answers)
        logs = answers.detach().float().log_softmax(1)
        best, numbers = logs.topk(LIKELIEST, 1)
        others = logs.scatter(1, numbers, -torch.inf).logsumexp(1, keepdim=True)
        return torch.cat([numbers.float(), best, others], 1).cpu()

    def unpack(self, packed: Tensor) -> Tensor:
        """The tokens that are not among the likeliest of their place share what is left evenly."""
        if not self._shortened:
            return super().unpack(packed)
        numbers, best, others = packed.split([LIKELIEST, LIKELIEST, 1], 1)
        each = others - math.log(self.spec.vocabulary - LIKELIEST)
        return each.repeat(1, self.spec.vocabulary, 1).scatter(1, numbers.long(), best)

    def from_array(self, array: np.ndarray, count: int) -> Tensor | None:
        if not self._shortened:
            return super().from_array(array, count)
        if array.dtype.kind != "f" or array.shape != (count, 2 * LIKELIEST + 1, self.spec.length):
            return None
        numbers = array[:, :LIKELIEST]
        if not bool(((numbers >= 0) & (numbers < self.spec.vocabulary)).all()):
            return None
        return self.unpack(torch.from_numpy(np.ascontiguousarray(array)).float())


def error_rates(wanted: Sequence[str], heard: Sequence[str]) -> list[Finding]:
    """Word and letter error rates of a set of transcripts against what was said, both normalised. A rate of the whole
    set is a lottery where one transcript runs away, so the median of the single ones and how many did stand beside it.
    """
    pairs = [(normalised(one).split(), normalised(two).split()) for one, two in zip(wanted, heard)]
    by_clip = [edits(one, two) / max(1, len(one)) for one, two in pairs]
    words = sum(edits(one, two) for one, two in pairs) / max(1, sum(len(one) for one, _ in pairs))
    letters = [(" ".join(one), " ".join(two)) for one, two in pairs]
    of_letters = sum(edits(one, two) for one, two in letters) / max(1, sum(len(one) for one, _ in letters))
    runaway = float(np.mean([len(two) > RUNAWAY * max(1, len(one)) for one, two in pairs]))
    return [
        Figure("wer", words, "share", f"word errors; normaliser: {NORMALISER}", "lower"),
        Figure("cer", of_letters, "share", "letter errors, by the same normaliser", "lower"),
        Figure("median_wer", float(np.median(by_clip)), "share", "of single transcripts", "lower"),
        Figure("exact", float(np.mean([one == two for one, two in pairs])), "share", "transcripts without an error",
               "higher"),
        Figure("runaway", runaway, "share", f"transcripts of more than {RUNAWAY:g} times the words", "lower"),
    ]  # fmt: skip
