"""A writer as a classifier of texts: each class's prompt is put before the text, and the class under which the text is
most likely is the answer (PROMPTING, the baseline of ZeroGen; in this form the noisy channel of Min et al. 2022).

What is counted is the text behind its prompt, not the prompt: the difference is the prompt's own probability, which the
calibrated form of ProGen subtracts as that of the template with an empty text. The logits are sums over the tokens, so
that their softmax is what Bayes' rule says of the classes where all are as frequent.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...errors import TeacherError
from ...kinds.index import input_kind
from ...kinds.inputs.tokens import Tokens
from ...kinds.inputs.two_texts import TwoTexts
from ...tasks import Prompts, Task
from .base import FIRST_TEXT, Decoding, Writer

LABEL_LOGIT = 10.0
"""The logit of a class that is only named, beside 0 for the others."""
BY_NAME = Prompts(text="{label}")
BY_NAME_AND_FIRST = Prompts(text="{label}\n{context}", context=FIRST_TEXT)
"""How writers are asked that read no words: of a text, and of the second of two."""
ANSWER = Decoding(top_k=1, new_tokens=8)
"""How a question is answered: by the likeliest tokens."""


class Prompted(nn.Module):
    """Ids and masks (B, L) of the task, by the names of its columns -> logits (B, K). The texts are those that the
    task's tokenizer makes of the ids: words that it does not know are lost. Of two texts the first is the context."""

    def __init__(self, writer: Writer, task: Task) -> None:
        """Raises TeacherError where the task does not say what its classes are called, or the writer needs prompts and
        has none."""
        super().__init__()
        self.writer, self.names = writer, task.class_names
        self.prompts = prompts_for(writer, task)
        kind = input_kind(task)
        assert isinstance(kind, Tokens | TwoTexts)
        self.kind = kind

    @torch.no_grad()
    def forward(self, **columns: Tensor) -> Tensor:
        tokenizer = self.kind.tokenizer
        if tokenizer is None:
            raise TeacherError("the task names no tokenizer, so what its ids say cannot be read: give inputs.tokenizer")
        parts = [column.cpu() for column in columns.values()]
        read = [tokenizer.texts(ids, mask) for ids, mask in zip(parts[::2], parts[1::2])]
        return self.of_texts(read[-1], *read[:-1]).to(next(iter(columns.values())).device)

    def of_texts(self, texts: Sequence[str], firsts: Sequence[str] = ()) -> Tensor:
        """Logits (N, K) float32 on the CPU. firsts: of two texts the first ones."""
        firsts = firsts or [""] * len(texts)
        if not self.writer.scores:
            return self._named(texts, firsts)
        columns = []
        for name in self.names:
            totals, _ = self.writer.score([self.prompts.before(name, first) for first in firsts], texts)
            columns.append(totals)
        return torch.stack(columns, dim=1).float()

    def _named(self, texts: Sequence[str], firsts: Sequence[str]) -> Tensor:
        """By asking for the name of the class; an answer that names none of them says nothing."""
        stream = torch.Generator().manual_seed(0)
        questions = [self.prompts.question(text, self.names, first) for text, first in zip(texts, firsts)]
        answers = self.writer.generate(questions, stream, ANSWER)
        return torch.tensor([[LABEL_LOGIT * _names(answer, name) for name in self.names] for answer in answers])

    def fingerprint(self) -> str:
        return self.writer.fingerprint()


def _names(answer: str, name: str) -> bool:
    return answer.strip().strip("\"'.*").lower().startswith(name.lower())


def require_texts(source: str, task: Task) -> None:
    """Raises TeacherError for a task that no language model does."""
    if task.pair not in (("tokens", "classes"), ("two-texts", "classes"), ("two-texts", "span")):
        raise TeacherError(
            f"{source}: a language model teaches classes of texts and answers in them, and this is a task of "
            f"{' x '.join(task.pair)}. Give a task with kind: text-classification, two-text-classification or "
            "question-answering"
        )


def prompts_for(writer: Writer, task: Task) -> Prompts:
    """How the task is told to this writer. Raises TeacherError where something is missing."""
    require_texts(writer.source, task)
    asks = task.pair[1] == "span"  # the wording of the class is then the answer
    if not asks and not task.class_names:
        raise TeacherError(
            f"{writer.source}: a teacher that writes must know what the classes are called: give class_names in the "
            "task"
        )
    two = task.pair[0] == "two-texts"
    if two and not writer.reads_contexts:
        raise TeacherError(f"{writer.source}: reads no first text, so it cannot write the second of two")
    if not writer.needs_prompts:
        return BY_NAME_AND_FIRST if two else BY_NAME
    if task.inputs.prompts is None:
        raise TeacherError(
            f"{writer.source}: the task must say how a text of each class is asked for: prompts: movie-reviews, or a "
            "section with text and wordings (docs/texts.md)"
        )
    if two and not task.inputs.prompts.has_context:
        raise TeacherError(
            f"{writer.source}: of two texts the first is {{context}}, which the text prompt does not show"
        )
    if two and not asks and not writer.scores and "{context}" not in task.inputs.prompts.label:
        raise TeacherError(f"{writer.source}: is asked for the class in words, and the label prompt has no {{context}}")
    return task.inputs.prompts
