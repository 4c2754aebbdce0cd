"""ZSDB3KD: zero-shot knowledge distillation from a decision-based black-box model (Wang, ICML 2021, arXiv 2106.03310).

The teacher gives labels alone, and there is no generator. Noise that it takes for a class is moved away from the
nearest boundary of that class, again and again, until it is robust as real images are. How far a finished image is from
every other class makes its soft label.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pydantic
import torch
from torch import Tensor

from ...arithmetic import ceil_div
from ...config import Strict
from ...contracts import Access, Batch, Forward, Losses, OfGradient, Questions, Requirements, Stateful
from ...decoding import pixels
from ...memory import Pool
from ...method import Context
from ...objectives.logits import hard_cross_entropy, kl
from ...synthesis.inner_loop import Chunked
from ...synthesis.rounds import PooledRounds, Round, Schedule
from ...training.transfer import TransferSettings
from .boundary import Crossed, bisect, nearer, unit, uphill

TURNS = (0.05, 0.2, 0.8)
"""By how much the direction of the nearest boundary is turned, in one search after the other."""
STRIDES = (1.0, 0.5, 0.25, 0.125)
"""Shares of the stride that are tried, the largest that keeps the class is taken (released: halved until it does)."""
PROBE = 0.05
"""How far a probe of the slope turns a direction."""


class ZSDB3KDConfig(Strict):
    """Defaults are the released MNIST values (zwang84/zsdb3kd, 7af7585) where our search has a place for them.

    batch: images under way at a time. iterations: moves away from the boundary. stride: of a move, in unit space.
    starts: images of other classes towards which the boundary is sought first. directions: probes of its slope, each a
    question. halvings: of a bracket. noises: images of noise asked about for each one that is begun with. anchors:
    images, of all classes together, by which a soft label is measured. robustness: how: `sample`, the distance to the
    nearest anchor of a class; `boundary`, to the class on the way there; `minimal`, to the nearest place of that class.
    """

    batch: int = pydantic.Field(default=200, ge=2)  # released
    iterations: int = pydantic.Field(default=40, ge=1)  # released
    chunk: int = pydantic.Field(default=1, ge=1)  # moves away in a move of the engine: ours
    stride: float = pydantic.Field(default=0.5, gt=0)  # released
    starts: int = pydantic.Field(default=20, ge=1)  # released, of random directions
    directions: int = pydantic.Field(default=200, ge=1)  # released
    halvings: int = pydantic.Field(default=12, ge=1)  # ours
    noises: int = pydantic.Field(default=20, ge=1)  # ours
    anchors: int = pydantic.Field(default=180, ge=1)  # released for `sample`: 20 of each other class of MNIST
    robustness: Literal["sample", "boundary", "minimal"] = "minimal"  # the paper's best
    pool: int = pydantic.Field(default=100_000, ge=1)  # ours
    steps_per_batch: int = pydantic.Field(default=80, ge=1)  # ours: 200 epochs of 200 images in batches of 512
    steps: int = pydantic.Field(default=12_000, ge=1)  # released: 15 batches a class
    transfer: TransferSettings = TransferSettings(
        optimizer="adam", lr=1e-3, weight_decay=0.0, schedule="constant", batch=512, temperature=20.0
    )  # released

    @property
    def view(self) -> str:
        """How pooled images are seen: as they are stored, which is what their labels are of."""
        return "none"


class UnderWay(Chunked):
    """A batch on its way: images as rows (B, D), their classes (B,), and how many moves they have made."""

    def __init__(self, points: Tensor, classes: Tensor, iterations: int, chunk: int) -> None:
        super().__init__(iterations, chunk)
        self.points, self.classes = points, classes

    def state_dict(self) -> dict[str, Any]:
        return {"points": self.points, "classes": self.classes, "iteration": self.iteration}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.points, self.classes, self.iteration = state["points"], state["classes"], state["iteration"]


class ZSDB3KD(PooledRounds):
    """Makes a batch of robust images over several moves, measures their soft labels, and teaches for a while from all.

    Deviation: in turn with student steps, as in our ZSKD; the release makes all images first.
    """

    Config: ClassVar[type] = ZSDB3KDConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # A few million questions, minutes on a CPU where the teacher is small (ours).
        "small": {
            "iterations": 8, "starts": 3, "directions": 30, "halvings": 8, "anchors": 18, "robustness": "boundary",
            "steps_per_batch": 100, "steps": 1000, "transfer": {"batch": 128},
        },
    }  # fmt: skip
    config: ZSDB3KDConfig

    @classmethod
    def requires(cls, config: ZSDB3KDConfig) -> Requirements:
        return Requirements(access=Access.LABELS)

    @classmethod
    def round_of(cls, config: ZSDB3KDConfig) -> Round:
        return Round(config.steps_per_batch, moves=ceil_div(config.iterations, config.chunk))

    @classmethod
    def questions(cls, config: ZSDB3KDConfig, steps: int, gradient: OfGradient) -> Questions:
        """Always about a whole batch: its noise and its final classes, its moves, its soft labels."""
        moves, rounds = cls.plan(config, steps)["acquire"], ceil_div(steps, config.steps_per_batch)
        begun = ceil_div(moves, ceil_div(config.iterations, config.chunk))
        turned = config.directions + len(TURNS) * (1 + config.halvings)
        away = config.starts * config.halvings + turned + len(STRIDES)
        label = {"sample": 0, "boundary": config.halvings, "minimal": config.halvings + turned}[config.robustness]
        calls = begun * config.noises + rounds * (config.iterations * away + 1 + config.anchors * label)
        return Questions({config.batch: calls})

    @classmethod
    def rehearsal(cls, config: ZSDB3KDConfig) -> ZSDB3KDConfig:
        return config.model_copy(update={"iterations": min(config.chunk, config.iterations), "steps_per_batch": 2})

    def __init__(self, config: ZSDB3KDConfig, context: Context) -> None:
        super().__init__(config, context)
        self.pool = Pool(config.pool)
        self.schedule = Schedule(self.round_of(config))
        blank = context.runtime.place(torch.zeros(config.batch, math.prod(context.task.shape)))
        none = torch.zeros(config.batch, dtype=torch.int64, device=blank.device)
        self.under_way = UnderWay(blank, none, config.iterations, config.chunk)

    @torch.no_grad()
    def acquire(self) -> Losses:
        batch, losses, distance = self.under_way, Losses(), torch.zeros(1)
        if batch.iteration == 0:
            batch.points, batch.classes = self._noise()
        for _ in range(batch.in_this_move):
            distance = self._move_away()
            batch.iteration += 1
        if batch.finished:
            self._keep()
            batch.iteration = 0
            self.schedule.begin_steps()
        losses.add("distance", 1.0, lambda: distance)
        return losses

    def _noise(self) -> tuple[Tensor, Tensor]:
        """Points (B, D) and their classes: of many images of noise as many of each class as there are.

        Deviation: a fixed number is asked about; the release draws on until it has a whole batch of every class, which
        for a class that no noise shows never ends.
        """
        config, stream = self.config, self.context.streams("noise")
        count, size = config.batch * config.noises, math.prod(self.context.task.shape)
        level, spread = torch.rand(2, count, 1, generator=stream)
        noise = (torch.rand(count, size, generator=stream) + 0.2) * level
        noise = (noise + spread * torch.randn(count, size, generator=stream)).clamp(0, 1)
        noise = self.context.runtime.place(noise)
        classes = torch.cat([self._classes(part) for part in noise.split(config.batch)])
        place = torch.zeros_like(classes)  # of each within its class
        for number in classes.unique():
            members = classes == number
            place[members] = torch.arange(int(members.sum()), device=classes.device)
        chosen = place.argsort(stable=True)[: config.batch]
        chosen = chosen[classes[chosen].argsort(stable=True)]  # by class, so that any stride through them meets all
        return noise[chosen], classes[chosen]

    def _move_away(self) -> Tensor:
        """Moves every point away from the nearest boundary of its class; gives how far that was, (B,)."""
        config, batch = self.config, self.under_way
        points, classes = batch.points, batch.classes

        def left(there: Tensor) -> Tensor:
            return self._classes(there) != classes

        nearest = torch.full_like(points[:, 0], float("inf"))
        directions = torch.zeros_like(points)
        # Deviation: sought towards images of the batch that have another class, where the release tries random
        # directions of growing length until one crosses, which may ask without end.
        for other in self._others(config.starts):
            towards = points[other] - points
            far = towards.norm(dim=1)
            reached = bisect(left, points, unit(towards), far, config.halvings)
            closer = (classes[other] != classes) & (reached < nearest)
            nearest = torch.where(closer, reached, nearest)
            directions = torch.where(closer[:, None], unit(towards), directions)
        nearest = nearest.masked_fill(nearest.isinf(), 0)  # where no other class is in sight nothing moves
        directions, nearest = self._refined(left, points, directions, nearest)
        batch.points = self._away(points, classes, directions)
        return nearest

    def _refined(
        self, crossed: Crossed, points: Tensor, directions: Tensor, distances: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A step of the search for the nearest boundary. Deviation: one per move, where the release makes as many as
        fit into 5,000 questions: about ten."""
        stream = self.context.streams("probes")
        probes = torch.randn(self.config.directions, *points.shape, generator=stream)
        probes = self.context.runtime.place(probes / probes.norm(dim=2, keepdim=True))
        slope = uphill(crossed, points, directions, distances, probes, PROBE)
        return nearer(crossed, points, directions, distances, slope, TURNS, self.config.halvings)

    def _away(self, points: Tensor, classes: Tensor, directions: Tensor) -> Tensor:
        """Points a stride against `directions`, or the largest share of it that keeps the class; or as they were."""
        moved, settled = points, torch.zeros_like(classes, dtype=torch.bool)
        for share in STRIDES:
            there = (points - share * self.config.stride * directions).clamp(0, 1)
            good = (self._classes(there) == classes) & ~settled
            moved = torch.where(good[:, None], there, moved)
            settled |= good
        return moved

    def _others(self, count: int) -> list[Tensor]:
        """`count` lists of an other point for each, spread over the batch and so over its classes."""
        size = self.config.batch
        turn = int(torch.randint(size, (1,), generator=self.context.streams("others")))
        numbers = torch.arange(size, device=self.under_way.points.device)
        return [(numbers + 1 + (turn + one * size // count) % (size - 1)) % size for one in range(count)]

    def _keep(self) -> None:
        """The finished images as they are stored, with what the teacher calls them then, and their soft labels."""
        batch, shape = self.under_way, self.context.task.shape
        images = pixels.unpack(pixels.pack(batch.points.cpu().view(-1, *shape)))
        batch.points = self.context.runtime.place(images).flatten(1)
        answers = self._answers(batch.points)
        batch.classes = answers.argmax(1)
        both = torch.cat([answers, self._soft_labels()], dim=1)
        self.pool.add(images, batch.classes.cpu(), self.context.teacher.network.outputs.pack(both))
        self.context.counters.add("samples", len(images))

    def _soft_labels(self) -> Tensor:
        """(B, K) logits: 1 / distance to every other class, their sum for its own (the paper's section 3)."""
        batch, classes = self.under_way, self.context.task.classes
        nearest = torch.full((len(batch.points), classes), float("inf"), device=batch.points.device)
        for other in self._others(self.config.anchors):
            reached, theirs = self._robustness(other), batch.classes[other][:, None]
            nearest.scatter_(1, theirs, torch.minimum(nearest.gather(1, theirs), reached[:, None]))
        inverse = 1 / nearest.clamp_min(1e-3)  # a class that no anchor shows is infinitely far: 0
        inverse.scatter_(1, batch.classes[:, None], 0)
        return inverse.scatter(1, batch.classes[:, None], inverse.sum(1, keepdim=True))

    def _robustness(self, other: Tensor) -> Tensor:
        """(B,) how far each point is from the class of its `other`."""
        config, batch = self.config, self.under_way
        wanted, towards = batch.classes[other], batch.points[other] - batch.points
        distances, directions = towards.norm(dim=1), unit(towards)

        def arrived(there: Tensor) -> Tensor:
            return self._classes(there) == wanted

        if config.robustness != "sample":
            distances = bisect(arrived, batch.points, directions, distances, config.halvings)
        if config.robustness == "minimal":
            distances = self._refined(arrived, batch.points, directions, distances)[1]
        return distances

    def _classes(self, points: Tensor) -> Tensor:
        """What the teacher calls each point (B, D); one question each."""
        return self._answers(points).argmax(1)

    def _answers(self, points: Tensor) -> Tensor:
        return self.context.teacher(points.clamp(0, 1).view(-1, *self.context.task.shape)).logits

    def transfer_batch(self) -> Batch:
        context = self.context
        self.schedule.end_step()
        pooled = self.pool.sample(self.config.transfer.batch, context.streams("pool"))
        kept = context.runtime.place(pooled.extras["logits"])
        answers, labels = context.teacher.network.outputs.unpack(kept).chunk(2, dim=1)
        batch = context.teach(context.runtime.place(pooled.images), pooled.targets, answers)
        batch.extras["labels"] = labels
        return batch

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        """CE with the class, and the divergence from the soft label summed over the batch, as released; what an update
        remembers has a class only."""
        how, losses, teacher = self.config.transfer, Losses(), batch.answers().logits
        logits, labels = student(batch.inputs).logits, batch.extras.get("labels")
        losses.add("ce", 1.0, lambda: hard_cross_entropy(logits, teacher))
        if labels is not None:
            weight = how.batch / how.temperature**2  # the house's `kl` has the squared temperature in it
            losses.add("kl", weight, lambda: kl(logits[: len(labels)], labels, how.temperature))
        return losses

    def state(self) -> Mapping[str, Stateful]:
        return {"under_way": self.under_way, "pool": self.pool, "schedule": self.schedule}
