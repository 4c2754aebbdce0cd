"""Mods of Flower's kind around training, such as local differential privacy, on models that also count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def shielded(mods: Sequence[Any]) -> Any:
    """One mod that runs all of these, and shows them floating tensors only.

    Flower's mods clip and add noise to every array that they meet, in place: whole numbers, such as BatchNorm's
    counters, they cannot scale. So those go past them, and a variance below zero, which noise can make, becomes zero.
    """
    from flwr.app import Array, ArrayRecord  # pyright: ignore[reportMissingImports]

    def without_counters(records: Any) -> dict[str, dict[str, Any]]:
        """Takes the arrays of whole numbers out of records; gives them by part and name."""
        integers: dict[str, dict[str, Any]] = {}
        for part, record in records.array_records.items():
            integers[part] = {name: array for name, array in record.items() if not _floating(array)}
            for name in integers[part]:
                del record[name]
        return integers

    def put_back(records: Any, taken: dict[str, dict[str, Any]]) -> None:
        for part, arrays in taken.items():
            kept = dict(records.array_records[part].items()) if part in records else {}
            records[part] = ArrayRecord(kept | arrays)

    def mod(message: Any, context: Any, call_next: Callable[[Any, Any], Any]) -> Any:
        of_message, of_reply = without_counters(message.content), {}

        def app(message: Any, context: Any) -> Any:
            put_back(message.content, of_message)
            reply = call_next(message, context)
            if reply.has_content():
                of_reply.update(without_counters(reply.content))
            without_counters(message.content)  # the mods compare both
            return reply

        reply = _chain(mods, app)(message, context)
        if reply.has_content():
            for record in reply.content.array_records.values():
                for name in [name for name in record if name.endswith("running_var")]:
                    record[name] = Array(np.maximum(record[name].numpy(), 0))
            put_back(reply.content, of_reply)
        return reply

    return mod


def _floating(array: Any) -> bool:
    return np.dtype(array.dtype).kind == "f"


def _chain(mods: Sequence[Any], app: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The app inside its mods, the first outermost."""
    for one in reversed(mods):
        app = _around(one, app)
    return app


def _around(mod: Any, app: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda message, context: mod(message, context, app)
