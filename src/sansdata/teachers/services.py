"""What a teacher's spec touches beyond files: the services that it names, and where their answers are kept."""

from __future__ import annotations

from pathlib import Path

from ..errors import TeacherError
from ..tasks import Task
from .service.http import address_of_url
from .service.journal import journal_path
from .service.offer import Offer, is_offer, load_offer
from .service.remote import kept_in
from .writers import sources as of_writers


def services(spec: str) -> dict[tuple[str, int], str]:
    """(host, port) -> address of a service that the spec names."""
    offer = _offer(spec)
    if offer is None or offer.url is None:
        return of_writers.services(spec)
    address = address_of_url(offer.url, "the service", offer.key)
    return {(address.host, address.port): address.url}


def journals(spec: str, task: Task | None) -> list[Path]:
    """Where the answers of a service to inputs of this task are kept."""
    offer = _offer(spec)
    if offer is None or offer.url is None or task is None or task.pair != ("image", "classes"):
        return of_writers.journals(spec)
    return [journal_path(kept_in(offer, task))]


def _offer(spec: str) -> Offer | None:
    """None where it is no file of a service, or one that cannot be read, which is said when it is loaded."""
    if not is_offer(spec):
        return None
    try:
        return load_offer(spec)
    except TeacherError:
        return None
