"""A model behind an API as a module: counted, paced, kept, and not asked again about what it answered."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...errors import TeacherError
from ...kinds.inputs.image import Normalise
from ...tasks import Task
from . import wire
from .http import Client, NotSent, address_of_url
from .journal import Journal, journal_path, key_of
from .meter import Meter
from .offer import Offer
from .pace import Pace
from .several import each_once

PROBED = 4
"""Inputs that are asked again when a process begins, to see whether it is still the same model."""
CLOSE = 1e-3
"""How far two answers of one model to one input may be apart, beside its rounding."""


def kept_in(offer: Offer, task: Task) -> list[object]:
    """What tells the answers of this service from those of others. Of a class its number is kept, which another order
    of the names gives to another one."""
    classes = [task.classes, list(task.class_names)]
    return [offer.url, offer.version, offer.answers, offer.top, offer.decimals, offer.inputs, list(task.shape), classes]


class Remote(nn.Module):
    """What a network of the task takes (B, C, H, W) -> logits (B, K) of what the service says of the images."""

    def __init__(self, offer: Offer, task: Task, door: Normalise, meter: Meter) -> None:
        super().__init__()
        assert offer.url is not None
        self.offer, self.task, self.door, self.meter = offer, task, door, meter
        self.client = Client(address_of_url(offer.url, "the service", offer.key), offer.source, [offer.key])
        self.journal = Journal(journal_path(kept_in(offer, task)))
        self.pace = Pace(offer.rate)
        meter.follow(self.journal.spent)
        meter.kept = len(self.journal.answers)
        self._compared = not self.journal.answers

    @torch.no_grad()
    def forward(self, prepared: Tensor) -> Tensor:
        data = wire.encoded(self.door.undo(prepared), self.offer)
        keys = [hashlib.sha256(one).hexdigest() for one in data]
        unknown = {key: one for key, one in zip(keys, data) if key not in self.journal.answers}
        self._compare([(key, one) for key, one in zip(keys, data) if key not in unknown][:PROBED])
        self.meter.known_before(len(keys) - len(unknown))
        self._ask(unknown)
        try:
            logits = wire.logits_of([self.journal.answers[key] for key in keys], self.offer, self.task.classes)
        except TeacherError as fault:
            raise TeacherError(f"{self.offer.source}: {fault} ({self.journal.path})") from None
        return logits.to(prepared.device)

    def fingerprint(self) -> str:
        """Of its name: nobody can see whether what answers there is still the same, beyond `PROBED` inputs."""
        return key_of(kept_in(self.offer, self.task))

    # -- questions

    def _ask(self, unknown: dict[str, bytes]) -> None:
        """Puts the answers into the journal."""
        rows = list(unknown.items())
        parts = [dict(rows[start : start + self.offer.batch]) for start in range(0, len(rows), self.offer.batch)]
        each_once(self._request, parts, self.offer.rate.at_once)

    def _request(self, part: dict[str, bytes], again: bool = True) -> None:
        """One request. Inputs for which the service had no answer are asked once more, by themselves."""
        answered = self._answers(list(part.values()))
        good = {key: one for key, one in zip(part, answered) if not isinstance(one, wire.Failed)}
        self._note(good)
        failed = [(key, one) for key, one in zip(part, answered) if isinstance(one, wire.Failed)]
        if failed and not again:
            raise TeacherError(f"{self.offer.source}: has no answer for {len(failed)} inputs ({failed[0][1]})")
        if failed:
            self._request({key: part[key] for key, _ in failed}, again=False)

    def _answers(self, data: list[bytes]) -> list[wire.Answer | wire.Failed]:
        """Counted on the disk before they are asked for; an answer that is none was paid for all the same, and so is
        one that did not come: the service may have counted it."""
        count = len(data)
        self.pace.wait(count)
        self._spend(count)
        try:
            body = self.client.post(wire.question(data, self.task.shape, self.offer), lost=lambda: self._spend(count))
            return wire.read(body, count, self.offer, self.task.class_names, self.task.classes)
        except TeacherError as fault:
            if isinstance(fault, NotSent):
                self.meter.take_back(count)
                self._note({}, -count, -1)
            text = str(fault).removeprefix(f"{self.offer.source}: ")
            raise TeacherError(
                f"{self.offer.source}: {self.client.without_key(text)}. What came before is kept in {self.journal.path}"
            ) from None

    def _spend(self, count: int) -> None:
        """Before a request of so many inputs. Raises BudgetSpent."""
        self.meter.spend(count)
        self._note({}, count, 1)

    def _note(self, good: Mapping[str, wire.Answer | wire.Failed], samples: int = 0, requests: int = 0) -> None:
        """Puts answers and what was spent on the disk, and sees what others have spent meanwhile."""
        self.journal.add(good, {"samples": samples, "requests": requests})
        self.meter.follow(self.journal.spent, samples, requests)

    def _compare(self, known: list[tuple[str, bytes]]) -> None:
        """Once in a process, on the first inputs that were answered in an earlier one. Raises TeacherError where the
        model has changed meanwhile."""
        if self._compared or not known:
            return
        now: list[wire.Answer | wire.Failed] = []
        for start in range(0, len(known), self.offer.batch):
            part = [one for _, one in known[start : start + self.offer.batch]]
            now += self._answers(part)
        self._compared = True
        pairs = [(one, self.journal.answers[key]) for (key, _), one in zip(known, now)]
        both = [pair for pair in pairs if not isinstance(pair[0], wire.Failed)]
        if not both:
            return
        fresh, kept = (wire.logits_of(list(side), self.offer, self.task.classes) for side in zip(*both))
        room = CLOSE + (0.0 if self.offer.decimals is None else 10.0**-self.offer.decimals)
        if float((fresh.softmax(1) - kept.softmax(1)).abs().max()) > room:
            raise TeacherError(
                f"{self.offer.source}: answers otherwise than it did when {self.journal.path} was begun: its model has "
                "changed. Give the service another version: in its file, and answers are kept apart"
            )
