"""AF-STip: knowledge of weak smart contracts passed on without contracts (Wang & Jiang 2024, arXiv 2412.11175).

A reconstruction: the paper's body was not read and no training code is public. Its kinds of loss (divergence and
classification), its pseudo-samples (normal noise) and the cleaning of code are known; sizes, weights and all modes but
'pure' and 'perturb' are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import pydantic
import torch
from torch import Tensor, nn

from ...columns import take
from ...config import Strict
from ...contracts import Access, Batch, Forward, Losses, Requirements, Stateful
from ...errors import MethodError
from ...kinds.index import input_kind
from ...kinds.inputs.tokens import Tokens
from ...memory import Pool
from ...method import Context
from ...models.entry import SPACE, enters_behind
from ...models.modes import fixed
from ...objectives.logits import cross_entropy, kl
from ...synthesis.labels import random_labels, stratified_labels
from ...synthesis.rounds import InRounds, Round, Schedule
from ...synthesis.words import AsMade, Words, give_words
from ...training.transfer import TransferSettings
from .sources import IN_VECTORS, SOURCES, require_readable

Mode = Literal["pure", "perturb", "invert", "grammar", "resample"]
ALIKE = 0.95
"""Share of the teacher's answers of one class from which on the samples teach a constant."""


class AFStipConfig(Strict):
    """(R) is this project's reconstruction, as all else that names no source."""

    mode: Mode = "grammar"
    fragments: str = ""  # perturb: the file of real fragments
    lexer: Literal["tree-sitter", "regex"] = "tree-sitter"  # of these
    sigma: float = pydantic.Field(default=0.5, ge=0)  # perturb: of the noise, in deviations of the table (R)
    iterations: int = pydantic.Field(default=20, ge=1)  # invert, resample: steps of an optimisation
    vector_lr: float = pydantic.Field(default=0.2, gt=0)  # invert: Adam's, in deviations of the table
    bn: float = pydantic.Field(default=0.1, ge=0)  # invert: of the statistics of the fusion's BatchNorm
    near: float = pydantic.Field(default=1.0, ge=0)  # invert: of the squared distance to words, in the table's variance
    candidates: int = pydantic.Field(default=4, ge=1)  # grammar: fragments written for each that is taken
    choices: int = pydantic.Field(default=6, ge=2)  # resample: ids to choose from at each place
    score_lr: float = pydantic.Field(default=0.3, gt=0)  # resample: Adam's
    gumbel: float = pydantic.Field(default=0.7, gt=0)  # resample: temperature of the shares
    difficulty: float = pydantic.Field(default=0.0, ge=0)  # resample: of the student's divergence from the teacher
    balance: bool = True  # every class of the teacher's answers alike; false is the ablation
    one_class: Literal["refuse", "allow"] = "refuse"  # where the teacher says one class of nearly all
    alpha: float = pydantic.Field(default=0.7, ge=0, le=1)  # of the divergence; the rest is the teacher's class (R)
    batch: int = pydantic.Field(default=128, ge=2)
    pool: int = pydantic.Field(default=4096, ge=2)
    steps_per_batch: int = pydantic.Field(default=10, ge=1)
    steps: int = pydantic.Field(default=2000, ge=1)  # (R)
    transfer: TransferSettings = TransferSettings(
        optimizer="adam", lr=1e-3, weight_decay=0.0, temperature=4.0, batch=64
    )  # (R)

    @pydantic.model_validator(mode="after")
    def _named(self) -> AFStipConfig:
        if (self.mode == "perturb") != bool(self.fragments):
            raise ValueError("fragments is the file of real code that mode=perturb, and no other, changes")
        return self


class AFStip(InRounds):
    """Makes a batch of fragments, looks at what the teacher says of them, teaches for a while, begins again."""

    Config: ClassVar[type] = AFStipConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {"mode": "pure", "balance": False}}
    config: AFStipConfig

    @classmethod
    def requires(cls, config: AFStipConfig) -> Requirements:
        norms = config.mode == "invert" and config.bn > 0
        return Requirements(access=Access.WEIGHTS, batch_norm=norms, inputs=frozenset({"tokens"}))

    @classmethod
    def moves_inputs(cls, config: AFStipConfig) -> bool:
        return config.mode in ("invert", "resample")

    @classmethod
    def reads(cls, config: AFStipConfig) -> Mapping[Path, str]:
        """Of 'perturb' its real fragments: a run of that mode uses data, and its ledger says so."""
        return {Path(config.fragments): "real fragments (uses_real_data)"} if config.fragments else {}

    @classmethod
    def round_of(cls, config: AFStipConfig) -> Round:
        return Round(config.steps_per_batch)

    @classmethod
    def rehearsal(cls, config: AFStipConfig) -> AFStipConfig:
        return config.model_copy(update={"steps_per_batch": 2})

    def __init__(self, config: AFStipConfig, context: Context) -> None:
        super().__init__(config, context)
        kind = input_kind(context.task)
        assert isinstance(kind, Tokens)
        require_readable(config.mode, kind)
        self.words = Words(context, kind)
        self.source = SOURCES[config.mode](config, context, kind, self.words)
        self.pool = Pool(config.pool, AsMade())
        self.schedule = Schedule(self.round_of(config))

    def build_student(self, student: nn.Module) -> nn.Module:
        """The teacher's words become the student's, and stay: they are a part of the model that is passed on.

        A student whose words are of another width keeps its own. Raises MethodError where the mode needs the teacher's.
        """
        shared = give_words(self.words, self.context.network.around(student), self.context)
        if not shared and self.config.mode in IN_VECTORS:
            raise MethodError(
                f"mode={self.config.mode} puts vectors in the place of words, so the student needs words of the "
                f"teacher's width, {len(self.words.mean)}: take mode=grammar or resample, or another student"
            )
        return student

    def acquire(self) -> Losses:
        config, context, stream = self.config, self.context, self.context.streams("fragments")
        labels = stratified_labels if config.balance else random_labels
        targets = context.runtime.place(labels(config.batch, context.task.classes, stream))
        with fixed(context.student):
            inputs = self.source(targets, stream)
        with torch.no_grad():
            answers = context.teacher(inputs).logits
        self.pool.add(inputs, answers.argmax(1), answers)
        self._require_classes()
        context.counters.add("samples", config.batch)
        self.schedule.begin_steps()
        return Losses()

    def _require_classes(self) -> None:
        """Raises MethodError before the student's first step where the teacher calls nearly all the same."""
        counts = self._targets().bincount(minlength=self.context.task.classes)
        share, refuse = float(counts.max() / counts.sum()), self.config.one_class == "refuse"
        if refuse and self.context.progress.steps == 0 and self.context.runtime.agree(share > ALIKE):
            names = ", ".join(f"{self.context.task.name_of(c)} {n}" for c, n in enumerate(counts.tolist()))
            raise MethodError(
                f"of the samples of mode={self.config.mode} the teacher calls {100 * share:.0f} % the same ({names}): "
                "a student would learn a constant. Take another mode, or one_class=allow to see it happen"
            )

    def _targets(self) -> Tensor:
        assert self.pool.targets is not None
        return self.pool.targets[: len(self.pool)]

    def transfer_batch(self) -> Batch:
        self.schedule.end_step()
        runtime, pool, targets = self.context.runtime, self.pool, self._targets()
        weights = torch.ones(len(targets))
        if self.config.balance:
            weights = 1 / targets.bincount()[targets].float()
        count, stream = self.config.transfer.batch, self.context.streams("pool")
        ids = torch.multinomial(weights, count, True, generator=stream)
        assert pool.inputs is not None
        assert pool.logits is not None
        inputs = runtime.place(pool.codec.unpack(take(pool.inputs, ids)))
        labels, answers = runtime.place(targets[ids]), runtime.place(pool.logits[ids])
        batch = self.context.teach(inputs, labels, answers)
        batch.space = SPACE if enters_behind(inputs) else "input"
        return batch

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        losses, config = Losses(), self.config
        logits, answers = student(batch.inputs).logits, batch.answers().logits
        losses.add("kl", config.alpha, lambda: kl(logits, answers, config.transfer.temperature))
        losses.add("ce", 1 - config.alpha, lambda: cross_entropy(logits, answers.argmax(1)))
        return losses

    def state(self) -> Mapping[str, Stateful]:
        return {"pool": self.pool, "schedule": self.schedule}
