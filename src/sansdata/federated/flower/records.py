"""Payloads as Flower's records: an ArrayRecord per part, the facts as text in a ConfigRecord."""

from __future__ import annotations

import io
import math
from collections import OrderedDict
from typing import Any

import torch
from numpy.lib import format as npy
from torch import Tensor

from ...errors import MissingLibraryError
from ..payload import FACTS, Payload, decoding, facts_text, read_facts

NUMPY = "numpy.ndarray"
HEADER_BYTES = 4096
"""Room for the header of one array; numpy writes 128 bytes before an array of few dimensions."""
MAX_MESSAGE_BYTES = 2 << 30
"""What Flower carries in one message."""


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
    records[FACTS] = app.ConfigRecord({"json": facts_text(payload.facts)})
    return records


def from_records(records: Any, most: int = MAX_MESSAGE_BYTES) -> Payload:
    """The inverse. Raises ReplyRefused for records that `to_records` could not have made, or of more than `most` bytes.

    Other records, such as figures that a mod adds, are no part of the message.
    """
    with decoding("records that are no payload"):
        arrays = [array for record in records.array_records.values() for array in record.values()]
        size = sum(len(array.data) for array in arrays)
        if size > most + len(arrays) * HEADER_BYTES:
            raise ValueError(f"{size:,} bytes, more than the {most:,} that were asked for")
        parts = {
            part: {name: _tensor(array) for name, array in record.items()}
            for part, record in records.array_records.items()
        }
        return Payload(parts, read_facts(records.config_records[FACTS]["json"]))


def _tensor(array: Any) -> Tensor:
    """Of an Array of Flower's, a .npy file: its header is believed only where that many bytes follow."""
    if array.stype != NUMPY:
        raise ValueError(f"serialised as {array.stype!r:.40}")
    file = io.BytesIO(array.data)
    version = npy.read_magic(file)
    shape, _, dtype = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version](file)
    if dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError(f"objects, or a shape of {str(shape)[:80]}")
    if math.prod(shape) * dtype.itemsize != len(array.data) - file.tell():
        raise ValueError(f"the header says {str(shape)[:80]} of {dtype}, and {len(array.data):,} bytes came")
    file.seek(0)
    return torch.from_numpy(npy.read_array(file, allow_pickle=False))
