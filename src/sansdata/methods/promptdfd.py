"""PromptDFD: prompting to distil (Ma et al., IJCAI 2022, arXiv 2205.07523). A language model that nobody trains goes on
with the beginnings of texts; which beginnings these are is learned by REINFORCE, from how sure the teacher is of the
class that was wanted and how far the student still is from it. The student learns the teacher's soft answers.

Of the paper its abstract and introduction were read: the terms of the reward and the form of the prompter are a
reconstruction.

Deviation: the prompter is a table of logits, for each class and place of the beginning one for each word, and no
network; it begins at what the teacher says of each word by itself. A table has as many parameters as there are words to
choose from, and a batch of 64 tells which of them helped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar

import pydantic
import torch
from torch import Tensor

from ..config import Strict
from ..contracts import Access, Batch, Losses, Requirements, Stateful
from ..errors import MethodError
from ..figures import Figure, Finding
from ..kinds.index import input_kind
from ..kinds.inputs.tokens import Tokens
from ..memory import Pool, Slot
from ..method import Context
from ..models.modes import fixed
from ..objectives.logits import kl
from ..synthesis.labels import stratified_labels
from ..synthesis.rounds import InRounds, Round, Schedule
from ..teachers.writers.base import Decoding
from ..teachers.writers.sources import is_writer, load_writer
from ..training.transfer import TransferSettings

AT_ONCE = 512
"""Words of which the teacher is asked at a time."""
WARM = 8
"""Batches before the rewards' mean stands."""


class PromptDFDConfig(Strict):
    """writer: the language model, by SPEC. words: of the beginning that are chosen. fresh: share of the texts that
    nobody steers; 1 is the model by itself. candidates: words to choose from, the first whole ones of the vocabulary.
    The paper's values were not read: all are ours."""

    writer: str = ""
    words: int = pydantic.Field(default=6, ge=1, le=64)
    fresh: float = pydantic.Field(default=0.5, ge=0, le=1)
    candidates: int = pydantic.Field(default=4000, ge=2)
    start: float = pydantic.Field(default=1.0, ge=0)  # times the teacher's logit of each word, where the table begins
    batch: int = pydantic.Field(default=64, ge=2)
    prompt_lr: float = pydantic.Field(default=0.1, gt=0)  # Adam's
    difficulty: float = pydantic.Field(default=1.0, ge=0)  # of the divergence of both answers, in the reward
    spread: float = pydantic.Field(default=0.01, ge=0)  # of the entropy of the table
    fluency: float = pydantic.Field(default=0.1, ge=0)  # of the mean log-probability of a word, in the reward
    confident: float = pydantic.Field(default=0.0, ge=0, le=1)  # least probability of the wanted class of what is kept
    decoding: Decoding = Decoding(new_tokens=20)
    pool: int = pydantic.Field(default=8192, ge=2)
    steps_per_batch: int = pydantic.Field(default=2, ge=1)
    steps: int = pydantic.Field(default=2000, ge=1)
    transfer: TransferSettings = TransferSettings(
        optimizer="adam", lr=5e-3, weight_decay=0.0, temperature=1.0, batch=64
    )


class PromptDFD(InRounds):
    """Has a batch of texts written, learns which beginnings were good, keeps what is sure and new, teaches, begins
    again."""

    Config: ClassVar[type] = PromptDFDConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    config: PromptDFDConfig

    @classmethod
    def requires(cls, config: PromptDFDConfig) -> Requirements:
        return Requirements(access=Access.SCORES, inputs=frozenset({"tokens"}))

    @classmethod
    def round_of(cls, config: PromptDFDConfig) -> Round:
        return Round(config.steps_per_batch)

    @classmethod
    def models(cls, config: PromptDFDConfig) -> Mapping[str, str]:
        return {config.writer: "writer"} if config.writer else {}

    def __init__(self, config: PromptDFDConfig, context: Context) -> None:
        """Raises MethodError where no language model is named, or nobody can read what it writes."""
        super().__init__(config, context)
        kind = input_kind(context.task)
        assert isinstance(kind, Tokens)
        if kind.tokenizer is None:
            raise MethodError("promptdfd: the task names no tokenizer, so what is written cannot be read")
        if not (config.writer and is_writer(config.writer)):
            raise MethodError(
                f"promptdfd: writer={config.writer!r:.80} is no language model: give a folder, a .gguf file, an "
                "address or a file of ours (docs/texts.md#a-teacher-that-writes)"
            )
        self.kind, self.writer = kind, load_writer(config.writer)
        if not self.writer.needs_prompts:
            raise MethodError(f"promptdfd: {self.writer.source} does not go on with what it is given")
        self.openings = openings(kind, config.candidates)
        table = torch.zeros(context.task.classes, config.words, len(self.openings))
        self.table = torch.nn.Parameter(table)
        if config.start and config.fresh < 1:
            self.table.data += config.start * self._alone()[:, None]
        self.optimizer = torch.optim.Adam([self.table], lr=config.prompt_lr)
        self.pool = Pool(config.pool, kind)
        self.schedule = Schedule(self.round_of(config))
        self.record = Slot(
            drawn=0, steered=0, kept=0, repeated=0, batches=0, hits=0.0, mean=[0.0] * context.task.classes, known=[]
        )
        self._known: set[int] | None = None

    def _alone(self) -> Tensor:
        """(K, W): the teacher's log-odds of each word by itself, in standard deviations of each class."""
        answers = [self._answers_to(self.kind.read(self.openings[at : at + AT_ONCE]))
                   for at in range(0, len(self.openings), AT_ONCE)]  # fmt: skip
        logs = torch.cat(answers).log_softmax(1).T
        return (logs - logs.mean(1, keepdim=True)) / logs.std(1, keepdim=True).clamp_min(1e-6)

    def _answers_to(self, inputs: Any) -> Tensor:
        with torch.no_grad():
            return self.context.teacher(self.context.runtime.place(inputs)).logits.float().cpu()

    # -- texts

    def acquire(self) -> Losses:
        config, context = self.config, self.context
        steered = config.batch - round(config.fresh * config.batch)
        labels = stratified_labels(steered, context.task.classes, context.streams("labels"))
        chosen = self._beginnings(labels)
        prompts = [" ".join(self.openings[place] for place in row) for row in chosen.tolist()]
        prompts += [""] * (config.batch - steered)
        continuations = self.writer.generate(prompts, context.streams("write"), config.decoding)
        texts = [f"{prompt} {one}".strip() for prompt, one in zip(prompts, continuations)]
        inputs = self.kind.read(texts)
        answers = self._answers_to(inputs)
        losses = Losses()
        if steered:
            ours = {name: column[:steered] for name, column in inputs.items()}
            losses = self._steer(labels, chosen, self._rewards(ours, texts[:steered], answers[:steered], labels))
        self._keep(texts, inputs, answers, labels)
        self.schedule.begin_steps()
        return losses

    def _beginnings(self, labels: Tensor) -> Tensor:
        """(B, words) places among the openings, drawn from the table."""
        if not len(labels):
            return torch.zeros(0, self.config.words, dtype=torch.int64)
        shares = self.table.detach()[labels].softmax(2).flatten(0, 1)
        return torch.multinomial(shares, 1, generator=self.context.streams("beginnings")).view(len(labels), -1)

    def _rewards(self, inputs: Any, texts: list[str], answers: Tensor, labels: Tensor) -> Tensor:
        """(B,): the log-confidence in the wanted class, how far the student is from the teacher, how like its own texts
        the writer finds it."""
        config, context = self.config, self.context
        rewards = answers.log_softmax(1).gather(1, labels[:, None]).squeeze(1)
        # A student that has learnt nothing says nothing about what is hard.
        if config.difficulty and context.progress.steps > 0:
            with torch.no_grad(), fixed(context.student):
                student = context.student_outputs(context.runtime.place(inputs)).logits.float().cpu()
            rewards = rewards + config.difficulty * kl(student, answers)
        if config.fluency and self.writer.scores:
            totals, counts = self.writer.score([""] * len(texts), texts)
            rewards = rewards + config.fluency * totals / counts.clamp_min(1)
        return rewards

    def _steer(self, labels: Tensor, chosen: Tensor, rewards: Tensor) -> Losses:
        """A step of REINFORCE (Williams 1992); the baseline is the running mean of each class."""
        mean = torch.tensor(self.record["mean"])
        advantages = rewards - mean[labels] if self.record["batches"] else rewards - rewards.mean()
        rate = max(1 / (1 + self.record["batches"]), 1 / WARM)
        for label in labels.unique().tolist():
            mean[label] += rate * (float(rewards[labels == label].mean()) - float(mean[label]))
        self.record["mean"], self.record["batches"] = mean.tolist(), self.record["batches"] + 1
        logs = self.table[labels].log_softmax(2)
        chances = logs.gather(2, chosen[:, :, None]).squeeze(2).sum(1)
        losses = Losses()
        scaled = advantages / advantages.std().clamp_min(1e-3)
        losses.add("steer", 1, lambda: -scaled * chances)
        losses.add("spread", self.config.spread, lambda: (logs.exp() * logs).sum(2).mean(1))
        losses.total().backward()
        self.context.runtime.step(self.optimizer)
        return losses

    def _keep(self, texts: list[str], inputs: Any, answers: Tensor, labels: Tensor) -> None:
        """Those that are new, and whose wanted class the teacher is sure of; what nobody steered, behind them, is kept
        whatever it is."""
        steered, named = len(labels), answers.argmax(1)
        sure = answers[:steered].softmax(1).gather(1, labels[:, None]).squeeze(1)
        confident = torch.ones(len(texts), dtype=torch.bool)
        confident[:steered] = sure >= self.config.confident
        hits = float((named[:steered] == labels).sum())
        labels = torch.cat([labels, named[steered:]])
        places = []
        for place, text in enumerate(texts):
            mark = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "little")
            if mark in self.known:
                self.record["repeated"] += 1
            elif confident[place]:
                self.known.add(mark)
                self.record["known"].append(mark)
                places.append(place)
        if not places and not len(self.pool):  # the student must learn something: the surest there is
            places = [int(answers.softmax(1).amax(1).argmax())]
        self.record["drawn"] += len(texts)
        self.record["kept"] += len(places)
        self.record["steered"] += steered
        self.record["hits"] += hits
        if places:
            self.pool.add({name: column[places] for name, column in inputs.items()}, labels[places], answers[places])
            self.context.counters.add("samples", len(places))

    @property
    def known(self) -> set[int]:
        """Of each text that was kept a number."""
        if self._known is None or len(self._known) != len(self.record["known"]):
            self._known = set(self.record["known"])
        return self._known

    # -- the student

    def transfer_batch(self) -> Batch:
        self.schedule.end_step()
        context = self.context
        pooled = self.pool.sample(self.config.transfer.batch, context.streams("pool"))
        answers = pooled.extras["logits"].to(context.runtime.device)
        return context.teach(context.runtime.place(pooled.inputs), targets=pooled.targets, answers=answers)

    def findings(self) -> list[Finding]:
        drawn = max(1, self.record["drawn"])
        return [
            Figure(
                "yield",
                self.record["kept"] / drawn,
                "share",
                "texts that were kept: new, and sure enough to the teacher",
                "higher",
            ),
            Figure(
                "class_hit",
                self.record["hits"] / max(1, self.record["steered"]),
                "share",
                "steered texts of the class that was wanted",
                "higher",
            ),
            Figure("repeated", self.record["repeated"] / drawn, "share", "texts that had been written before", "lower"),
        ]

    def state(self) -> Mapping[str, Stateful]:
        return {
            "table": self.guide, "optimizer": self.optimizer, "pool": self.pool, "schedule": self.schedule,
            "record": self.record,
        }  # fmt: skip

    @property
    def guide(self) -> torch.nn.Module:
        """The table as a module, to be saved."""
        return torch.nn.ParameterList([self.table])


def openings(kind: Tokens, count: int) -> list[str]:
    """The first `count` ids of the vocabulary that are words by themselves, not parts of one. Raises MethodError where
    there are fewer than two."""
    tokenizer, words = kind.tokenizer, list[str]()
    assert tokenizer is not None
    for place in tokenizer.plain_ids:
        word = tokenizer.decoded([place]).strip()
        if word[:1].isalpha() and word.isalnum() and place != kind.spec.padding and tokenizer.encoded(word) == [place]:
            words.append(word)
        if len(words) == count:
            break
    if len(words) < 2:
        raise MethodError(
            f"promptdfd: the task's tokenizer {tokenizer.path} has no words of letters to begin a text by"
        )
    return words
