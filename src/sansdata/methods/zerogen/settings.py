"""The settings of ZeroGen."""

from __future__ import annotations

from typing import Literal

import pydantic

from ...config import Strict
from ...teachers.writers.base import Debias, Decoding
from ...training.transfer import TransferSettings
from .feedback import Feedback
from .weighing import Reweigh

GENERATED = "generated"
LONGEST = 2_000
"""Letters of a line of a file of yours that are read."""


class ZeroGenConfig(Strict):
    """texts: written before the first student step, as many of each class; chunk: in one move. more_every: student
    steps behind which another chunk is written. pool: texts that are learned from, the oldest make room.

    contexts: 'generated' by the prompt of that name, or a file of yours with one a line, which is data. per_context:
    texts of each class about one context. domain: a file of phrases of yours, one a line, which is data too: a writer
    that reads is shown `shots` of them before each prompt; of another the nearest of `choice` times as many texts are
    kept. min_words, near: of a text that is kept: its fewest words, and the share of its triples of words from which it
    is one that was there already.

    scores: what the writer's own judgement of its texts is used for. keep: the share of each class that the filters
    leave. reweigh: weights of texts by what they do to the student. feedback: texts that helped become examples for the
    next. dropout: of the student's words, replaced by the
    unknown one. shuffled: labels drawn at random, the floor."""

    texts: int = pydantic.Field(default=8000, ge=2)  # ours; ProGen's release: 200,000
    chunk: int = pydantic.Field(default=250, ge=1)  # ours
    more_every: int = pydantic.Field(default=5000, ge=1)  # ours
    pool: int = pydantic.Field(default=200_000, ge=2)  # size of the set in ProGen's release
    contexts: str = GENERATED
    per_context: int = pydantic.Field(default=2, ge=1)  # ProGen; ZeroGen: 32
    context_decoding: Decoding = Decoding(new_tokens=10)  # released
    decoding: Decoding = Decoding()  # released
    domain: str = ""
    shots: int = pydantic.Field(default=4, ge=1)  # ours
    choice: int = pydantic.Field(default=4, ge=1)  # ours
    debias: Debias = Debias()  # off for single texts, as released
    min_words: int = pydantic.Field(default=10, ge=1)  # released
    near: float = pydantic.Field(default=0.8, gt=0, le=1)  # ours; released: word for word within a batch
    scores: Literal["unused", "relabel", "soft", "filter", "likely", "weight"] = "unused"
    keep: float = pydantic.Field(default=0.5, gt=0, le=1)  # ours
    reweigh: Reweigh = Reweigh()  # SunGen
    feedback: Feedback = Feedback()  # ProGen
    smoothing: float = pydantic.Field(default=0.0, ge=0, lt=1)  # SuperGen: 0.15
    dropout: float = pydantic.Field(default=0.05, ge=0, lt=1)  # ours
    shuffled: bool = False
    steps: int = pydantic.Field(default=5000, ge=1)  # 20 epochs of 8,000 texts
    transfer: TransferSettings = TransferSettings(
        optimizer="adam", lr=1e-3, weight_decay=0.0, batch=32, schedule="cosine", clip=10.0, temperature=1.0
    )  # released, but for the rate, which is that of its successors, and its schedule (ours)
