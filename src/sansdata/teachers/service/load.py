"""A teacher out of the file of a service."""

from __future__ import annotations

from collections.abc import Callable

from ...contracts import Access
from ...errors import TeacherError
from ...kinds.inputs.image import Normalise
from ...tasks import Task
from ..base import Teacher
from .meter import Meter
from .offer import Offer, load_offer
from .simulated import Simulated

Load = Callable[[str, Task], Teacher]


def load_service(spec: str, task: Task, load: Load) -> Teacher:
    """load: reads the network that stands in for a service. Raises TeacherError for a job that no service does here,
    and what reading raises."""
    offer = load_offer(spec)
    if task.pair != ("image", "classes"):
        raise TeacherError(
            f"{spec}: a teacher behind an API answers for images with classes, and this is a task of "
            f"{' x '.join(task.pair)}"
        )
    return _simulated(offer, task, load)


def _simulated(offer: Offer, task: Task, load: Load) -> Teacher:
    assert offer.model is not None
    inner = load(offer.model, task)
    door = inner.network.preprocessor
    assert isinstance(door, Normalise)
    meter = Meter(offer)
    module = Simulated(inner.network, door, offer, meter).eval()
    most = Access.LABELS if offer.answers == "labels" else Access.SCORES
    teacher = Teacher(
        module, inner.task, None, offer.source, inner.sha256, most=most, notes=[*inner.notes, told(offer)]
    )
    teacher.meter = meter
    return teacher


def told(offer: Offer) -> str:
    """What a service shows, in a sentence."""
    shown = {"top-k": f"the {offer.top} likeliest classes", "labels": "labels alone"}.get(offer.answers, offer.answers)
    rounded = "" if offer.decimals is None else f", rounded to {offer.decimals} decimals"
    taken = "8 bits a pixel" if offer.levels else "numbers as they are"
    return f"the service shows {shown}{rounded}, and takes {taken}, {offer.batch} images a request at most"
