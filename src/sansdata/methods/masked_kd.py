"""Zero-shot distillation of classifiers of texts (Rashid et al., "Towards Zero-Shot Knowledge Distillation for Natural
Language Processing", EMNLP 2021, arXiv 2012.15495): a masked language model fills gaps of unrelated texts so that
teacher and student disagree, and the student learns the teacher's answers to what it wrote.

Of the paper its abstract was read, and a card of its steps: the shares of gaps, rates and schedules are ours.

Deviation: the gradient to the language model passes through the likeliest words of each gap alone, by their shares,
and not through the whole vocabulary: the same words enter teacher and student, each by its own vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arithmetic import ceil_div
from ..config import Strict
from ..contracts import Access, Batch, Losses, Requirements, Stateful
from ..errors import MethodError
from ..figures import Figure, Finding
from ..kinds.index import input_kind
from ..kinds.inputs.tokens import Tokens
from ..memory import Slot
from ..method import Context
from ..models.masked_writer import MaskedWriter
from ..models.modes import fixed
from ..objectives.logits import kl
from ..synthesis.given_texts import given_lines
from ..synthesis.rounds import InRounds, Round, Schedule
from ..synthesis.words import Words, as_text
from ..teachers.writers.masked import load_masked
from ..training.transfer import TransferSettings, set_lr

LONGEST = 10_000
"""Letters of a line that are read."""
KNOWN = 256
"""Lines among which one must have a word of the task's vocabulary."""


class MaskedKDConfig(Strict):
    """texts: a file with a text on each line, of another domain; without one, words by frequency. writer: a folder of a
    masked language model whose vocabulary is the task's; without one, a small encoder of ours learns to fill gaps of
    the texts first. The paper's values were not read: all are ours."""

    texts: str | None = None
    writer: str = ""
    width: int = pydantic.Field(default=64, ge=4, multiple_of=4)  # of our encoder
    layers: int = pydantic.Field(default=2, ge=1)
    fit_steps: int = pydantic.Field(default=500, ge=0)  # of our encoder, before the first student step
    fit_lr: float = pydantic.Field(default=2e-3, gt=0)
    chunk: int = pydantic.Field(default=10, ge=1)  # of these, in one move
    gaps: float = pydantic.Field(default=0.3, gt=0, le=1)  # share of a text's words; the card: 0.1 to 0.3
    choices: int = pydantic.Field(default=8, ge=1)  # words of a gap that a gradient passes through
    heat: float = pydantic.Field(default=1.0, gt=0)  # of the draws, at first; the card: 1 to 0.5
    heat_end: float = pydantic.Field(default=0.5, gt=0)
    writer_lr: float = pydantic.Field(default=5e-4, gt=0)  # Adam's
    fluency: float = pydantic.Field(default=0.1, ge=0)  # of the words that stood in the gaps
    batch: int = pydantic.Field(default=64, ge=2)
    steps_per_round: int = pydantic.Field(default=5, ge=1)  # of the student, for one of the writer; the card: 5 to 10
    steps: int = pydantic.Field(default=2000, ge=1)
    transfer: TransferSettings = TransferSettings(
        optimizer="adam", lr=5e-3, weight_decay=0.0, temperature=1.0, batch=64
    )

    @property
    def fits(self) -> int:
        """Moves in which our encoder learns to fill gaps."""
        return 0 if self.writer else ceil_div(self.fit_steps, self.chunk)


class MaskedKD(InRounds):
    """Learns to fill gaps; then a step of the writer towards disagreement, and student steps on fresh texts of it."""

    Config: ClassVar[type] = MaskedKDConfig
    config: MaskedKDConfig

    @classmethod
    def requires(cls, config: MaskedKDConfig) -> Requirements:
        return Requirements(access=Access.WEIGHTS, inputs=frozenset({"tokens"}))

    @classmethod
    def round_of(cls, config: MaskedKDConfig) -> Round:
        return Round(config.steps_per_round, warmup=config.fits)

    @classmethod
    def rehearsal(cls, config: MaskedKDConfig) -> MaskedKDConfig:
        return config.model_copy(update={"fit_steps": 0, "steps_per_round": 2})

    @classmethod
    def reads(cls, config: MaskedKDConfig) -> Mapping[Path, str]:
        return {} if config.texts is None else {Path(config.texts): "texts"}

    @classmethod
    def models(cls, config: MaskedKDConfig) -> Mapping[str, str]:
        return {config.writer: "writer"} if config.writer else {}

    def __init__(self, config: MaskedKDConfig, context: Context) -> None:
        """Raises MethodError for a teacher without a layer of words, and texts that cannot be read; what
        `load_masked` raises."""
        super().__init__(config, context)
        kind = input_kind(context.task)
        assert isinstance(kind, Tokens)
        if config.texts is not None and kind.tokenizer is None:
            raise MethodError("masked-kd: the task names no tokenizer, so texts= cannot be read; leave it out")
        self.kind, self.words = kind, Words(context, kind)
        self.texts = None if config.texts is None else given_lines(Path(config.texts), LONGEST)
        if not bool(self._gaps(self._texts(KNOWN)).any()):
            raise MethodError(
                f"masked-kd: texts={config.texts}: of {KNOWN} of its lines none has a word of the task's vocabulary"
            )
        self.writer = context.runtime.place(self._new_writer())
        self.optimizer = torch.optim.Adam(self.writer.parameters(), lr=config.writer_lr)
        self.schedule = Schedule(self.round_of(config), fitted=0)
        self.record = Slot(filled=0, changed=0)

    def _new_writer(self) -> nn.Module:
        config, spec = self.config, self.kind.spec
        if config.writer:
            return load_masked(Path(config.writer), spec.vocabulary)
        with self.context.streams.as_global("writer", shared=True):
            return MaskedWriter(spec.vocabulary, spec.length, config.width, config.layers)

    # -- texts with gaps

    def _texts(self, count: int) -> dict[str, Tensor]:
        """Texts as they were given, or words by frequency."""
        stream = self.context.streams("texts")
        if self.texts is None:
            drawn = self.kind.draw(count, stream, "frequent")
        else:
            lines = torch.randint(len(self.texts), (count,), generator=stream).tolist()
            drawn = self.kind.read([self.texts[line] for line in lines])
        return self.context.runtime.place(drawn)

    def _gaps(self, texts: Mapping[str, Tensor]) -> Tensor:
        """(B, L) bool, at random places of words, one in each text at least that has any."""
        chances = torch.rand(texts["tokens"].shape, generator=self.context.streams("gaps"))
        chances = self.context.runtime.place(chances)
        chances = chances.masked_fill(~(texts["mask"] & torch.isin(texts["tokens"], self.words.ids)), 2.0)
        return (chances < self.config.gaps) | ((chances == chances.amin(1, keepdim=True)) & (chances < 1))

    def _chances(self, texts: Mapping[str, Tensor], gaps: Tensor) -> Tensor:
        """(G, W) log-probabilities of the words `self.words.ids` in the gaps."""
        gapped = texts["tokens"].masked_fill(gaps, int(self.writer.gap))  # type: ignore[arg-type]
        with self.context.runtime.autocast():
            logits = self.writer(gapped, texts["mask"])
        return logits[gaps][:, self.words.ids].float().log_softmax(1)

    def _filled(self, texts: Mapping[str, Tensor], gaps: Tensor, chances: Tensor) -> dict[str, Tensor]:
        """The texts with a word drawn for each gap, as they enter any network of this vocabulary; the gradient of a
        draw is that of the shares of the likeliest words (straight-through Gumbel-softmax, Jang et al. 2017)."""
        config, place = self.config, self.context.runtime.place
        progress = self.context.progress.value
        heat = config.heat + (config.heat_end - config.heat) * progress
        noise = torch.rand(chances.shape, generator=self.context.streams("draws")).clamp(1e-9, 1 - 1e-7)
        drawn = (chances + place(-(-noise.log()).log())) / heat
        best, places = drawn.topk(min(config.choices, len(self.words.ids)), 1)
        soft = best.softmax(1)
        hard = F.one_hot(torch.zeros(len(soft), dtype=torch.int64, device=soft.device), soft.shape[1]).to(soft)
        choices = texts["tokens"][:, :, None].repeat(1, 1, soft.shape[1])
        shares = torch.zeros(choices.shape, device=soft.device)
        shares[:, :, 0] = 1
        choices[gaps], shares[gaps] = self.words.ids[places], hard + (soft - soft.detach())
        return {"tokens": choices[:, :, 0], "mask": texts["mask"], "choices": choices, "shares": shares}

    # -- moves

    def acquire(self) -> Losses:
        if self.schedule["fitted"] < self.config.fits:
            self.schedule["fitted"] += 1
            return self._fit()
        losses = self._disagree()
        self.schedule.begin_steps()
        return losses

    def _fit(self) -> Losses:
        """Steps of our encoder on the words that stood in the gaps."""
        losses = Losses()
        set_lr(self.optimizer, self.config.fit_lr)
        done = (self.schedule["fitted"] - 1) * self.config.chunk
        for _ in range(min(self.config.chunk, self.config.fit_steps - done)):
            texts = self._texts(self.config.batch)
            gaps = self._gaps(texts)
            chances, losses = self._chances(texts, gaps), Losses()
            losses.add("gaps", 1, lambda: self._missed(texts, gaps, chances))  # noqa: B023
            losses.total().backward()
            self.context.runtime.step(self.optimizer)
        return losses

    def _missed(self, texts: Mapping[str, Tensor], gaps: Tensor, chances: Tensor) -> Tensor:
        """The mean cross entropy of the words that stood in the gaps."""
        originals = torch.searchsorted(self.words.ids, texts["tokens"][gaps])
        return F.nll_loss(chances, originals)

    def _disagree(self) -> Losses:
        config, context = self.config, self.context
        set_lr(self.optimizer, config.writer_lr)
        texts = self._texts(config.batch)
        gaps = self._gaps(texts)
        chances = self._chances(texts, gaps)
        mixture = self._filled(texts, gaps, chances)
        outputs = context.teacher(mixture)
        losses = context.acquire_losses(mixture, outputs)
        with fixed(context.student):
            losses.add("agreement", 1, lambda: -kl(context.student_outputs(mixture).logits, outputs.logits))
            losses.add("fluency", config.fluency, lambda: self._missed(texts, gaps, chances))
            losses.total().backward()
        context.runtime.step(self.optimizer)
        return losses

    def transfer_batch(self) -> Batch:
        self.schedule.end_step()
        context, count = self.context, self.config.transfer.batch
        with torch.no_grad():
            texts = self._texts(count)
            gaps = self._gaps(texts)
            mixture = self._filled(texts, gaps, self._chances(texts, gaps))
        context.counters.add("samples", count)
        self.record["filled"] += int(gaps.sum())
        self.record["changed"] += int((mixture["tokens"] != texts["tokens"]).sum())
        return context.teach(as_text(mixture))

    def findings(self) -> list[Finding]:
        share = self.record["changed"] / max(1, self.record["filled"])
        return [Figure("changed", share, "share", "gaps that were filled with another word than stood there")]

    def state(self) -> Mapping[str, Stateful]:
        return {
            "writer": self.writer, "optimizer": self.optimizer, "schedule": self.schedule, "record": self.record,
        }  # fmt: skip
