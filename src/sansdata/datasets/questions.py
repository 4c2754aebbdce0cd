"""Questions with their answers in a context: the JSON that SQuAD and its kin come in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..kinds.inputs.two_texts import TwoTexts
from ..kinds.outputs.span import OUTSIDE, Spans
from ..tasks import Task
from .labelled import KindSet
from .texts import text_of

MAX_FILE_BYTES = 2**30


@dataclass(frozen=True)
class Asked:
    """A question whose answer is context[start:end]. article: the number of the article in its file."""

    context: str
    question: str
    start: int
    end: int
    article: int = 0

    @property
    def answer(self) -> str:
        return self.context[self.start : self.end]


def load_questions(spec: str | Path, task: Task) -> KindSet:
    """The questions of a .json file of the form of SQuAD, read with the task's tokenizer. Of several right answers the
    first counts. Raises DataError for what cannot be found or read, TaskError where the task has no tokenizer."""
    return questions_as_set(read_questions(Path(spec).expanduser()), task, str(spec))


def read_questions(path: Path) -> list[Asked]:
    """Raises DataError for a file that is none of this form, or without a question that has an answer."""
    if not (path.is_file() and path.suffix.lower() == ".json"):
        raise DataError(f"'{str(path)[:200]}' is no .json file of questions in the form of SQuAD")
    try:
        tree: Any = json.loads(text_of(path, MAX_FILE_BYTES))
        rows = list(_rows(tree))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OverflowError):
        raise DataError(
            f"{path}: is not in the form of SQuAD: data, a list; of each its paragraphs; of each context and qas; of "
            "each question and answers; of each text and answer_start"
        ) from None
    if not rows:
        raise DataError(f"{path}: has no question with an answer")
    return rows


def _rows(tree: Any) -> Iterator[Asked]:
    """Raises ValueError for an answer that does not stand where it says."""
    for number, article in enumerate(tree["data"]):
        for paragraph in article["paragraphs"]:
            context = str(paragraph["context"])
            for question in paragraph["qas"]:
                if not question["answers"]:  # SQuAD 2 has questions without one
                    continue
                answer = question["answers"][0]
                start, text = int(answer["answer_start"]), str(answer["text"])
                if not text or context[start : start + len(text)] != text or start < 0:
                    raise ValueError("an answer does not stand where it says")
                yield Asked(context, str(question["question"]), start, start + len(text), number)


def questions_as_set(rows: list[Asked], task: Task, source: str) -> KindSet:
    """Raises TaskError where the task has no tokenizer."""
    kind = TwoTexts(task.inputs)
    contexts = [row.context for row in rows]
    packed = kind.read(contexts, [row.question for row in rows])
    assert kind.tokenizer is not None
    truth = Spans(task.outputs).truth(kind.tokenizer, contexts, [(row.start, row.end) for row in rows])
    outside = int((truth[:, 0] == OUTSIDE).sum())
    notes = (f"{outside:,} of {len(rows):,} answers lie behind the end of what is read of their context",)
    return KindSet(task, packed, truth, (), source, notes if outside else ())
