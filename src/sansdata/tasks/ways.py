"""The output side of a few-shot task: one of N classes that nobody has named yet."""

from __future__ import annotations

from typing import Literal

from .classes import ClassesSpec


class WaysSpec(ClassesSpec):
    """One of `classes` exclusive classes of a few-shot task, its ways. Which they are is said by each task's own
    support set, a few labelled samples from which the network is adapted; until then an answer means nothing. The other
    fields are as in ClassesSpec."""

    kind: Literal["ways"] = "ways"  # type: ignore[assignment]
