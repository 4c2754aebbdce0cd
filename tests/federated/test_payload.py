"""What travels comes back bit for bit, and nothing else gets in."""

from __future__ import annotations

import io
import json
import pickle
import struct

import pytest
import torch
from tiny import same_bits

from sansdata.errors import ReplyRefused
from sansdata.federated.payload import Payload


def example() -> Payload:
    wide = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    parts = {
        "model": {"a.weight": wide, "n": torch.tensor(7)},
        "labels": {"counts": torch.arange(4, dtype=torch.int32)},
    }
    return Payload(parts, {"round": 3, "names": ["x", None], "rate": 0.5})


def test_bytes_and_back():
    sent = example()
    found = Payload.from_bytes(sent.to_bytes())
    assert found.facts == sent.facts
    assert found.parts.keys() == sent.parts.keys()
    for part, tensors in sent.parts.items():
        assert all(same_bits(value, found.parts[part][name]) for name, value in tensors.items())


def test_bytes_are_counted_by_part():
    counted = example().nbytes()
    assert counted == {"model": 2 * 3 * 4 * 5 * 4 + 8, "labels": 16, "facts": len(json.dumps(example().facts))}


def test_a_message_without_tensors():
    assert Payload.from_bytes(Payload(facts={"round": 0}).to_bytes()) == Payload(facts={"round": 0})


def header(tree: object) -> bytes:
    text = json.dumps(tree).encode()
    return struct.pack("<Q", len(text)) + text


def pickled() -> bytes:
    buffer = io.BytesIO()
    torch.save(torch.nn.Linear(2, 2), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234567",
        pickle.dumps({"model": 1}),
        pickled(),
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        struct.pack("<Q", 5) + b"[1,2]",
        struct.pack("<Q", 4) + b"\xff\xfe{}",
        header({"model/a": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 4000]}}),
        header({"model/a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}) + b"1234",
        header({"model/a": {"dtype": "P99", "shape": [1], "data_offsets": [0, 4]}}) + b"1234",
        header({"plain": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}) + b"1234",
        header({"__metadata__": {"facts": "[1]"}}),
        header({"__metadata__": {"facts": "{"}}),
        header({"__metadata__": {"facts": '{"round": NaN}'}}),
        header({"__metadata__": {"facts": "[" * 5000}}),
        header({"__metadata__": {"facts": json.dumps({"x": "y" * 70_000})}}),
        header({"__metadata__": 3}),
        header({"__metadata__": {"facts": '{"round": 1e999}'}}),
        header({"__metadata__": {"facts": '{"round": 1' + "0" * 400 + "}"}}),
        header({"__metadata__": {"facts": '{"round": {"a": 1}}'}}),
        header({"__metadata__": {"facts": '{"round": [[1]]}'}}),
        header({"__metadata__": {"facts": '{"\\ud800": 1}'}}),
        struct.pack("<Q", 200_000) + b"[" * 200_000,
    ],
    ids=range(24),
)
def test_anything_else_is_refused(data):
    with pytest.raises(ReplyRefused):
        Payload.from_bytes(data)


def test_a_part_without_a_slash():
    with pytest.raises(ValueError, match="must not hold"):
        Payload({"a/b": {"x": torch.zeros(1)}}).to_bytes()
