"""Payloads as Flower's records: an ArrayRecord per part, the facts as text in a ConfigRecord."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

from ...errors import MissingLibraryError, ReplyRefused
from ..payload import FACTS, Payload


def flower() -> Any:
    """The module flwr. Raises MissingLibraryError."""
    try:
        import flwr.app  # pyright: ignore[reportMissingImports]
    except ImportError as fault:
        raise MissingLibraryError(
            f"flwr cannot be imported here ({fault}). Install it with: pip install flwr"
        ) from None
    return flwr


def to_records(payload: Payload) -> Any:
    """A RecordDict. A part without tensors is left out: an ArrayRecord cannot be empty."""
    app = flower().app
    records = app.RecordDict()
    for part, tensors in payload.parts.items():
        if tensors:
            records[part] = app.ArrayRecord(
                OrderedDict((name, value.detach().cpu()) for name, value in tensors.items())
            )
    records[FACTS] = app.ConfigRecord({"json": json.dumps(payload.facts, allow_nan=False)})
    return records


def from_records(records: Any) -> Payload:
    """The inverse. Raises ReplyRefused for records that `to_records` could not have made."""
    try:
        facts = json.loads(records.config_records[FACTS]["json"])
        parts = {
            part: {name: value.clone() for name, value in arrays.to_torch_state_dict().items()}
            for part, arrays in records.array_records.items()
        }
    except (KeyError, ValueError, TypeError, EOFError, OSError) as fault:
        raise ReplyRefused(f"records that are no payload ({type(fault).__name__}: {str(fault)[:100]})") from None
    if not isinstance(facts, dict):
        raise ReplyRefused("its facts must be a JSON object")
    return Payload(parts, facts)
