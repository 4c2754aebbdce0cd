"""ZeroGen (Ye et al. 2022, arXiv 2202.07922): a language model writes texts of each class, and a small student learns
them by ordinary cross-entropy. The text is the only channel: no logits, no gradients, no shared vocabulary.

A label is known because it stood in the prompt. Of two texts the first is the prompt's context, given or written, and
the second is written to it. What its writer thinks of a text afterwards can be used as well
(`scores`): as in SuperGen (Meng et al. 2022, arXiv 2202.04538) for choosing, or as the label itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from ... import columns
from ...arithmetic import ceil_div
from ...contracts import Access, Batch, Forward, Losses, Requirements, Stateful
from ...errors import MethodError
from ...figures import Finding
from ...kinds.index import input_kind
from ...kinds.inputs.tokens import Tokens
from ...kinds.inputs.two_texts import TwoTexts
from ...memory import Pool, Slot
from ...method import Context
from ...synthesis.given_texts import given_lines
from ...synthesis.rounds import InRounds, Round, Schedule
from ...teachers.writers.base import GENERATES, Writer
from ...teachers.writers.prompted import Prompted, prompts_for
from .cutting import reason_against
from .domain import nearness, shown_before
from .drawing import PATIENCE, Author
from .feedback import copies, examples_for, held_out, helpful
from .findings import findings_of
from .labels import best_of_each
from .lesson import Lesson, lesson_of
from .pilot import Pilot
from .reading import Reading
from .settings import GENERATED, LONGEST, ZeroGenConfig
from .weighing import Weighing
from .written import Written


class ZeroGen(InRounds):
    """The texts are written first, chunk by chunk; then the student learns. A longer run goes on writing."""

    Config: ClassVar[type] = ZeroGenConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU with a small writer (ours).
        "small": {"texts": 2000, "steps": 1500},
    }

    @classmethod
    def requires(cls, config: ZeroGenConfig) -> Requirements:
        access = Access.LABELS if config.scores == "unused" else Access.SCORES
        return Requirements(access, inputs=frozenset({"tokens", "two-texts"}), capabilities=frozenset({GENERATES}))

    @classmethod
    def round_of(cls, config: ZeroGenConfig) -> Round:
        return Round(steps=config.more_every, warmup=ceil_div(config.texts, config.chunk) - 1)

    @classmethod
    def plan(cls, config: ZeroGenConfig, steps: int) -> dict[str, int]:
        more = {"feed": len(config.feedback.after(config.texts, config.chunk)), "weigh": config.reweigh.rounds}
        return super().plan(config, steps) | {move: count for move, count in more.items() if count}

    @classmethod
    def rehearsal(cls, config: ZeroGenConfig) -> ZeroGenConfig:
        rounds = config.reweigh.model_copy(update={"rounds": min(4, config.reweigh.rounds)})
        fed, chunks = config.feedback.model_copy(update={"first": 1}), 4 if config.feedback.share else 1
        few = {"texts": chunks * config.chunk, "more_every": 8}
        return config.model_copy(update=few | {"reweigh": rounds, "feedback": fed})

    @classmethod
    def reads(cls, config: ZeroGenConfig) -> Mapping[Path, str]:
        named = {"contexts": "" if config.contexts == GENERATED else config.contexts, "domain": config.domain}
        return {Path(path).expanduser(): role for role, path in named.items() if path}

    def __init__(self, config: ZeroGenConfig, context: Context) -> None:
        """Raises MethodError for settings that this writer, its prompts or this task cannot follow."""
        super().__init__(config, context)
        self.writer: Writer = context.teacher.capability(GENERATES)
        self.prompts = prompts_for(self.writer, context.task)
        kind = input_kind(context.task)
        assert isinstance(kind, Tokens | TwoTexts)
        self.reading, self.names = Reading(kind), context.task.class_names
        self._require_sense()
        self.author = Author(self.writer, self.prompts, self.names, context.counters)
        files = {role: path for path, role in self.reads(config).items()}
        self.given = given_lines(files["contexts"], LONGEST, distinct=True) if "contexts" in files else []
        self.phrases = given_lines(files["domain"], LONGEST, distinct=True) if "domain" in files else []
        self.written = Written(len(self.names), config.near)
        self.pool = Pool(config.pool, kind)
        self.schedule = Schedule(self.round_of(config), chunks=0, contexts=0)
        self.weighing = Weighing()
        self.feeds = config.feedback.after(config.texts, config.chunk)
        self.fed = Slot(times=0, helpful=[[] for _ in self.names], held_out=[])
        self._lesson: tuple[int, Lesson] | None = None

    def _require_sense(self) -> None:
        config = self.config
        if self.reading.tokenizer is None:
            raise MethodError(
                "zerogen: the task names no tokenizer, so what is written cannot be read. `sansdata vocabulary` makes "
                "one of the writer's own words"
            )
        if config.contexts != GENERATED and not self.prompts.has_context:
            raise MethodError("zerogen: contexts are given, and the text prompt of the task has no {context}")
        if config.contexts == GENERATED and self.prompts.has_context and not self.prompts.context:
            raise MethodError(
                "zerogen: the text prompt has a {context} and nothing says where contexts are from: give "
                "contexts=FILE, one a line, or a context prompt"
            )
        if config.feedback.share and not self.writer.needs_prompts:
            raise MethodError(f"zerogen: feedback stands in prompts, and {self.writer.source} reads none")
        if (config.reweigh.rounds or config.feedback.share) and config.pool < config.texts:
            raise MethodError(
                f"zerogen: reweigh and feedback look at all texts, and pool={config.pool} is less than {config.texts}"
            )
        if config.debias.decay and not self.writer.debiases:
            raise MethodError(
                f"zerogen: debias needs the writer's next-token logits, and {self.writer.source} has none"
            )

    def next_move(self) -> str:
        move, times = self.schedule.next_move, self.fed["times"]
        if times < len(self.feeds) and self.schedule["chunks"] == self.feeds[times]:
            return "feed"
        return "weigh" if move == "transfer" and self.weighing["rounds"] < self.config.reweigh.rounds else move

    # -- writing

    def acquire(self) -> Losses:
        """Writes until the chunk is full, or patience ends; behind the last of the first texts the student's steps
        begin."""
        first, texts = len(self.written), self.config.texts
        chunk = self.config.chunk if first >= texts else min(self.config.chunk, texts - first)
        for _ in range(PATIENCE):
            missing = first + chunk - len(self.written)
            if missing <= 0:
                break
            self._draw(missing, first + chunk)
        if not len(self.written):
            raise MethodError(
                f"zerogen: none of {self.written.drawn:,} continuations could be kept ({self.refusals()}): look at the "
                "prompts, or lower min_words"
            )
        self._store(first)
        self.schedule["chunks"] += 1
        if self.schedule["chunks"] > self.round_of(self.config).warmup:
            self.schedule.begin_steps()
        return Losses()

    def _draw(self, missing: int, most: int) -> None:
        """About as many continuations as texts are missing; those that pass are kept, `most` in all and as many of each
        class."""
        config, choosing = self.config, bool(self.phrases) and not self.writer.needs_prompts
        requests = self._requests(missing * (config.choice if choosing else 1))
        before, shown = self._examples([label for label, _ in requests])
        texts = self.author.texts(requests, self.context.streams("write"), config.decoding, config.debias, before)
        self.written.drawn += len(texts)
        passed: list[tuple[str, int, str]] = []
        for (label, about), text, examples in zip(requests, texts, shown):
            reason = reason_against(text, about, config.min_words)
            if reason or copies(text, examples):
                self.written.refuse(reason or "example")
            else:
                passed.append((text, label, about))
        if choosing:
            passed = self._nearest(passed)
        for text, label, about in passed:
            if self.written.of_class(label) < ceil_div(most, len(self.names)) and len(self.written) < most:
                self.written.keep(text, label, about)

    def _examples(self, labels: list[int]) -> tuple[list[str], list[list[str]]]:
        """(what stands before each prompt, the written texts in it); nothing for a writer that reads no prompts."""
        config, streams = self.config, self.context.streams
        if not self.writer.needs_prompts:
            return [], [[] for _ in labels]
        chosen = self.fed["helpful"]
        before, shown = examples_for(labels, chosen, config.feedback, self.prompts, streams("examples"))
        phrases = shown_before(self.phrases, self.prompts, len(labels), config.shots, streams("domain"))
        return [one + other for one, other in zip(phrases or [""] * len(labels), before)], shown

    def _nearest(self, passed: list[tuple[str, int, str]]) -> list[tuple[str, int, str]]:
        """Of each class the texts nearest to the phrases, one in `choice`; the others are refused as 'elsewhere'."""
        near = torch.tensor(nearness([text for text, _, _ in passed], self.phrases, self.writer.words))
        labels = torch.tensor([label for _, label, _ in passed])
        kept = best_of_each(near, labels, 1 / self.config.choice).tolist() if passed else []
        for _ in range(len(passed) - len(kept)):
            self.written.refuse("elsewhere")
        return [passed[place] for place in kept]

    def _requests(self, missing: int) -> list[tuple[int, str]]:
        """(class, context) of the next continuations: the classes that lack most first, each context several times."""
        short = sorted(range(len(self.names)), key=lambda label: (self.written.of_class(label), label))
        labels = [short[number % len(short)] for number in range(missing)]
        if not self.prompts.has_context:
            return [(label, "") for label in labels]
        each = self.config.per_context * len(self.names)
        about = self._contexts(ceil_div(missing, each))
        return [(label, about[number // each]) for number, label in enumerate(labels)]

    def _contexts(self, count: int) -> list[str]:
        """The next of those that are given, from the first again after the last; or new ones."""
        if not self.given:
            contexts = self.author.contexts(count, self.context.streams("contexts"), self.config.context_decoding)
            return [contexts[number % len(contexts)] for number in range(count)]
        at = self.schedule["contexts"]
        self.schedule["contexts"] = at + count
        return [self.given[(at + number) % len(self.given)] for number in range(count)]

    def _store(self, first: int) -> None:
        """Puts the texts from place `first` on into the pool, with the writer's judgement where that is used."""
        texts = self.written.texts[first:]
        if not texts:
            return
        labels = torch.tensor(self.written.labels[first:])
        logits = None
        if self.config.scores != "unused":
            module = self.context.teacher.module
            assert isinstance(module, Prompted)
            logits = module.of_texts(texts, self.written.contexts[first:] if self.reading.two else ())
            self.context.counters.add("teacher_forwards", len(texts))
        self.pool.add(self.reading.read(texts, self.written.contexts[first:]), labels, logits)
        self.context.counters.add("samples", len(texts))

    def feed(self) -> Losses:
        """ProGen: which of the texts so far helped most; they become examples for the next."""
        how, fed, stream = self.config.feedback, self.fed, self.context.streams("held out")
        fed["held_out"] = held_out(fed["held_out"], len(self.pool), how, stream)
        examples = helpful(self._pilot(), fed["held_out"], how, self.config.transfer.lr)
        fed["times"] += 1
        fed["helpful"] = [[self.written.texts[place] for place in places] for places in examples]
        return Losses()

    def _pilot(self) -> Pilot:
        packed, targets = self.pool.packed(), self.pool.targets
        assert packed is not None
        assert targets is not None
        return Pilot.of(self.context, packed, targets[: len(self.pool)])

    # -- learning

    def weigh(self) -> Losses:
        """One round of SunGen, before the student's first step: it starts where the student does."""
        outer = self.weighing.round(self._pilot(), self.config.reweigh, self.config.transfer.lr)
        losses = Losses()
        losses.add("outer", 1, lambda: torch.tensor(outer))
        return losses

    def transfer_batch(self) -> Batch:
        self.schedule.end_step()
        context, stream = self.context, self.context.streams("batch")
        lesson = self.lesson
        ids = torch.randint(len(lesson.places), (self.config.transfer.batch,), generator=stream)
        packed = self.pool.packed()
        assert packed is not None
        inputs = columns.take(packed, lesson.places[ids])
        inputs = self.reading.with_unknown(inputs, self.config.dropout, stream)
        batch = Batch(context.runtime.place(inputs), context.runtime.place(lesson.targets[ids].argmax(1)))
        if self.config.scores == "soft":
            batch.extras["shares"] = context.runtime.place(lesson.targets[ids])
        if self.config.scores == "weight" or self.config.reweigh.rounds:
            batch.weights = context.runtime.place(lesson.weights[ids])
        return batch

    @property
    def lesson(self) -> Lesson:
        """What the student learns of the pool: a function of what is in it."""
        if self._lesson is None or self._lesson[0] != self.pool.added:
            weights = self.weighing.weights(len(self.pool), self.pool.added)
            self._lesson = (
                self.pool.added,
                lesson_of(self.pool, self.reading, weights, self.config, self.context.streams.seed),
            )
        return self._lesson[1]

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        losses, smoothing = Losses(), self.config.smoothing
        logits, targets = student(batch.inputs).logits, batch.targets
        if "shares" in batch.extras:  # of the batch itself; inputs that an update joined behind have none
            targets = batch.extras["shares"]
            logits = logits[: len(targets)]
        assert targets is not None
        losses.add("ce", 1, lambda: F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing))
        return losses

    # -- what is left

    def refusals(self) -> str:
        """Why continuations were not kept, the commonest reason first."""
        counted = sorted(self.written.refused.items(), key=lambda entry: -entry[1])
        return ", ".join(f"{count:,} {reason}" for reason, count in counted)

    def findings(self) -> list[Finding]:
        return findings_of(self.written, self.pool, bool(self.given) if self.reading.two else None)

    def state(self) -> Mapping[str, Stateful]:
        return {
            "written": self.written,
            "pool": self.pool,
            "schedule": self.schedule,
            "weighing": self.weighing,
            "fed": self.fed,
        }
