"""Sounds inverted from a classifier with BatchNorm, after FRAMI (Kang et al. 2023, arXiv 2303.07643).

Of the paper the abstract was read: inversion with a contrast of features between views of one sound, then distillation
that uses hidden states too (`features.hint` does that with any method). The losses are a reconstruction; that gains on
a source are moved, and no log-mel spectrogram, is ours: what is kept is then a sound which any network can hear.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import Strict
from ..contracts import Access, Losses, Requirements, Stateful
from ..kinds.index import input_kind
from ..kinds.inputs.waveform import Waveforms
from ..memory import Pool, Slot
from ..method import Context
from ..objectives.contrastive import pair_contrast, spatial_means
from ..objectives.logits import cross_entropy, entropy
from ..synthesis.filtered_sound import BANDS, FilteredSound
from ..synthesis.pixels import Inversion, PixelRounds
from ..synthesis.rounds import Schedule
from ..training.transfer import TransferSettings

SHIFT, HIDDEN, LOUDER = 0.1, 0.2, 6.0
"""Of a view: moved by up to this share of its length, silent over this share of it, louder or quieter by so many dB."""


class FRAMIConfig(Strict):
    """batch, iterations: of an inversion. ce, bn, contrast, balance: weights of its terms; smooth_time, smooth_bands:
    of the squared steps of the gains from frame to frame and from band to band."""

    batch: int = pydantic.Field(default=64, ge=2)  # ours
    iterations: int = pydantic.Field(default=200, ge=1)  # ours
    chunk: int = pydantic.Field(default=20, ge=1)  # ours
    gain_lr: float = pydantic.Field(default=0.1, gt=0)  # ours
    ce: float = pydantic.Field(default=1.0, ge=0)  # ours
    bn: float = pydantic.Field(default=1.0, ge=0)  # ours
    balance: float = pydantic.Field(default=1.0, ge=0)  # ours
    contrast: float = pydantic.Field(default=0.1, ge=0)  # ours
    temperature: float = pydantic.Field(default=0.2, gt=0)  # ours
    smooth_time: float = pydantic.Field(default=0.05, ge=0)  # ours
    smooth_bands: float = pydantic.Field(default=0.05, ge=0)  # ours
    pool: int = pydantic.Field(default=2000, ge=2)  # ours
    steps_per_batch: int = pydantic.Field(default=60, ge=1)  # ours
    steps: int = pydantic.Field(default=2000, ge=1)  # ours
    transfer: TransferSettings = TransferSettings(
        optimizer="adam", lr=3e-3, weight_decay=0.0, batch=64, temperature=4.0, clip=1.0
    )  # ours


class FRAMI(PixelRounds):
    """Inverts a batch of sounds over several moves, keeps it, teaches for a while from all that was kept."""

    Config: ClassVar[type] = FRAMIConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Minutes on a CPU (ours).
        "small": {"iterations": 60, "steps_per_batch": 50, "steps": 400},
    }
    config: FRAMIConfig

    @classmethod
    def requires(cls, config: FRAMIConfig) -> Requirements:
        looks = config.bn > 0 or config.contrast > 0
        return Requirements(
            Access.WEIGHTS if looks else Access.GRADIENTS, batch_norm=config.bn > 0, head=config.contrast > 0,
            inputs=frozenset({"waveform"}),
        )  # fmt: skip

    def __init__(self, config: FRAMIConfig, context: Context) -> None:
        super().__init__(config, context)
        kind = input_kind(context.task)
        assert isinstance(kind, Waveforms)
        self.kind, self.sound = kind, FilteredSound(kind.spec.rate, kind.spec.length)
        self.bn = context.teacher.statistics(config.bn > 0)
        self.features = f"{context.teacher.inside.head}:input" if config.contrast else ""
        self.pool = Pool(config.pool, kind)
        blank = torch.zeros(config.batch, 1, BANDS, self.sound.frames)
        nothing = torch.zeros(config.batch, dtype=torch.int64)
        self.inversion = Inversion(
            context.runtime.place(blank), nothing, config.gain_lr, config.iterations, config.chunk
        )
        self.source = Slot(sounds=torch.zeros(config.batch, kind.spec.length), length=kind.spec.length)
        self.schedule = Schedule(self.round_of(config))

    @property
    def view(self) -> Literal["none"]:
        return "none"

    def begin_batch(self) -> None:
        """New sources, near silence and even noise, one length for all, and random classes."""
        context, config, stream = self.context, self.config, self.context.streams("gains")
        longest = self.kind.spec.length
        self.source["sounds"] = self.sound.sources(config.batch, stream)
        self.source["length"] = int(torch.randint(longest // 3, longest + 1, (), generator=stream))
        gains = 0.5 * torch.randn(config.batch, 1, BANDS, self.sound.frames, generator=stream)
        targets = torch.randint(context.task.classes, (config.batch,), generator=stream)
        self.inversion.begin(context.runtime.place(gains), targets.to(context.runtime.device))

    def iterate(self) -> Losses:
        losses = self._losses()
        total = losses.total()
        self.inversion.offer(total.item())
        self.inversion.step(total)
        return losses

    def heard(self, gains: Tensor) -> dict[str, Tensor]:
        """The sounds of these gains, as they travel."""
        length = self.source["length"]
        waveform = self.sound(gains, self.source["sounds"].to(gains.device), length)
        return {"waveform": waveform, "length": torch.full((len(gains),), length, device=gains.device)}

    def _losses(self) -> Losses:
        config, context, gains = self.config, self.context, self.inversion.pixels
        inputs = self.heard(gains)
        taps = self.bn.taps + ((self.features,) if self.features else ())
        outputs = context.teacher(inputs, taps)
        losses = context.acquire_losses(inputs, outputs)
        losses.add("ce", config.ce, lambda: cross_entropy(outputs.logits, self.inversion.targets))
        losses.add("bn", config.bn, lambda: self.bn(outputs.taps))
        losses.add("balance", config.balance, lambda: -entropy(outputs.logits.softmax(1).mean(0)))
        losses.add("contrast", config.contrast, lambda: self._contrast(inputs, outputs.taps))
        losses.add("smooth_time", config.smooth_time, lambda: gains.diff(dim=3).square().flatten(1).mean(1))
        losses.add("smooth_bands", config.smooth_bands, lambda: gains.diff(dim=2).square().flatten(1).mean(1))
        return losses

    def _contrast(self, inputs: Mapping[str, Tensor], taps: Mapping[str, Tensor]) -> Tensor:
        """(B,) how badly a sound and a view of it find each other among all others."""
        waveform = viewed(inputs["waveform"], self.source["length"], self.context.streams("views"))
        other = self.context.teacher({**inputs, "waveform": waveform}, (self.features,))
        rows = [F.normalize(spatial_means([tap]), dim=1) for tap in (taps[self.features], other.taps[self.features])]
        return pair_contrast(rows[0], rows[1], self.config.temperature)

    def finished_batch(self) -> tuple[Any, Tensor]:
        with torch.no_grad():
            return self.heard(self.inversion.best), self.inversion.targets

    def state(self) -> Mapping[str, Stateful]:
        return {"inversion": self.inversion, "source": self.source, "pool": self.pool, "schedule": self.schedule}


def viewed(waveform: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """(B, L): each sound moved around within its length, silent for a while, of another loudness."""
    count = len(waveform)
    furthest = round(SHIFT * length)
    moves = torch.randint(-furthest, furthest + 1, (count,), generator=generator).tolist()
    begins = (torch.rand(count, generator=generator) * (1 - HIDDEN) * length).long()
    louder = 10 ** (LOUDER / 20 * (2 * torch.rand(count, 1, generator=generator) - 1))
    moved = torch.stack([row[:length].roll(move) for row, move in zip(waveform, moves)])
    place = torch.arange(length)[None]
    hidden = (place >= begins[:, None]) & (place < begins[:, None] + HIDDEN * length)
    partial = moved * (~hidden).to(waveform) * louder.to(waveform)
    return F.pad(partial, (0, waveform.shape[1] - length)).clamp(-1, 1)
