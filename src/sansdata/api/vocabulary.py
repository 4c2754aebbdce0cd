"""The words of a teacher that writes, as the tokenizer of its student."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..config import read_yaml
from ..contracts import Counters
from ..errors import TaskError, TeacherError
from ..files import write_atomic
from ..methods.zerogen.drawing import Author
from ..methods.zerogen.settings import ZeroGenConfig
from ..streams import Streams
from ..tasks import PairTask, task_from_mapping
from ..tasks.tokens import vocabulary_size
from ..teachers.writers.prompted import prompts_for
from ..teachers.writers.sources import is_writer, load_writer
from ..teachers.writers.vocabulary import tokenizer_of

AT_ONCE = 200
"""Texts of a round, about a tenth as many contexts."""


@dataclass(frozen=True)
class Vocabulary:
    """What `write_vocabulary` made. words: ids of the tokenizer; texts: that were written for it."""

    file: Path
    words: int
    texts: int


def write_vocabulary(
    teacher: str, task: str | Path, out: str | Path | None = None, texts: int = 2000, size: int = 20_000, seed: int = 0
) -> Vocabulary:
    """Has the teacher write `texts` texts and keeps their words, the most frequent `size` at most, as a tokenizer.json.

    task: a file. out: default is the tokenizer that it names, which need not be there yet. Raises TaskError for a task
    that is none, TeacherError for a teacher that does not write.
    """
    if not is_writer(teacher):
        raise TeacherError(
            f"'{teacher[:80]}' does not write texts: a vocabulary is made of what a language model writes"
        )
    fields = dict(read_yaml(Path(task), error=TaskError))
    named = fields.pop("tokenizer", None)
    if out is None and not isinstance(named, str):
        raise TaskError(f"{task}: names no tokenizer; say where to write it (--out FILE), or name it there")
    file = Path(out) if out is not None else Path(task).parent / str(named)
    job = task_from_mapping({**fields, "vocabulary": 2}, str(task), Path(task).parent)
    assert isinstance(job, PairTask)
    writer = load_writer(teacher)
    author = Author(writer, prompts_for(writer, job), job.class_names, Counters())
    written = _written(author, texts, seed)
    write_atomic(file, tokenizer_of(written, size, words=writer.words))
    return Vocabulary(file, vocabulary_size(file), len(written))


def _written(author: Author, count: int, seed: int) -> list[str]:
    streams, config = Streams(seed), ZeroGenConfig()
    texts: list[str] = []
    for number in range(4 * count // AT_ONCE + 4):
        if len(texts) >= count:
            break
        streams.begin(number)
        about = [""]
        if author.prompts.has_context:
            about = author.contexts(AT_ONCE // 10, streams("contexts"), config.context_decoding)
        classes = len(author.names)
        requests = [(place % classes, about[place // classes % len(about)]) for place in range(AT_ONCE)]
        texts += filter(None, author.texts(requests, streams("write"), config.decoding, config.debias))
    return texts[:count]
