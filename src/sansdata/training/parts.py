"""What may stand around a method's student step, as a table: a new part is a row here, a section of the settings, and
the file that does the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from ..contracts import Access, Forward, Requirements
from ..method import Context
from ..settings import RetainSettings, RetrospectSettings
from ..teachers.base import Teacher
from ..teachers.preflight import unmet
from .added_terms import AddedTerms
from .few_bits import FewBitStudent
from .retain import ForwardAt, Retain
from .retrospect import Retrospect
from .transfer import TransferSettings
from .vaccine import Vaccine, unmet_by_vaccine

IMAGES = Requirements(Access.LABELS)
"""Images and classes, whatever the teacher shows."""


@dataclass(frozen=True)
class StudentStep:
    """What a part may step with. student: as it is trained. forward_at: the student at other weights. scale: of the
    method's divergence of answers."""

    context: Context
    student: nn.Module
    forward: Forward
    forward_at: ForwardAt
    optimizer: torch.optim.Optimizer
    settings: TransferSettings
    scale: float = 1.0


@dataclass(frozen=True)
class Part:
    """One row. role: a defence is there before the method and adds to both losses; a view changes how the student's
    weights are seen wherever it runs; terms are read from the student's own forward pass; an update takes the step.
    build(settings, context or step). unmet(settings, teacher): why it cannot work with this teacher. joins: whether it
    puts inputs of several batches into one."""

    role: Literal["defence", "view", "terms", "update"]
    build: Callable[[Any, Any], Any]
    unmet: Callable[[Any, Teacher], list[str]]
    joins: bool = False


def _retain(settings: RetainSettings, step: StudentStep) -> Retain:
    return Retain(
        step.context, step.forward, step.optimizer, step.settings.clip, step.student, step.forward_at, settings
    )  # fmt: skip


def _retrospect(settings: RetrospectSettings, step: StudentStep) -> Retrospect:
    return Retrospect(
        step.context, step.forward, step.optimizer, step.student, settings, step.settings.temperature, step.scale
    )  # fmt: skip


def _unmet_by_retain(settings: RetainSettings, teacher: Teacher) -> list[str]:
    if teacher.task.pair[1] == "field":
        return ["it replays inputs with the teacher's answers, and a generator learns at points that it makes itself"]
    if teacher.task.pair[1] == "vectors":
        return ["it replays inputs with the teacher's answers, and latents count as a set: none belongs to an input"]
    if "panel" in teacher.capabilities:
        return [
            "it asks the teacher about what it remembers, and of a panel only one API knows it; bidf-mkd has replay"
        ]
    if settings.memory != "vae":
        return []
    return [f"{reason}; use retain.memory=ring" for reason in unmet(Requirements(Access.GRADIENTS), teacher)]


def _unmet_by_retrospect(settings: RetrospectSettings, teacher: Teacher) -> list[str]:
    if reasons := unmet(IMAGES, teacher):
        return reasons
    if settings.search != "student" and teacher.access < Access.GRADIENTS:
        return [
            f"self-retrospection needs gradients of the teacher, which gives {teacher.access.name}; "
            "retrospect.search=student needs none"
        ]
    return []


PARTS: Mapping[str, Part] = {
    "vaccine": Part("defence", Vaccine, lambda settings, teacher: unmet_by_vaccine(teacher), True),
    "bits": Part("view", FewBitStudent, lambda settings, teacher: []),
    "features": Part("terms", AddedTerms, lambda settings, teacher: unmet(Requirements(Access.WEIGHTS), teacher)),
    "retain": Part("update", _retain, _unmet_by_retain, True),
    "retrospect": Part("update", _retrospect, _unmet_by_retrospect),
}
"""section of the settings -> part, in the order in which they are built; of two updates the later one goes first."""
