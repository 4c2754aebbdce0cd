"""What nodes answer, judged before it is used: payloads, who they are, how long they worked, how well they do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...errors import ClientLost, ReplyRefused
from ..payload import MAX_FACTS_BYTES, Payload
from ..scores import spread
from .client import CLIENT, TIMING
from .records import from_records


def payload_of(reply: Any, most: int) -> Payload:
    """Raises ClientLost where nothing or an error came, ReplyRefused where it is no payload of at most `most` bytes."""
    if reply is None:
        raise ClientLost("no reply: the node is gone, or too late")
    if reply.has_error():
        raise ClientLost(f"the node answered with an error: {str(reply.error.reason)[:200]}")
    if not reply.has_content():
        raise ReplyRefused("a reply without content")
    return from_records(reply.content, most)


def client_of(reply: Any, clients: int) -> int:
    """Which client a node says it is. Raises ClientLost and ReplyRefused."""
    client = payload_of(reply, MAX_FACTS_BYTES).facts.get(CLIENT)
    if type(client) is not int or not 0 <= client < clients:
        raise ReplyRefused(f"it says it is client {str(client)[:50]}, not one of 0 to {clients - 1}")
    return client


def seconds_of(reply: Any, passed: float) -> float:
    """How long a node says that it trained, from 0 to the seconds that have passed since it was asked."""
    if reply is None or reply.has_error() or not reply.has_content():
        return 0.0
    seconds = reply.content.metric_records.get(TIMING, {}).get("seconds", 0.0)
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        return 0.0
    return min(max(0.0, float(seconds)), passed)


def accuracies(answers: Mapping[int, Mapping[str, Any]], unmeasured: list[dict[str, Any]]) -> dict[str, Any]:
    """The line's figures from the clients' facts: 'clients_accuracy' of the global model, 'personal_accuracy',
    'majority_accuracy', each on the clients' own test images. A figure that is no share from 0 to 1 is left out, and
    its client named in 'unmeasured'."""
    figures: dict[str, Any] = {}
    named = {"global": "clients_accuracy", "personal": "personal_accuracy", "majority": "majority_accuracy"}
    for fact, name in named.items():
        each: dict[int, float] = {}
        for client, facts in answers.items():
            value = facts.get(fact)
            if type(value) is float and 0 <= value <= 1:
                each[client] = value
            elif value is not None:
                unmeasured.append({"client": client, "reason": f"its {fact} accuracy is {value!r:.40}"})
        if each:
            figures[name] = spread(list(each.values())) | {"each": [each.get(n) for n in range(max(each) + 1)]}
    return figures | ({"unmeasured": unmeasured} if unmeasured else {})
