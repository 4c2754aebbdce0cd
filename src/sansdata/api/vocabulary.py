"""The words of a teacher that writes, as the tokenizer of its student."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..config import read_yaml
from ..contracts import Counters
from ..errors import TaskError, TeacherError
from ..files import user_path, write_atomic
from ..methods.zerogen.drawing import Author
from ..methods.zerogen.settings import LONGEST, ZeroGenConfig
from ..models.modes import usual_modes
from ..streams import Streams
from ..synthesis.given_texts import given_lines
from ..tasks import PairTask, task_from_mapping
from ..tasks.tokens import vocabulary_size
from ..teachers.writers.prompted import prompts_for
from ..teachers.writers.sources import is_writer, load_writer
from ..teachers.writers.vocabulary import is_of_words, tokenizer_of
from .outputs import require_free

AT_ONCE = 200
"""Texts of a round, about a tenth as many contexts."""


@dataclass(frozen=True)
class Vocabulary:
    """What `write_vocabulary` made. words: ids of the tokenizer; texts: that were written for it."""

    file: Path
    words: int
    texts: int


@usual_modes()
def write_vocabulary(
    teacher: str, task: str | Path, out: str | Path | None = None, texts: int = 2000, size: int = 20_000, seed: int = 0,
    contexts: str | Path | None = None,
) -> Vocabulary:  # fmt: skip
    """Has the teacher write `texts` texts and keeps their words, the most frequent `size` at most, as a tokenizer.json.

    contexts: a file of yours with one a line, where texts are to be about these; of two texts, which the student reads
    both, their words are kept too, and so are those of contexts that the teacher writes.

    task: a file. out: default is the tokenizer that it names, which need not be there yet; an earlier one that was made
    so gives way. Raises TaskError for a task that is none, TeacherError for a teacher that does not write, ConfigError
    where any other file stands there.
    """
    if not is_writer(teacher):
        raise TeacherError(
            f"'{teacher[:80]}' does not write texts: a vocabulary is made of what a language model writes"
        )
    fields = dict(read_yaml(Path(task), error=TaskError))
    named = fields.pop("tokenizer", None)
    if out is None and not isinstance(named, str):
        raise TaskError(f"{task}: names no tokenizer; say where to write it (--out FILE), or name it there")
    file = user_path(out) if out is not None else Path(task).parent / str(named)
    require_free(file, ours=is_of_words)
    job = task_from_mapping({**fields, "vocabulary": 2}, str(task), Path(task).parent)
    assert isinstance(job, PairTask)
    writer = load_writer(teacher)
    author = Author(writer, prompts_for(writer, job), job.class_names, Counters())
    firsts = given_lines(Path(contexts).expanduser(), LONGEST, distinct=True) if contexts is not None else []
    if author.prompts.has_context and not firsts and not author.prompts.context:
        raise TaskError(f"{task}: the text prompt has a {{context}} and no prompt for it: name a file of contexts")
    pairs = _written(author, texts, seed, firsts)
    written = [text for text, _ in pairs]
    if job.pair[0] == "two-texts":
        written += dict.fromkeys([*firsts, *(about for _, about in pairs)])
    write_atomic(file, tokenizer_of(written, size, words=writer.words))
    return Vocabulary(file, vocabulary_size(file), len(pairs))


def _written(author: Author, count: int, seed: int, given: list[str]) -> list[tuple[str, str]]:
    """(text, context)."""
    streams, config = Streams(seed), ZeroGenConfig()
    texts: list[tuple[str, str]] = []
    for number in range(4 * count // AT_ONCE + 4):
        if len(texts) >= count:
            break
        streams.begin(number)
        about = given[number * AT_ONCE // 10 % len(given) :][: AT_ONCE // 10] if given else [""]
        if author.prompts.has_context and not given:
            about = author.contexts(AT_ONCE // 10, streams("contexts"), config.context_decoding)
        classes = len(author.names)
        requests = [(place % classes, about[place // classes % len(about)]) for place in range(AT_ONCE)]
        continuations = author.texts(requests, streams("write"), config.decoding, config.debias)
        texts += [(text, context) for text, (_, context) in zip(continuations, requests) if text]
    return texts[:count]
