"""A teacher out of the file of a service."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from ...contracts import Access
from ...errors import TeacherError
from ...kinds.index import input_kind
from ...kinds.inputs.image import Normalise
from ...tasks import Task
from ..base import Teacher
from .meter import Meter
from .offer import Offer, load_offer
from .remote import Remote
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
    return _simulated(offer, task, load) if offer.url is None else _remote(offer, task)


def _remote(offer: Offer, task: Task) -> Teacher:
    """The task's mean and std are those of the student; the service is sent images, and prepares them for itself."""
    door = input_kind(task).preprocessor(task.own_preprocessing)
    assert isinstance(door, Normalise)
    meter = Meter(offer)
    return _teacher(Remote(offer, task, door, meter), task, offer, meter)


def _simulated(offer: Offer, task: Task, load: Load) -> Teacher:
    assert offer.model is not None
    inner = load(offer.model, task)
    door = inner.network.preprocessor
    assert isinstance(door, Normalise)
    meter = Meter(offer)
    module = Simulated(inner.network, door, offer, meter)
    return _teacher(module, inner.task, offer, meter, inner)


def _teacher(module: nn.Module, task: Task, offer: Offer, meter: Meter, inner: Teacher | None = None) -> Teacher:
    """inner: the network that stands in for a service."""
    most = Access.LABELS if offer.answers == "labels" else Access.SCORES
    notes, sha256 = ((), None) if inner is None else (inner.notes, inner.sha256)
    teacher = Teacher(module.eval(), task, None, offer.source, sha256, most=most, notes=[*notes, told(offer)])
    teacher.meter = meter
    return teacher


def told(offer: Offer) -> str:
    """What a service shows, in a sentence."""
    shown = {"top-k": f"the {offer.top} likeliest classes", "labels": "labels alone"}.get(offer.answers, offer.answers)
    rounded = "" if offer.decimals is None else f", rounded to {offer.decimals} decimals"
    inputs = "8 bits a pixel" if offer.levels else "numbers as they are"
    return f"the service shows {shown}{rounded}, and takes {inputs}, {offer.batch} images a request at most"
