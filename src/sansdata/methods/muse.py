"""MUSE-style synthesis: NAYER's calls at several sizes below the teacher's own, each image the part that shows its
class (after Tran et al., "Large-Scale Data-Free Knowledge Distillation for ImageNet via Multi-Resolution Data
Generation", 2024, arXiv 2411.17046).

A reconstruction: the paper's equations and code could not be read. What an image is asked for beside NAYER's terms,
that the teacher sees its class in the middle and that the student's feature lies away from its class, is after the
abstract and published reviews; forms and weights are ours.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arithmetic import ceil_div
from ..contracts import Access, Batch, Forward, Losses, Outputs, Requirements, Stateful
from ..errors import MethodError, first_line
from ..method import Context
from ..models.initial_weights import draw_default
from ..models.modes import fixed
from ..models.shared_classifier import ending
from ..models.with_part import PROJECTED
from ..network import Network
from ..objectives.key_regions import bell, class_activation, off_key_region
from ..synthesis.augment import augment
from ..synthesis.calls import Canvas
from ..synthesis.inversion_losses import inversion_terms
from ..synthesis.pooled import draw
from ..training.feature_part import beside_features
from .nayer import NAYER, NAYERConfig

LARGE = 64
"""Pixels a side from which images are made well below the teacher's size."""
SHARES = {True: (3 / 7, 4 / 7, 5 / 7), False: (5 / 8, 13 / 16, 1.0)}
"""Of the teacher's size, for large images and for others: 96, 128 and 160 of 224; 20, 26 and 32 of 32."""


class MUSEConfig(NAYERConfig):
    """NAYER's values where the paper's are not known to us; all others are ours. "Released" is NAYER's.

    sizes: heights of the images that are made, in pixels; empty takes three by the task's own. batch: images a call, of
    whatever size. pool: images kept, in equal parts of each size.

    key: weight of the key region. spread: its standard deviation, as a share of the width. region: where it lies; a
    random place of each image and the flat one, which is everywhere, are for ablation.
    diversity: how much an image is paid for a student's feature away from its class; attraction: what the student's
    step is asked for against that.
    """

    sizes: tuple[int, ...] = ()  # reviews: 96 to 128 of 224 do best
    key: float = pydantic.Field(default=1.0, ge=0)  # ours
    spread: float = pydantic.Field(default=0.3, gt=0)  # ours
    region: Literal["centre", "random", "flat"] = "centre"  # paper: centre
    diversity: float = pydantic.Field(default=0.1, ge=0)  # ours
    attraction: float = pydantic.Field(default=0.1, ge=0)  # ours

    @pydantic.model_validator(mode="after")
    def _sizes_differ(self) -> MUSEConfig:
        if len(set(self.sizes)) < len(self.sizes) or any(size < 4 for size in self.sizes):
            raise ValueError(f"sizes are heights of 4 pixels and above, each once; got {list(self.sizes)}")
        return self


class MUSE(NAYER):
    """Calls that take turns at several sizes, the largest first; each size has a generator and a pool of its own."""

    config: MUSEConfig

    Config: ClassVar[type] = MUSEConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": NAYER.presets["small"]}

    @classmethod
    def requires(cls, config: MUSEConfig) -> Requirements:
        access = Access.WEIGHTS if config.bn or config.key else Access.GRADIENTS
        return Requirements(access=access, batch_norm=config.bn > 0, head=config.key > 0)

    @classmethod
    def one_shape(cls, config: MUSEConfig) -> bool:
        return len(config.sizes) == 1

    def __init__(self, config: MUSEConfig, context: Context) -> None:
        """Raises MethodError for a teacher or student that does not take images of these sizes, and for a teacher that
        has no map in which a class could be seen."""
        self.canvases: list[Canvas] = []
        super().__init__(config, context)
        self.ending = self.head = None
        if config.key:
            module = context.teacher.inside.module
            self.ending = ending(module, self.canvas.shape)
            if self.ending is None:
                raise MethodError(
                    "muse asks where the teacher sees a class, which takes a last linear layer that reads the mean of "
                    "a feature map, and this teacher has none; leave that out with key=0"
                )
            self.head = module.get_submodule(self.ending.head).weight.detach()  # type: ignore[union-attr]
        self.projecting: Network | None = None
        """The student with a projection of its features to the size of the embeddings."""
        if config.attraction:
            context.student_taps = (*context.student_taps, PROJECTED)

    def first_canvas(self) -> Canvas:
        shapes = shapes_of(self.config.sizes, self.context.task.shape)
        for shape in shapes:
            _require_taken(self.context.teacher.network, shape, self.context, "teacher")
            _require_taken(self.context.network, shape, self.context, "student")
        self.canvases = [self.new_canvas(shape, ceil_div(self.config.pool, len(shapes))) for shape in shapes]
        return self.canvases[0]

    def build_student(self, student: nn.Module) -> nn.Module:
        """With the projection that is compared with embeddings. Raises MethodError where `student` has no features."""
        if not (self.config.diversity or self.config.attraction):
            return student
        size = self.noisy.embeddings.shape[1]
        module = beside_features(
            student, self.context, lambda width: nn.Linear(width, size), "projection",
            "muse compares what enters the student's last linear layer with its class",
            "leave that out with diversity=0 attraction=0",
        )  # fmt: skip
        self.projecting = self.context.network.around(module)
        return module

    # -- images

    def _take_turn(self) -> None:
        """Takes up the size whose turn it is. In the middle of a call, in a run that goes on, the optimiser's state is
        that of this size already, and stays."""
        turn = self.canvases[self.schedule.made % len(self.canvases)]
        if self.canvas is not turn:
            moments = self.optimizer.state_dict()
            self.take(turn)
            self.optimizer = self._new_optimizer()
            self.optimizer.load_state_dict(moments)

    def acquire(self) -> Losses:
        self._take_turn()
        with contextlib.nullcontext() if self.projecting is None else fixed(self.projecting.module):
            return super().acquire()

    def renew(self) -> None:
        for one in self.canvases:
            draw_default(one.generator)
        draw_default(self.noisy)

    def ask(self, images: Tensor) -> Losses:
        """NAYER's terms, the key region and the distance of the student's feature, on one view. What the view moves, it
        moves the region with."""
        config, context, targets = self.config, self.context, self.loop.targets
        region = self._region(images)
        views = augment(torch.cat([images, region], 1), config.view, context.streams("synthesis-view"))
        view, region = views[:, :-1], views[:, -1]
        student = functools.cache(functools.partial(self._student, view))
        losses, outputs = inversion_terms(
            view, targets, context, self.bn, student, ce=config.ce, bn=config.bn,
            adversarial=config.adversarial if self.schedule.warm else 0.0,
            taps=() if self.ending is None else (self.ending.stage,),
        )  # fmt: skip
        losses.add("key", config.key, lambda: self._off_region(outputs, region))
        diversity = config.diversity if self.schedule.warm else 0.0
        losses.add("diversity", -diversity, lambda: self._from_class(student(), targets))
        return losses

    def _region(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) where each image is to show its class."""
        centres = torch.full((len(images), 2), 0.5)
        if self.config.region == "random":
            centres = torch.rand(len(images), 2, generator=self.context.streams("regions"))
        spread = float("inf") if self.config.region == "flat" else self.config.spread
        return bell(images.shape[2:], spread, centres.to(images.device))[:, None].to(images)  # type: ignore[arg-type]

    def _off_region(self, outputs: Outputs, region: Tensor) -> Tensor:
        assert self.ending is not None
        assert self.head is not None
        maps = self.ending.read(outputs.taps[self.ending.stage])
        activation = class_activation(maps, self.head, self.loop.targets)
        rows, columns = activation.shape[1:]
        return off_key_region(activation, F.adaptive_avg_pool2d(region, (rows, columns)))

    def _student(self, images: Tensor) -> Outputs:
        context, network = self.context, self.projecting or self.context.network
        taps = () if self.projecting is None else (PROJECTED,)
        return context.runtime.forward(network, images, taps, context.counters, "student")

    def _from_class(self, outputs: Outputs, targets: Tensor) -> Tensor:
        """(B,) in 0..2: one less the cosine of the projected feature and the embedding of its class."""
        return 1 - F.cosine_similarity(outputs.taps[PROJECTED].float(), self.noisy.embeddings[targets])

    # -- the student

    def transfer_batch(self) -> Batch:
        """From the pool of one size, drawn by how many pixels its images have."""
        self.schedule.end_step()
        context, config = self.context, self.config
        canvases = [one for one in self.canvases if len(one.pool)]
        weights = torch.tensor([float(math.prod(one.shape)) for one in canvases])
        place = int(torch.multinomial(weights, 1, generator=context.streams("sizes", shared=True)))
        return draw(canvases[place].pool, context, config.transfer.batch, config.view)

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        """Matches the teacher, and draws the features of images whose class is known to it."""
        losses, outputs = Losses(), student(batch.inputs)
        kind, config, targets = self.context.network.outputs, self.config, batch.targets
        losses.add("match", 1, lambda: kind.match(outputs, batch.answers(), config.transfer))
        if targets is not None:
            at = targets.to(self.noisy.embeddings.device)
            losses.add("attraction", config.attraction, lambda: self._from_class(outputs, at))
        return losses

    def state(self) -> Mapping[str, Stateful]:
        sizes: dict[str, Stateful] = {}
        for one in self.canvases:
            height = one.shape[1]
            sizes |= {f"pool_{height}": one.pool, f"generator_{height}": one.generator, f"bn_{height}": one.bn}
        return {"noisy": self.noisy, "optimizer": self.optimizer, "loop": self.loop, "schedule": self.schedule, **sizes}


def shapes_of(sizes: tuple[int, ...], shape: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """The shapes (C, H, W) of images of these heights, the largest first; without any, of three that suit `shape`."""
    channels, height, width = shape
    heights = sizes or [round(share * height) for share in SHARES[height >= LARGE]]
    return [(channels, one, max(1, round(one * width / height))) for one in sorted(set(heights), reverse=True)]


def _require_taken(network: Network, shape: tuple[int, int, int], context: Context, who: str) -> None:
    """Raises MethodError where `network` gives no answers for images of another size."""
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad(), fixed(network.module):
            fault = "; ".join(network.outputs.faults(context.runtime.forward(network, images).value, 2))
    except Exception as raised:  # a foreign module may raise anything
        fault = first_line(raised)
    if fault:
        _, height, width = context.task.shape
        raise MethodError(
            f"muse makes images of {shape[1]}x{shape[2]}, and the {who} does not take them ({fault}): it needs "
            f"one that takes any size. sizes={height} makes those of {height}x{width} alone, as nayer does"
        )
