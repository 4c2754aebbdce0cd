"""The settings of BiDf-MKD, and the queries that they cost."""

from __future__ import annotations

from typing import Literal

import pydantic

from ...arithmetic import ceil_div
from ...config import Strict
from ...contracts import Questions
from ...objectives.estimate import Along, Differences, Scheme, calls_of_value_and_gradient
from ...synthesis.augment import Augment
from ...synthesis.rounds import Round
from ...training.adaptation import Inner
from ...training.transfer import TransferSettings


class BiDfMKDConfig(Strict):
    """Defaults are the paper's values, where the released scripts have the same: Egg-Hu/BiDf-MKD, scriptskd/.

    `transfer` is the outer optimiser; of it, batch, match and temperature have no say.
    """

    tasks: int = pydantic.Field(default=4, ge=1)  # API tasks, or replayed ones, of an outer update; paper
    images: int = pydantic.Field(default=30, ge=1)  # of a class in a support or query set; paper
    # recovery of a set
    recovery: Literal["estimate", "exact"] = "estimate"  # exact: the APIs' own gradients, a white-box baseline (ours)
    iterations: int = pydantic.Field(default=200, ge=1)  # of the generator; paper
    chunk: int = pydantic.Field(default=10, ge=1)  # of these in a move; ours, nothing depends on it
    directions: int = pydantic.Field(default=100, ge=1)  # q; paper
    mu: float = pydantic.Field(default=0.005, gt=0)  # step of a difference, in units of normalised images; paper
    along: Along = "sphere"  # paper
    scheme: Scheme = "forward"  # paper
    latent: int = pydantic.Field(default=256, ge=1)  # paper
    width: int = pydantic.Field(default=64, ge=1)  # released
    generator_lr: float = pydantic.Field(default=1e-3, gt=0)  # of generator and latents; paper
    view: Augment = "crop+flip"  # paper
    # both levels
    divergence: Literal["kl", "linear"] = "kl"  # paper; linear is what the released call of kl_div computes
    inner_steps: int = pydantic.Field(default=10, ge=1)  # paper
    inner_rate: float = pydantic.Field(default=0.01, gt=0)  # alpha; paper
    order: Literal["first", "second"] = "first"  # paper: second; ours: it takes several times the memory and time
    # boundary query set
    boundary: float = pydantic.Field(default=1.0, ge=0)  # lambda_Q; paper
    boundary_after: int = pydantic.Field(default=4000, ge=0)  # student steps without it; released
    distance: Literal["kl", "l1"] = "kl"  # paper: a divergence; l1 of logits is released
    # replay of tasks
    distil_updates: int = pydantic.Field(default=1, ge=0)  # of a round, on its API tasks; released
    replay: int = pydantic.Field(default=200, ge=0)  # updates of a round on remembered tasks; released: the patience
    replay_steps: int = pydantic.Field(default=5, ge=1)  # inner steps there; released
    shots: int = pydantic.Field(default=5, ge=1)  # support images of a class; paper: 1 or 5
    queries: int = pydantic.Field(default=15, ge=1)  # query images of a class; paper
    memory: int = pydantic.Field(default=20, ge=2)  # sets of a class that are remembered; released
    held_out: int = pydantic.Field(default=0, ge=0)  # APIs at the panel's end that only validate; ours
    steps: int = pydantic.Field(default=60_000, ge=1)  # outer updates; paper: 240,000 tasks
    transfer: TransferSettings = TransferSettings(
        optimizer="adam", lr=1e-3, weight_decay=0.0, schedule="constant", batch=128, temperature=1.0
    )  # beta; paper

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> BiDfMKDConfig:
        if self.distil_updates + self.replay == 0:
            raise ValueError("distil_updates=0 and replay=0: nothing is left to learn from")
        if self.replay and self.shots + self.queries > 2 * self.images:
            raise ValueError(
                f"a replayed task takes shots + queries = {self.shots + self.queries} images of a class, and a round "
                f"makes 2 * images = {2 * self.images}"
            )
        return self

    @property
    def differences(self) -> Differences:
        return Differences(self.directions, self.mu, self.along, self.scheme)

    @property
    def moves_per_set(self) -> int:
        return ceil_div(self.iterations, self.chunk)

    @property
    def sets_per_round(self) -> int:
        """A support and a query set for each task."""
        return 2 * self.tasks

    @property
    def round(self) -> Round:
        """The sets of all tasks, move by move, then the outer updates; the APIs that validate come first."""
        moves = self.moves_per_set
        return Round(self.distil_updates + self.replay, self.sets_per_round * moves, self.held_out * moves)

    def inner(self, steps: int) -> Inner:
        return Inner(steps, self.inner_rate, self.order == "second")

    def calls_of(self, ways: int, steps: int) -> Questions:
        """What all APIs together are asked in a run of so many student steps, as images in a call -> such calls.

        Of each set the images once in every iteration and, unless their gradients are the APIs' own, the differences;
        then, unless it only validates, once more as they are kept, for distillation.
        """
        images, learnt = ways * self.images, ceil_div(steps, self.round.steps) * self.sets_per_round
        exact = self.recovery == "exact"
        an_iteration = Questions({images: 1}) if exact else calls_of_value_and_gradient(images, self.differences)
        iterations = (self.held_out + learnt) * self.iterations
        calls = Questions({rows: times * iterations for rows, times in an_iteration.items()})
        calls[images] += learnt
        return calls

    def queries_of(self, ways: int, steps: int) -> int:
        """The same in images: the counter at the run's end says so many."""
        return sum(rows * times for rows, times in self.calls_of(ways, steps).items())
