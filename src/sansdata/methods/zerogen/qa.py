"""ZeroGen for extractive question answering (Ye et al. 2022, arXiv 2202.07922): an answer is chosen from a context that
is given, a language model writes a question for it, and a small reader learns to point to the answer.

The contexts are real, and said to be so: the ledger names their file. Question and label are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pydantic
import torch

from ... import columns
from ...arithmetic import ceil_div
from ...config import Strict
from ...contracts import Access, Batch, Forward, Losses, Requirements, Stateful
from ...errors import MethodError
from ...figures import Finding
from ...kinds.index import input_kind, output_kind
from ...kinds.inputs.two_texts import TwoTexts
from ...kinds.outputs.span import Spans
from ...memory import Pool, Slot
from ...method import Context
from ...objectives.logits import cross_entropy
from ...synthesis.given_texts import given_lines
from ...synthesis.rounds import InRounds, Round, Schedule
from ...teachers.writers.base import GENERATES, Decoding, Steering, Writer
from ...teachers.writers.prompted import prompts_for
from ...training.transfer import TransferSettings
from .answers import candidates, reason_against
from .cutting import MARK, cut_question
from .drawing import PATIENCE
from .findings import findings_of
from .reading import Reading
from .settings import LONGEST
from .written import Written


class ZeroGenQAConfig(Strict):
    """contexts: a file of yours with one a line, which is data. per_answer: questions of one answer before the next
    round of all of them. shuffled: every question stands beside the context and the answer of another, the floor. All
    others are as in ZeroGenConfig."""

    contexts: str = ""
    texts: int = pydantic.Field(default=4000, ge=2)  # ours
    chunk: int = pydantic.Field(default=250, ge=1)  # ours
    more_every: int = pydantic.Field(default=5000, ge=1)  # ours
    pool: int = pydantic.Field(default=200_000, ge=2)  # ours
    per_answer: int = pydantic.Field(default=2, ge=1)  # released
    decoding: Decoding = Decoding()  # released
    min_words: int = pydantic.Field(default=5, ge=1)  # released
    near: float = pydantic.Field(default=0.8, gt=0, le=1)  # ours
    dropout: float = pydantic.Field(default=0.05, ge=0, lt=1)  # ours
    shuffled: bool = False
    steps: int = pydantic.Field(default=3000, ge=1)  # ours
    transfer: TransferSettings = TransferSettings(
        optimizer="adam", lr=2e-3, weight_decay=0.0, batch=32, schedule="cosine", clip=10.0, temperature=1.0
    )  # ours; released: a BiDAF with Adadelta


class ZeroGenQA(InRounds):
    """The questions are written first, chunk by chunk; then the student learns. A longer run goes on writing."""

    Config: ClassVar[type] = ZeroGenQAConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU with a small writer (ours).
        "small": {"texts": 2000, "steps": 1000},
    }
    config: ZeroGenQAConfig

    @classmethod
    def requires(cls, config: ZeroGenQAConfig) -> Requirements:
        return Requirements(
            Access.LABELS, inputs=frozenset({"two-texts"}), outputs=frozenset({"span"}),
            capabilities=frozenset({GENERATES}),
        )  # fmt: skip

    @classmethod
    def round_of(cls, config: ZeroGenQAConfig) -> Round:
        return Round(steps=config.more_every, warmup=ceil_div(config.texts, config.chunk) - 1)

    @classmethod
    def rehearsal(cls, config: ZeroGenQAConfig) -> ZeroGenQAConfig:
        return config.model_copy(update={"texts": config.chunk, "more_every": 8})

    @classmethod
    def reads(cls, config: ZeroGenQAConfig) -> Mapping[Path, str]:
        return {Path(config.contexts).expanduser(): "contexts"} if config.contexts else {}

    def __init__(self, config: ZeroGenQAConfig, context: Context) -> None:
        """Raises MethodError where no contexts are given, nobody can read them, or nothing in them could be an
        answer."""
        super().__init__(config, context)
        self.writer: Writer = context.teacher.capability(GENERATES)
        self.prompts = prompts_for(self.writer, context.task)
        kind = input_kind(context.task)
        assert isinstance(kind, TwoTexts)
        if kind.tokenizer is None:
            raise MethodError("zerogen-qa: the task names no tokenizer, so what is written cannot be read")
        if not config.contexts:
            raise MethodError("zerogen-qa: answers are chosen from contexts of yours: give contexts=FILE, one a line")
        spans = output_kind(context.task)
        assert isinstance(spans, Spans)
        self.kind, self.reading, self.spans = kind, Reading(kind), spans
        contexts = given_lines(Path(config.contexts).expanduser(), LONGEST, distinct=True)
        outputs = context.task.outputs
        self.answers = candidates(contexts, kind.tokenizer, outputs.positions, outputs.longest)
        if not self.answers:
            raise MethodError(f"zerogen-qa: {config.contexts} has no phrase that could be an answer")
        self.written = Written(len(self.answers), config.near)
        self.pool = Pool(config.pool, kind)
        self.schedule = Schedule(self.round_of(config), chunks=0)
        self.position = Slot(answers=0)
        self._shuffled: tuple[int, list[int]] | None = None

    # -- writing

    def acquire(self) -> Losses:
        """Writes until the chunk is full, or patience ends; behind the last of the first texts the student's steps
        begin."""
        first, texts = len(self.written), self.config.texts
        most = first + self.config.chunk if first >= texts else min(first + self.config.chunk, texts)
        for _ in range(PATIENCE):
            if len(self.written) >= most:
                break
            self._ask(most - len(self.written))
        if not len(self.written):
            raise MethodError(f"zerogen-qa: none of {self.written.drawn:,} continuations was a question: look at the "
                              "prompts, or lower min_words")  # fmt: skip
        self._store(first)
        self.schedule["chunks"] += 1
        if self.schedule["chunks"] > self.round_of(self.config).warmup:
            self.schedule.begin_steps()
        return Losses()

    def _ask(self, missing: int) -> None:
        """A question for each of the next answers."""
        places = self._next(missing)
        prompts = [self.prompts.before(self.answers[place].answer, self.answers[place].context) for place in places]
        stream, how = self.context.streams("write"), self.config.decoding
        continuations = self.writer.generate(prompts, stream, how, Steering(ends=MARK))
        self.context.counters.add("teacher_forwards", len(continuations))
        self.written.drawn += len(continuations)
        for place, text in zip(places, continuations):
            question = cut_question(text) if self.writer.needs_prompts else text
            if reason := reason_against(question, self.answers[place].answer, self.config.min_words):
                self.written.refuse(reason)
            else:
                self.written.keep(question, place, self.answers[place].context)

    def _next(self, count: int) -> list[int]:
        """Answers in an order of chance, which is another in each round of all of them."""
        each, at, total = self.config.per_answer, self.position["answers"], len(self.answers)
        self.position["answers"] = at + count
        return [self._order((at + number) // each // total)[(at + number) // each % total] for number in range(count)]

    def _order(self, round_: int) -> list[int]:
        """All answers, as the round of this number takes them: a function of the seed."""
        if self._shuffled is None or self._shuffled[0] != round_:
            stream = torch.Generator().manual_seed(self.context.streams.seed + round_)
            self._shuffled = round_, torch.randperm(len(self.answers), generator=stream).tolist()
        return self._shuffled[1]

    def _store(self, first: int) -> None:
        questions, chosen = self.written.texts[first:], [self.answers[one] for one in self.written.labels[first:]]
        if not questions:
            return
        contexts = [one.context for one in chosen]
        assert self.kind.tokenizer is not None
        truth = self.spans.truth(self.kind.tokenizer, contexts, [(one.start, one.end) for one in chosen])
        self.pool.add(self.kind.read(contexts, questions), torch.from_numpy(truth))
        self.context.counters.add("samples", len(questions))

    # -- learning

    def transfer_batch(self) -> Batch:
        self.schedule.end_step()
        context, stream = self.context, self.context.streams("batch")
        ids = torch.randint(len(self.pool), (self.config.transfer.batch,), generator=stream)
        packed, targets = self.pool.packed(), self.pool.targets
        assert packed is not None
        assert targets is not None
        inputs = columns.take(packed, ids)
        if self.config.shuffled:
            other = columns.take(packed, (ids + len(self.pool) // 2) % len(self.pool))
            assert not isinstance(inputs, torch.Tensor)
            assert not isinstance(other, torch.Tensor)
            inputs = {**inputs, "second": other["second"], "second_mask": other["second_mask"]}
        shown = self.reading.with_unknown(inputs, self.config.dropout, stream)
        return Batch(context.runtime.place(shown), context.runtime.place(targets[ids]))

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        losses, targets = Losses(), batch.targets
        assert targets is not None
        logits = student(batch.inputs).value[: len(targets)]  # without inputs that an update joined behind
        losses.add("ce", 1, lambda: cross_entropy(logits, targets[:, :2]))
        return losses

    def findings(self) -> list[Finding]:
        return findings_of(self.written, self.pool, first_texts_given=True)

    def state(self) -> Mapping[str, Stateful]:
        return {"written": self.written, "pool": self.pool, "schedule": self.schedule, "position": self.position}
