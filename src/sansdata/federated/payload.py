"""What travels between server and clients: named parts of named tensors, and a few plain facts. Never a pickle."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import safetensors.torch
from torch import Tensor

from ..errors import ReplyRefused, first_line

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
        return counted | {FACTS: len(facts_text(self.facts))}

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
        return safetensors.torch.save(flat, {FACTS: facts_text(self.facts)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Payload:
        """The inverse. Raises ReplyRefused for anything that `to_bytes` could not have written."""
        with decoding(f"{len(data):,} bytes that are no message"):
            length = int.from_bytes(data[:8], "little")
            if len(data) < 8 or length > min(MAX_HEADER_BYTES, len(data) - 8):
                raise ValueError("the header is missing, cut or too long")
            metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
            facts = read_facts(metadata.get(FACTS, "{}"))
            parts: dict[str, dict[str, Tensor]] = {}
            for key, value in safetensors.torch.load(data).items():
                part, slash, name = key.partition("/")
                if not slash:
                    raise ValueError(f"tensor '{key[:60]}' belongs to no part; names are part/name")
                parts.setdefault(part, {})[name] = value
            return cls(parts, facts)


@contextlib.contextmanager
def decoding(what: str) -> Iterator[None]:
    """The boundary around foreign bytes: whatever a decoder makes of them inside is a refusal, by `what` and why."""
    try:
        yield
    except Exception as fault:
        raise ReplyRefused(f"{what} ({first_line(fault)[:200]})") from None


def facts_text(facts: Mapping[str, Any]) -> str:
    """Facts as they travel. Raises ValueError for what is no plain JSON."""
    return json.dumps(facts, allow_nan=False, sort_keys=True)


def read_facts(text: str) -> dict[str, Any]:
    """The inverse of `facts_text`. Raises ValueError (RecursionError for deep ones) unless it is an object of numbers,
    words, yes and no, nothing, and lists of these, which can be written again."""
    if len(text) > MAX_FACTS_BYTES:
        raise ValueError(f"its facts are longer than {MAX_FACTS_BYTES:,} bytes")
    facts = json.loads(text)
    if not isinstance(facts, dict):
        raise ValueError("its facts must be a JSON object")
    for name, value in facts.items():
        for one in value if isinstance(value, list) else (value,):
            if not _is_plain(one):
                raise ValueError(f"fact '{name[:40]}' holds {str(one)[:40]}, which is no finite number and no word")
        name.encode()  # a lone surrogate would stop whoever writes it to a log
    return facts


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return value.isprintable()
    if isinstance(value, (int, float)):
        return abs(value) < 2**63  # nan and infinity are not
    return value is None
