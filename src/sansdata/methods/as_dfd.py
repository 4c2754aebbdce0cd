"""AS-DFD: adversarial self-supervised data-free distillation of classifiers of texts (Ma et al., EMNLP 2020,
arXiv 2010.04883). Vectors in the place of words are optimised until the teacher sees a wanted class in them and the
student does not yet answer like the teacher; the student learns on them.

Of the paper its introduction was read: what the card of steps does not say is a reconstruction.

Deviation: the student is not given the vectors but a mean of its own words, by the words that come nearest to them in
the teacher's table. The paper's student copies its teacher's layers, words included; ours may have a table of any
width, learns its words, and is asked about words, never about vectors between them.
Deviation: the probe of the student's self-supervised ability (a head that predicts a hidden part of the vectors) is
left out, since no text of it could be read; the difficulty of a text is the divergence of both answers alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pydantic
import torch
from torch import Tensor

from .. import columns
from ..arithmetic import ceil_div
from ..config import Strict
from ..contracts import Access, Batch, Losses, Requirements, Stateful
from ..kinds.index import input_kind
from ..kinds.inputs.tokens import Tokens
from ..memory import Pool
from ..method import Context
from ..models.entry import SPACE
from ..models.modes import fixed
from ..objectives.logits import cross_entropy, kl
from ..synthesis.labels import random_labels, stratified_labels
from ..synthesis.pixels import Inversion
from ..synthesis.rounds import InRounds, Round, Schedule
from ..synthesis.words import AsMade, Words, as_text
from ..training.transfer import TransferSettings


class ASDFDConfig(Strict):
    """The paper's values were not read: all are ours but where another source is named."""

    start: Literal["noise", "uniform", "frequent"] = "frequent"  # the paper's is noise, normal, as wide as the table
    batch: int = pydantic.Field(default=64, ge=2)
    iterations: int = pydantic.Field(default=5, ge=1)
    harder: int = pydantic.Field(default=5, ge=0)  # of these, how many of the last ask for difficulty too
    chunk: int = pydantic.Field(default=5, ge=1)  # iterations a move
    vector_lr: float = pydantic.Field(default=0.6, gt=0)  # Adam's, in standard deviations of the table
    difficulty: float = pydantic.Field(default=1.0, ge=0)  # lambda, of the divergence of both answers
    near: float = pydantic.Field(default=0.1, ge=0)  # of the squared distance to a word, in the table's variance
    balance: bool = True  # as many texts of each class; false is the ablation
    enters: Literal["mixture", "words"] = "words"  # what the student sees: a mean of words, or the nearest alone
    fresh: float = pydantic.Field(default=0.5, ge=0, lt=1)  # share of a batch: words by frequency that nobody moved
    choices: int = pydantic.Field(default=3, ge=1)  # words in that mean
    pool: int = pydantic.Field(default=8192, ge=2)
    steps_per_batch: int = pydantic.Field(default=2, ge=1)
    steps: int = pydantic.Field(default=2000, ge=1)
    transfer: TransferSettings = TransferSettings(
        optimizer="adam", lr=5e-3, weight_decay=0.0, temperature=1.0, batch=64
    )

    @property
    def moves(self) -> int:
        """Moves that one batch of texts takes."""
        return ceil_div(self.iterations, self.chunk)


class ASDFD(InRounds):
    """Guesses vectors of a batch of texts over several moves, keeps the texts, teaches for a while, begins again."""

    Config: ClassVar[type] = ASDFDConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # As the paper goes about it: from noise, many iterations, the vectors as they came out.
        "paper": {
            "start": "noise", "iterations": 50, "harder": 10, "near": 0.0, "enters": "mixture", "fresh": 0.0,
            "steps_per_batch": 10,
        },
    }  # fmt: skip
    config: ASDFDConfig

    @classmethod
    def requires(cls, config: ASDFDConfig) -> Requirements:
        return Requirements(access=Access.WEIGHTS, inputs=frozenset({"tokens"}))

    @classmethod
    def round_of(cls, config: ASDFDConfig) -> Round:
        return Round(config.steps_per_batch, moves=config.moves)

    @classmethod
    def rehearsal(cls, config: ASDFDConfig) -> ASDFDConfig:
        return config.model_copy(update={"iterations": min(config.chunk, config.iterations), "steps_per_batch": 2})

    def __init__(self, config: ASDFDConfig, context: Context) -> None:
        super().__init__(config, context)
        kind = input_kind(context.task)
        assert isinstance(kind, Tokens)
        self.kind, self.words = kind, Words(context, kind)
        blank = torch.zeros(config.batch, kind.spec.length, self.words.table.shape[1])
        self.guess = Inversion(
            context.runtime.place(blank), torch.zeros(config.batch, dtype=torch.int64),
            config.vector_lr * float(self.words.std), config.iterations, config.chunk,
        )  # fmt: skip
        self.pool = Pool(config.pool, AsMade())
        self.schedule = Schedule(
            self.round_of(config), mask=torch.zeros(config.batch, kind.spec.length, dtype=torch.bool)
        )

    # -- texts

    def acquire(self) -> Losses:
        guess, losses = self.guess, Losses()
        if guess.iteration == 0:
            self._begin()
        choices = self._nearest(guess.pixels)  # hardly others within one move
        with fixed(self.context.student):
            for _ in range(guess.in_this_move):
                losses = self._losses(choices)
                guess.step(losses.total())
        if guess.finished:
            self._keep()
            guess.iteration = 0
            self.schedule.begin_steps()
        return losses

    def _begin(self) -> None:
        config, context, stream = self.config, self.context, self.context.streams("vectors")
        source = "uniform" if config.start == "noise" else config.start
        drawn = context.runtime.place(self.kind.draw(config.batch, stream, source))
        vectors = self.words.table[drawn["tokens"]]
        if config.start == "noise":
            noise = torch.randn(vectors.shape, generator=stream)
            vectors = self.words.mean + self.words.std * context.runtime.place(noise)
        labels = stratified_labels if config.balance else random_labels
        targets = labels(config.batch, context.task.classes, stream)
        self.guess.begin(vectors.clone(), targets.to(context.runtime.device))
        self.schedule["mask"] = drawn["mask"]

    def _losses(self, choices: Tensor) -> Losses:
        """What the networks say of the vectors as they stand; choices (B, L, k): the words that they are means of."""
        config, context = self.config, self.context
        vectors = self.words.framed(self.guess.pixels, self.schedule["mask"])
        mixture = self._mixture(vectors, choices)
        free = {**as_text(mixture), "vectors": vectors}
        outputs = context.teacher(free)
        losses = context.acquire_losses(free, outputs)
        losses.add("ce", 1, lambda: cross_entropy(outputs.logits, self.guess.targets))
        late = self.guess.iteration >= config.iterations - config.harder
        # A student that has learnt nothing says nothing about what is hard.
        difficulty = config.difficulty if late and context.progress.steps > 0 else 0.0
        losses.add("easy", difficulty, lambda: -kl(context.student_outputs(mixture).logits, outputs.logits))
        losses.add("near", config.near, lambda: self.words.distance(vectors, choices[:, :, 0], self.schedule["mask"]))
        return losses

    def _nearest(self, vectors: Tensor) -> Tensor:
        """(B, L, k) the words that the vectors are means of."""
        return self.words.nearest(vectors, self.schedule["mask"], self.config.choices)

    def _mixture(self, vectors: Tensor, choices: Tensor) -> dict[str, Tensor]:
        """As it enters any network of this vocabulary."""
        mask = self.schedule["mask"]
        tokens = choices[:, :, 0].masked_fill(~mask, self.kind.spec.padding)
        return {"tokens": tokens, "mask": mask, "choices": choices, "shares": self.words.shares(vectors, choices)}

    def _keep(self) -> None:
        """What was guessed goes into the pool as the student will see it."""
        vectors = self.words.framed(self.guess.pixels.detach(), self.schedule["mask"])
        inputs = self._mixture(vectors, self._nearest(vectors))
        self.pool.add(self._as_seen(inputs), self.guess.targets)
        self.context.counters.add("samples", self.config.batch)

    def _as_seen(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Texts, with a mean of words at each place or without, as the student is to see them."""
        if self.config.enters == "words":
            return as_text(inputs)
        if "choices" in inputs:
            return inputs
        choices = inputs["tokens"][:, :, None].repeat(1, 1, self.config.choices)
        shares = torch.zeros(choices.shape, device=choices.device)
        shares[:, :, 0] = 1  # of the word alone
        return {**inputs, "choices": choices, "shares": shares}

    # -- the student

    def transfer_batch(self) -> Batch:
        self.schedule.end_step()
        context, config = self.context, self.config
        fresh = round(config.fresh * config.transfer.batch)
        inputs = context.runtime.place(self.pool.sample(config.transfer.batch - fresh, context.streams("pool")).inputs)
        if fresh:
            drawn = context.runtime.place(self.kind.draw(fresh, context.streams("fresh"), "frequent"))
            context.counters.add("samples", fresh)
            inputs = columns.join([inputs, self._as_seen(drawn)])
        batch = context.teach(inputs)
        batch.space = SPACE
        return batch

    def state(self) -> Mapping[str, Stateful]:
        return {"guess": self.guess, "pool": self.pool, "schedule": self.schedule}
