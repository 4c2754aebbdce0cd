"""What udistil can be told."""

from __future__ import annotations

from typing import Literal

import pydantic

from ...config import Strict
from ...synthesis.rooms import Rooms
from ...synthesis.voices import Speaker
from ...training.transfer import TransferSettings
from .scores import SCORES

WEIGHTS = {"paper": (1.0, 0.8), "released": (0.8, 1.0)}
"""(of the pseudo-label, of KL): Distil-Whisper's section 4, and run_distillation.py of huggingface/distil-whisper,
where they are swapped."""


class UDistilConfig(Strict):
    """speakers: who says the texts. texts: a file with one on each line; without it the names of the classes are said.
    more_every: student steps behind which clips_per_move sounds are spoken anew, in the place of the oldest.

    filter: 'none', 'random' or the name of a score. threshold: of 'proxy', the word error rate that is let through.
    keep: the share that another filter keeps; None is as many as 'proxy' does. labels: what the student is told a sound
    says, 'text' is what was to be said. kl: on which sounds the teacher's probabilities are matched: all that are kept,
    those where it agrees with the text, or none, for a teacher that gives no probabilities. share_encoder: of a
    recogniser, the student keeps the teacher's encoder, which hears each sound once for both.
    """

    speakers: tuple[Speaker, ...] = pydantic.Field(default=("espeak-ng", "flite"), min_length=1)
    texts: str | None = None
    rooms: Rooms = Rooms()
    clips: int = pydantic.Field(default=2000, ge=8, le=1_000_000)  # ours; uDistil: 100,000 or 500,000 utterances
    clips_per_move: int = pydantic.Field(default=20, ge=1)  # ours
    more_every: int = pydantic.Field(default=5000, ge=1)  # ours
    filter: str = "proxy"
    threshold: float = pydantic.Field(default=0.0, ge=0)  # ours: a word is right or wrong; uDistil: 0.8
    keep: float | None = pydantic.Field(default=None, gt=0, le=1)  # uDistil: as many as the error rate leaves
    within_class: bool = True  # ours: without it confidence drops whole classes
    duration_bins: int = pydantic.Field(default=1, ge=1, le=100)  # ours
    labels: Literal["teacher", "text"] = "teacher"
    kl: Literal["all", "agreed", "none"] = "all"
    weights: Literal["paper", "released"] = "paper"
    share_encoder: bool = False  # both papers, where the student keeps the whole encoder
    steps: int = pydantic.Field(default=5000, ge=1)  # released: demo
    transfer: TransferSettings = TransferSettings(
        optimizer="adam", lr=1e-3, weight_decay=0.0, batch=64, temperature=2.0, schedule="cosine", clip=1.0
    )  # temperature, weight decay and clip: paper; the rest: ours

    @pydantic.field_validator("filter")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in ("none", "random", *SCORES):
            raise ValueError(f"filter is none, random or one of {', '.join(SCORES)}, got {name[:40]!r}")
        return name
