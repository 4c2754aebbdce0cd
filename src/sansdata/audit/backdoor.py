"""How often a trigger makes a classifier answer the attacker's class."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..datasets.imageset import ImageSet
from ..errors import DataError
from ..evaluate.labelled import Predict, answers
from ..kinds.outputs.class_metrics import wilson_interval
from ..tasks import Task
from .attacks import Attack, require_target, triggered


@dataclass(frozen=True)
class AttackSuccess:
    """On the images that are not of the target class, all shares in 0..1.

    rate: answered with the target once the trigger is on them (ASR). base_rate: answered so without it, which is no
    merit of the trigger. count: how many images. interval: Wilson's 95 % interval of the rate.
    """

    attack: str
    target: int
    rate: float
    base_rate: float
    count: int
    interval: tuple[float, float]

    @property
    def above_base(self) -> float:
        """What the trigger adds: rate less base rate."""
        return self.rate - self.base_rate

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"above_base": self.above_base}


def attack_success(predict: Predict, data: ImageSet, task: Task, attack: Attack, target: int = 0) -> AttackSuccess:
    """Asks `predict` for the images that are not of class `target`, with the trigger and without.

    Images of the target class are left out: answering it is right there. Raises DataError where no others are left, for
    a target that is no class or for images below 8x8 pixels; StudentError where the answers are no finite logits.
    """
    require_target(target, task.classes)
    others = np.flatnonzero(data.labels != target)
    if not len(others):
        raise DataError(f"{data.source}: all images are of the target class {target}; nothing is left to attack")
    clean = data.subset(others, f"without class {target}")
    plain, marked = (answers(predict, one, task).argmax(1) == target for one in (clean, triggered(clean, attack)))
    hits = int(marked.sum())
    return AttackSuccess(
        attack.name, target, hits / len(others), float(plain.mean()), len(others), wilson_interval(hits, len(others))
    )
