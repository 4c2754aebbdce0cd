"""Files as they are and as nobody wrote them: seeds of every format that is read, and what hypothesis does to them."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from safetensors.torch import save
from tiny import make_student, make_task, zoo

from sansdata.compress.grids import snap
from sansdata.models.saved import write_model

NUMBERS = (0, 1, -1, 2, 255, 65_535, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 10**30)
WORDS = (
    "",
    "a",
    "\0",
    "\ud800",
    "../x",
    "os:system",
    "!!timestamp 1",
    "x" * 3000,
    "é",
    "1e999",
    "NaN",
    "factory",
    "shrink",
)


def edits() -> st.SearchStrategy[list[tuple[str, float, bytes]]]:
    """(what, where as a share of the file, with which bytes), up to three of them."""
    what = st.sampled_from(("flip", "set", "insert", "delete", "double", "cut", "number"))
    content = st.one_of(
        st.binary(min_size=1, max_size=12),
        st.sampled_from([struct.pack("<Q", n % 2**64) for n in NUMBERS]),
        st.sampled_from([struct.pack("<I", n % 2**32) for n in NUMBERS]),
        st.sampled_from([word.encode(errors="surrogatepass")[:60] for word in WORDS if word]),
    )
    return st.lists(st.tuples(what, st.floats(0, 1), content), min_size=1, max_size=3)


def edited(raw: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    data = bytearray(raw)
    for what, where, content in changes:
        at = min(int(where * len(data)), max(len(data) - 1, 0))
        match what:
            case "flip" if data:
                data[at] ^= 1 << (content[0] % 8)
            case "set" | "number":
                data[at : at + len(content)] = content
            case "insert":
                data[at:at] = content
            case "delete":
                del data[at : at + content[0] + 1]
            case "double":
                data[at:at] = data[at : at + 16 * content[0]]
            case "cut" if content[0] < 64:
                del data[at:]
    return bytes(data)


def trees() -> st.SearchStrategy[Any]:
    """JSON of any shape, with the numbers and words that break things."""
    leaves = st.one_of(
        st.none(), st.booleans(), st.sampled_from(NUMBERS), st.floats(), st.sampled_from(WORDS), st.text(max_size=6)
    )
    names = st.sampled_from(WORDS) | st.text(max_size=6)

    def branches(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4)

    return st.recursive(leaves, branches, max_leaves=8)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value of a JSON tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


def put(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of the tree with another value there."""
    if not path:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = put(tree[path[0]], path[1:], value)
    return copy


def changed_trees(tree: Any) -> st.SearchStrategy[Any]:
    """A JSON tree with up to three of its values replaced."""
    ways = places(tree)[1:]

    def apply(changes: list[tuple[tuple[Any, ...], Any]]) -> Any:
        new = tree
        for path, value in changes:
            try:
                new = put(new, path, value)
            except (KeyError, IndexError, TypeError):  # an earlier change took that place away
                continue
        return new

    return st.lists(st.tuples(st.sampled_from(ways), trees()), min_size=1, max_size=3).map(apply)


def changed_parts(raw: bytes) -> st.SearchStrategy[bytes]:
    """A zip archive that is whole, and one of whose parts is not: its edits get past the archive's check sums."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        parts = {entry.filename: (archive.read(entry), entry.compress_type) for entry in archive.infolist()}

    def packed(name: str, content: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for part, (old, compression) in parts.items():
                archive.writestr(part, content if part == name else old, compression)
        return out.getvalue()

    def change(name: str) -> st.SearchStrategy[bytes]:
        old = parts[name][0]
        changed = st.builds(edited, st.just(old), edits())
        if name.endswith(".json"):
            changed |= changed_trees(json.loads(old)).map(lambda tree: json.dumps(tree).encode())
        return changed.map(lambda content: packed(name, content))

    mostly = [name for name in parts if name.endswith((".pkl", ".npy", ".json"))]
    return st.sampled_from([*parts, *mostly * len(parts)]).flatmap(change)


def changed_header(raw: bytes) -> st.SearchStrategy[bytes]:
    """A safetensors file whose header says something else, in as many bytes as it says."""
    length = struct.unpack("<Q", raw[:8])[0]

    def packed(header: Any) -> bytes:
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + raw[8 + length :]

    return changed_trees(json.loads(raw[8 : 8 + length])).map(packed)


# -- seeds


def student(folder: Path) -> bytes:
    write_model(folder / "seed.safetensors", make_student(), zoo(scale=0.25), make_task(), {"seed": 3})
    return (folder / "seed.safetensors").read_bytes()


def packed_student(folder: Path) -> bytes:
    """Its weights as codes of 2 bits, and of one layer only those that are not 0."""
    module = make_student()
    codes = {"layer1.0.conv1.weight": 2, "layer2.0.conv1.weight": 4, "layer3.0.conv1.weight": 32}
    for name, bits in codes.items():
        weight = module.get_parameter(name).data
        weight.copy_(weight * (weight > 0.1) if bits == 32 else snap(weight, bits).values)
    path = folder / "packed.safetensors"
    write_model(path, module, zoo(scale=0.25), make_task(), {"seed": 3}, codes)
    return path.read_bytes()


def student_with(raw: bytes, description: Any) -> bytes:
    """A student's file that describes itself in another way."""
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    header["__metadata__"] = {"sansdata": json.dumps(description)}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + raw[8 + length :]


def description_of(raw: bytes) -> Any:
    length = struct.unpack("<Q", raw[:8])[0]
    return json.loads(json.loads(raw[8 : 8 + length])["__metadata__"]["sansdata"])


def derived(description: Any) -> list[Any]:
    """Descriptions of every kind of architecture that a file may hold."""
    of, size = description["architecture"], {"shape": [1, 8, 8], "classes": 4}
    kinds = [
        of,
        {"kind": "shrink", "ratio": 0.5, "of": of, **size},
        {"kind": "quantized", "weights": 4, "inputs": 4, "of": of, **size},
        {"kind": "group-norm", "of": of},
        {"kind": "quant-relu", "bits": 4, "places": 7, "of": of},
        {"kind": "shared-classifier", "of": of, "stage": "layer3", "head": "linear", "classes": 4, "width": 16,
         "features": 64, "factor": 2, "rectified": True, "pooled": [1, 1]},
        {"kind": "timm", "name": "resnet18", "args": {"channels": 1, "classes": 4, "size": [8, 8]}},
        {"kind": "factory", "name": "os:getcwd", "args": {}},
    ]  # fmt: skip
    return [{**description, "architecture": one} for one in kinds]


def torch_file(legacy: bool) -> bytes:
    out = io.BytesIO()
    value = {
        "state_dict": make_student().state_dict(),
        "epoch": 3,
        "best": np.float64(0.5),
        "names": ["a", {"b": (1, 2)}],
    }
    torch.save(value, out, _use_new_zipfile_serialization=not legacy)
    return out.getvalue()


def plain_safetensors() -> bytes:
    return save({"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}, {"note": "x"})


def npz(compressed: bool) -> bytes:
    out = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(
        out, x=np.arange(6 * 64, dtype=np.uint8).reshape(6, 8, 8), y=np.arange(6) % 4
    )
    return out.getvalue()


IMAGES = {
    "kind": "image",
    "shape": [1, 8, 8],
    "classes": 3,
    "mean": [0.5],
    "std": [0.25],
    "class_names": ["a", "b", "c"],
}
SETTINGS = {
    "teacher": "resnet8@w.pt", "task": IMAGES, "student": "shrink:0.5", "method": "fm", "budget": "10steps", "seed": 3,
    "helpers": ["resnet8@x.pt"], "options": {"k": 5, "transfer": {"lr": 0.1}}, "engine": {"images": 3},
    "retain": {"share": 0.5},
}  # fmt: skip
COLUMNS = [{"name": "n", "range": [0, 1]}, {"name": "c", "levels": ["x", "y"]}]
TASKS = (
    IMAGES,
    {"kind": "table-classification", "classes": 2, "columns": COLUMNS},
    {"kind": "text-classification", "classes": 2, "vocabulary": 10, "length": 8},
    {"inputs": {"kind": "image", "shape": [1, 8, 8]}, "outputs": {"kind": "classes", "classes": 2}},
)  # fmt: skip
ADDED = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
TOKENIZER = {
    "version": "1.0", "added_tokens": [{"id": 4, "content": "[X]", **ADDED}],
    "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"[PAD]": 0, "[UNK]": 1, "a": 2, "b": 3}, "unk_token": "[UNK]"},
}  # fmt: skip
