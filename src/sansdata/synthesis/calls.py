"""Synthesis calls from class embeddings, in rounds: what NAYER, CAE-DFKD and MUSE share.

A call trains a generator for some iterations, over several moves, until a batch of images looks right to the teacher;
the best of these images go into a pool. First come rounds of calls alone, then rounds of calls and student steps.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..arithmetic import ceil_div
from ..contracts import Access, Losses, Requirements, Stateful
from ..memory import Pool
from ..method import Context
from ..models.modes import fixed
from ..objectives.batch_stats import BatchStatistics
from .generator import Generator, images_from, make_generator
from .inner_loop import InnerLoop
from .inversion_losses import inversion_losses
from .rounds import PooledRounds, Round, Schedule


class CallSchedule(Schedule):
    """Where a run stands: first `warmup_rounds` of `warmup_calls` calls each, then rounds of `calls` calls and
    `steps_per_round` student steps. A call makes one batch."""

    def __init__(self, length: Round, settings: Any) -> None:
        """settings: of a method, with the four that are named above."""
        super().__init__(length, round=0, calls=0)
        self.settings = settings

    @property
    def warm(self) -> bool:
        """Whether the rounds of the warm-up are over, so that the student is taught."""
        return self["round"] >= self.settings.warmup_rounds

    @property
    def made(self) -> int:
        """Calls that have ended in the whole run."""
        settings, rounds = self.settings, self["round"]
        warm = min(rounds, settings.warmup_rounds)
        return warm * settings.warmup_calls + (rounds - warm) * settings.calls + self["calls"]

    def end_call(self) -> None:
        settings = self.settings
        self["calls"] += 1
        if self["calls"] == (settings.calls if self.warm else settings.warmup_calls):
            if self.warm:
                self.begin_steps()
            self["round"], self["calls"] = self["round"] + 1, 0


@dataclass
class Canvas:
    """What makes images of one shape (C, H, W): the generator, what is remembered of their statistics in the teacher,
    and the pool of those that are kept."""

    shape: tuple[int, int, int]
    generator: Generator
    bn: BatchStatistics
    pool: Pool


class CallRounds(PooledRounds):
    """A round of synthesis calls, each over several moves, then student steps on everything kept so far.

    A method says how a call begins and what the generator is given, and makes the `optimizer` of both.
    """

    schedule: CallSchedule
    optimizer: torch.optim.Optimizer

    @classmethod
    def requires(cls, config: Any) -> Requirements:
        return Requirements(access=Access.WEIGHTS if config.bn else Access.GRADIENTS, batch_norm=config.bn > 0)

    @classmethod
    def reads(cls, config: Any) -> dict[Path, str]:
        return {} if config.embeddings is None else {Path(config.embeddings): "embeddings"}

    @classmethod
    def round_of(cls, config: Any) -> Round:
        moves = ceil_div(config.iterations, config.chunk)
        warmup = config.warmup_rounds * config.warmup_calls * moves
        return Round(config.steps_per_round, moves=config.calls * moves, warmup=warmup)

    @classmethod
    def rehearsal(cls, config: Any) -> Any:
        soon = {"warmup_rounds": 0, "calls": 1, "steps_per_round": 2}
        return config.model_copy(update=soon | {"iterations": min(config.chunk, config.iterations)})

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self.loop = InnerLoop(config.iterations, config.chunk)
        self.schedule = CallSchedule(self.round_of(config), config)
        self.take(self.first_canvas())

    def first_canvas(self) -> Canvas:
        """What the first call works on. Default: images as the task has them."""
        return self.new_canvas(self.context.task.shape, self.config.pool)

    def new_canvas(self, shape: tuple[int, int, int], pool: int) -> Canvas:
        """For images of `shape`, of which `pool` are kept."""
        config, context = self.config, self.context
        generator = make_generator(context, config.latent, config.width, "unit", shape=shape)
        bn = context.teacher.statistics(config.bn > 0, config.bn_momentum)
        return Canvas(shape, generator, bn, Pool(pool))

    def take(self, canvas: Canvas) -> None:
        """What the next call works on."""
        self.canvas = canvas
        self.generator, self.bn, self.pool = canvas.generator, canvas.bn, canvas.pool

    def acquire(self) -> Losses:
        context, loop = self.context, self.loop
        if loop.iteration == 0:
            loop.begin(self.begin_call().to(context.runtime.device))
        losses = Losses()
        with fixed(context.student):
            for _ in range(loop.in_this_move):
                images = images_from(self.generator.train(), self.codes(), context)
                losses = self.ask(images)
                total = losses.total()
                loop.offer(total.item(), images=images)
                total.backward()
                # Not runtime.step: every rank has a generator of its own, there is nothing to average.
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
        if loop.finished:
            self.end_call()
        return losses

    def ask(self, images: Tensor) -> Losses:
        """What images (B, C, H, W) of the call's targets are asked for; the student is in eval mode."""
        config = self.config
        losses, _ = inversion_losses(
            images, self.loop.targets, self.context, self.bn, ce=config.ce, bn=config.bn,
            adversarial=config.adversarial if self.schedule.warm else 0.0, view=config.view,
        )  # fmt: skip
        return losses

    @abstractmethod
    def begin_call(self) -> Tensor:
        """Prepares a call; gives the classes (B,) int64 that its images are to show."""

    @abstractmethod
    def codes(self) -> Tensor:
        """(B, Z) what the generator is given in an iteration, with gradient to what learns beside it."""

    def end_call(self) -> None:
        self.bn.remember()
        self.keep(self.loop.best["images"], self.loop.targets)
        self.loop.begin(self.loop.targets)  # the images are in the pool: no checkpoint need hold them twice
        self.schedule.end_call()

    def state(self) -> Mapping[str, Stateful]:
        return {
            "generator": self.generator, "optimizer": self.optimizer, "bn": self.bn, "loop": self.loop,
            "pool": self.pool, "schedule": self.schedule,
        }  # fmt: skip
