"""EchoDFKD: data-free distillation for the left ventricle in ultrasound films (Petit et al., WACV 2025, 2409.07566).

A teacher labels synthetic clips, each once; a recurrent student learns the soft masks. The teacher never runs in the
loop, and is only asked for its probabilities. Where the paper has the films of a generator that was trained on the
teacher's data (EchoNet-Synthetic), a procedure draws them here, or a file holds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import pydantic
import torch
from torch import Tensor
from torch.nn import functional as F

from ..arithmetic import ceil_div
from ..config import Strict
from ..contracts import Access, Batch, Forward, Losses, Outputs, Requirements, Stateful
from ..decoding.arrays import read_array
from ..errors import MethodError
from ..kinds.index import input_kind
from ..memory import Pool
from ..method import Context
from ..objectives.masks import soft_dice
from ..synthesis.echo_phantom import GENERATOR, films
from ..synthesis.rounds import PooledRounds, Round, Schedule
from ..training.transfer import TransferSettings

SURE = 12.0
"""Logit of a hard label: a probability of all but 6e-6."""


class EchoDFKDConfig(Strict):
    """source: 'phantom', films of a beating ventricle; 'still', one frame of each for the whole clip; 'noise', what the
    kind of input draws. clips: an .npz file of films to take instead, in random pieces of the task's length.

    "Released" is GregoirePetit/EchoDFKD and GregoirePetit/ConvLSTM-Segmentation.
    """

    source: Literal["phantom", "still", "noise"] = "phantom"
    clips: str | None = None
    pool: int = pydantic.Field(default=1000, ge=1)  # ours; released: 7,465 films of 192 frames
    clips_per_move: int = pydantic.Field(default=10, ge=1)  # ours
    steps_per_round: int = pydantic.Field(default=100, ge=1)  # student steps to a renewal of clips_per_move: ours
    hard: bool = False  # 0 and 1 at a threshold of one half instead of soft masks: the ablation
    dice: float = pydantic.Field(default=0.0, ge=0)  # weight of a soft Dice term; released: none
    steps: int = pydantic.Field(default=95_000, ge=1)  # ours; released: 350 epochs of 234 steps at most
    transfer: TransferSettings = TransferSettings(
        optimizer="adam", lr=1e-3, weight_decay=0.0, schedule="constant", batch=32, match="kl", temperature=1.0
    )  # released: binary cross entropy, whose gradient for the student is that of KL at temperature 1


class EchoDFKD(PooledRounds):
    """Clips and their masks go into a pool as bytes, some at a time; the student learns from all of them."""

    Config: ClassVar[type] = EchoDFKDConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours).
        "small": {
            "pool": 150, "steps": 400, "steps_per_round": 400,
            "transfer": {"lr": 5e-3, "schedule": "cosine", "batch": 4},
        },
    }  # fmt: skip
    config: EchoDFKDConfig

    @classmethod
    def requires(cls, config: EchoDFKDConfig) -> Requirements:
        return Requirements(access=Access.SCORES, inputs=frozenset({"clip"}), outputs=frozenset({"masks"}))

    @classmethod
    def round_of(cls, config: EchoDFKDConfig) -> Round:
        return Round(config.steps_per_round, warmup=ceil_div(config.pool, config.clips_per_move) - 1)

    @classmethod
    def rehearsal(cls, config: EchoDFKDConfig) -> EchoDFKDConfig:
        return config.model_copy(update={"pool": min(config.pool, config.clips_per_move), "steps_per_round": 2})

    @classmethod
    def reads(cls, config: EchoDFKDConfig) -> dict[Path, str]:
        return {} if config.clips is None else {Path(config.clips): "clips"}

    def __init__(self, config: EchoDFKDConfig, context: Context) -> None:
        """Raises MethodError for a task whose frames no phantom has, or a file of clips that does not fit it."""
        super().__init__(config, context)
        self.kind = input_kind(context.task)
        self.films = None if config.clips is None else given_films(Path(config.clips), context)
        height, width = context.task.shape[-2:]
        if self.films is None and config.source != "noise" and height != width:
            raise MethodError(
                f"echo-dfkd: the phantom's frames are square and the task's {height} x {width}; give clips=FILE.npz"
            )
        self.pool = Pool(config.pool, self.kind)
        self.schedule = Schedule(self.round_of(config), acquired=0)

    @property
    def view(self) -> Literal["none"]:
        """Clips are seen as they are, so that the teacher's masks stay true of them."""
        return "none"

    def acquire(self) -> Losses:
        clips = self._clips(min(self.config.clips_per_move, self.config.pool))
        self.keep(self.kind.unpack(clips), torch.zeros(len(clips), dtype=torch.int64))  # type: ignore[arg-type]
        self.schedule["acquired"] += 1
        if self.schedule["acquired"] > self.round_of(self.config).warmup:
            self.schedule.begin_steps()
        return Losses()

    def _clips(self, count: int) -> Tensor:
        """uint8 (count, C, T, H, W)."""
        stream, (channels, frames, size, _) = self.context.streams("clips"), self.context.task.inputs.shape
        if self.films is not None:
            return pieces(self.films, count, frames, stream)
        if self.config.source == "noise":
            return self.kind.pack(self.kind.draw(count, stream))  # type: ignore[return-value]
        clips = films(count, frames, size, GENERATOR, stream).clips
        if self.config.source == "still":
            clips = clips[:, :, :1].expand(-1, -1, frames, -1, -1)
        return clips.expand(-1, channels, -1, -1, -1).contiguous()

    def transfer_batch(self) -> Batch:
        batch = super().transfer_batch()
        if self.config.hard:
            outputs = batch.answers()
            batch.teacher_outputs = replace(outputs, value=_hard(outputs.value))
        return batch

    def student_loss(self, student: Forward, batch: Batch) -> Losses:
        losses, answers = Losses(), batch.answers()
        outputs = student(batch.inputs)
        kind, how = self.context.network.outputs, self.config.transfer
        losses.add("match", 1, lambda: kind.match(outputs, answers, how))
        losses.add("dice", self.config.dice, lambda: _lacking_dice(outputs, answers))
        return losses

    def state(self) -> Mapping[str, Stateful]:
        return {"pool": self.pool, "schedule": self.schedule}


def _hard(logits: Tensor) -> Tensor:
    """Logits (B, K, ...) that are sure of the class that `logits` (B, K, ...) like best."""
    of_class = F.one_hot(logits.argmax(1), logits.shape[1]).movedim(-1, 1)
    return SURE * (of_class.to(logits.dtype) - 0.5)


def _lacking_dice(student: Outputs, teacher: Outputs) -> Tensor:
    """(B,) 1 less the soft Dice of all classes but the first, the ground."""
    return 1 - soft_dice(student.value, teacher.value)[:, 1:].mean(1)


def given_films(path: Path, context: Context) -> Tensor:
    """uint8 (N, C, T, H, W) from the array `clips` of an .npz file. Raises MethodError where its films are of another
    size than the task's, or shorter."""
    kind, (channels, frames, height, width) = input_kind(context.task), context.task.inputs.shape
    try:
        clips = kind.from_arrays({"clips": read_array(path, "clips")})
    except ValueError as fault:
        raise MethodError(f"{path}: {fault}") from None
    assert isinstance(clips, Tensor)
    if (clips.shape[1], *clips.shape[3:]) != (channels, height, width) or clips.shape[2] < frames or not len(clips):
        raise MethodError(
            f"{path}: {len(clips)} films of (C, T, H, W) {tuple(clips.shape[1:])}; the task takes {frames} frames or "
            f"more of {(channels, height, width)}"
        )
    return clips


def pieces(films: Tensor, count: int, frames: int, generator: torch.Generator) -> Tensor:
    """(count, C, frames, H, W): frames that follow each other, from a random place of a random film."""
    which = torch.randint(len(films), (count,), generator=generator).tolist()
    starts = torch.randint(films.shape[2] - frames + 1, (count,), generator=generator).tolist()
    return torch.stack([films[film, :, start : start + frames] for film, start in zip(which, starts)])
