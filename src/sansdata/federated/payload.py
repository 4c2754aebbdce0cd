"""What travels between server and clients: named parts of named tensors, and a few plain facts. Never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import ReplyRefused

MAX_HEADER_BYTES = 16 << 20
MAX_FACTS_BYTES = 64 << 10
FACTS = "facts"


@dataclass
class Payload:
    """One message. parts: part -> name -> tensor, such as {'model': {...}, 'labels': {'counts': ...}}.

    facts: plain JSON, small; for numbers and words that steer, not for data.
    """

    parts: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def nbytes(self) -> dict[str, int]:
        """Bytes of the tensors of each part, and of the facts as JSON under 'facts'."""
        counted = {
            part: sum(value.numel() * value.element_size() for value in tensors.values())
            for part, tensors in self.parts.items()
        }
        return counted | {FACTS: len(_json(self.facts))}

    def to_bytes(self) -> bytes:
        """safetensors, a tensor named 'part/name', the facts in the metadata. Raises ValueError for facts that are no
        plain JSON or a part whose name holds a slash."""
        if any("/" in part for part in self.parts):
            raise ValueError(f"a part's name must not hold '/', got {sorted(self.parts)}")
        flat = {
            f"{part}/{name}": value.detach().cpu().contiguous().clone()
            for part, tensors in self.parts.items()
            for name, value in tensors.items()
        }
        return safetensors.torch.save(flat, {FACTS: _json(self.facts)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Payload:
        """The inverse. Raises ReplyRefused for anything that `to_bytes` could not have written."""
        facts = _facts(data)
        try:
            flat = safetensors.torch.load(data)
        except (SafetensorError, KeyError, ValueError, RuntimeError, AttributeError) as fault:
            raise ReplyRefused(f"no valid safetensors ({str(fault)[:120]})") from None
        parts: dict[str, dict[str, Tensor]] = {}
        for key, value in flat.items():
            part, slash, name = key.partition("/")
            if not slash:
                raise ReplyRefused(f"tensor '{key[:60]}' belongs to no part; names are part/name")
            parts.setdefault(part, {})[name] = value
        return cls(parts, facts)


def _json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, allow_nan=False, sort_keys=True)


def _facts(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise ReplyRefused(f"{len(data)} bytes that are no message: the header is missing, cut or too long")
    try:
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
        text = metadata.get(FACTS, "{}")
        facts = json.loads(text, parse_constant=_no_number) if len(text) <= MAX_FACTS_BYTES else None
    except (ValueError, RecursionError, AttributeError, TypeError) as fault:
        raise ReplyRefused(f"its header or facts are no valid JSON ({str(fault)[:80]})") from None
    if not isinstance(facts, dict):
        raise ReplyRefused(f"its facts must be a JSON object of at most {MAX_FACTS_BYTES:,} bytes")
    return facts


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")
