"""Whisper networks as CTranslate2 keeps them (`model.bin`): read by hand, bounded, into a network of ours."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import TeacherError
from ..files import open_regular
from ..models.recogniser import HEAD, Recogniser

MAX_BYTES = 16 * 2**30
MAX_VARIABLES, MAX_NAME, MAX_RANK = 20_000, 1_000, 6
TYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}
"""Code -> type of the numbers; bfloat16, code 5, has none in numpy."""
BFLOAT16 = 5
SPEC = "WhisperSpec"
ATTENTION = {"linear_0": "parts", "linear_1": "out"}
BLOCK = {
    "self_attention/layer_norm": "norm1", "ffn/layer_norm": "norm2", "ffn/linear_0": "wide", "ffn/linear_1": "narrow",
}  # fmt: skip
CROSS = {"linear_0": "query", "linear_1": "memory", "linear_2": "out"}


@dataclass(frozen=True)
class Variables:
    """spec: what the file says it is. tensors: name -> values, float32 where they are weights."""

    spec: str
    tensors: dict[str, Tensor]


class _Reader:
    """A file that is read from its start; nothing is believed that does not fit into it."""

    def __init__(self, content: memoryview, where: Path) -> None:
        self.content, self.where, self.place = content, where, 0

    def take(self, count: int) -> memoryview:
        if count > len(self.content) - self.place:
            raise TeacherError(f"{self.where}: is cut off, or no model of CTranslate2")
        self.place += count
        return self.content[self.place - count : self.place]

    def number(self, form: str) -> int:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def text(self) -> str:
        length = self.number("H")
        if length > MAX_NAME:
            raise TeacherError(f"{self.where}: a name of {length:,} letters; is it a model of CTranslate2?")
        return bytes(self.take(length)).rstrip(b"\0").decode("ascii", "replace")


def read_variables(path: Path) -> Variables:
    """Everything in a model.bin of version 4 to 6. Raises TeacherError for what is none, is cut or is too large."""
    try:
        with open_regular(path, MAX_BYTES) as file:
            content = memoryview(file.read())
    except OSError as fault:
        raise TeacherError(f"{path}: cannot be read ({fault})") from None
    reader = _Reader(content, path)
    if not 4 <= (version := reader.number("I")) <= 6:
        raise TeacherError(f"{path}: version {version:,} of CTranslate2's files; 4 to 6 are read")
    spec, _ = reader.text(), reader.number("I")
    count = reader.number("I")
    if count > MAX_VARIABLES:
        raise TeacherError(f"{path}: claims {count:,} variables; at most {MAX_VARIABLES:,} are read")
    tensors: dict[str, Tensor] = {}
    for _ in range(count):
        name, rank = reader.text(), reader.number("B")
        if rank > MAX_RANK:
            raise TeacherError(f"{path}: '{name[:80]}' claims {rank} dimensions")
        shape = [reader.number("I") for _ in range(rank)]
        code, size = reader.number("B"), reader.number("I")
        tensors[name] = _tensor(reader.take(size), shape, code, f"{path}: '{name[:80]}'")
    for _ in range(min(reader.number("I"), MAX_VARIABLES)):
        alias, name = reader.text(), reader.text()
        if name in tensors:
            tensors[alias] = tensors[name]
    return Variables(spec, _without_scales(tensors, path))


def _tensor(data: memoryview, shape: list[int], code: int, where: str) -> Tensor:
    width = 2 if code == BFLOAT16 else np.dtype(TYPES[code]).itemsize if code in TYPES else 0
    if not width or math.prod(shape) * width != len(data):
        raise TeacherError(f"{where}: {len(data):,} bytes of type {code} are not of the shape {shape}")
    if code == BFLOAT16:
        bits = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return torch.from_numpy(bits.view(np.float32).reshape(shape))
    values = np.frombuffer(data, TYPES[code]).reshape(shape)
    return torch.from_numpy(values.astype(np.float32) if code == 4 else values.copy())


def _without_scales(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Weights of 8 bits with a scale for each row, multiplied out."""
    plain = {}
    for name, value in tensors.items():
        scale = tensors.get(f"{name}_scale")
        if scale is not None and value.dtype in (torch.int8, torch.int16):
            if scale.numel() not in (1, len(value)):
                raise TeacherError(f"{path}: '{name[:80]}' has {scale.numel()} scales for {len(value)} rows")
            value = value.float() / scale.float().reshape(-1, *(1,) * (value.ndim - 1))
        plain[name] = value
    return plain


def recogniser_of(path: Path, length: int) -> Recogniser:
    """The Whisper network of a model.bin, in eval mode, that says `length` tokens at most. Raises TeacherError for
    another network, or one that lacks a part."""
    read = read_variables(path)
    if read.spec != SPEC:
        raise TeacherError(f"{path}: is a '{read.spec[:80]}' of CTranslate2; a recogniser is a {SPEC}")
    tensors = read.tensors
    try:
        width, mels = tensors["encoder/conv1/weight"].shape[:2]
        vocabulary = len(tensors["decoder/embeddings/weight"])
        positions = len(tensors["decoder/position_encodings/encodings"])
        frames = 2 * len(tensors["encoder/position_encodings/encodings"])
    except (KeyError, ValueError, TypeError):
        raise TeacherError(f"{path}: lacks the tables of a Whisper network") from None
    layers = [_layers(tensors, side) for side in ("encoder", "decoder")]
    if int(tensors.get("encoder/num_heads", torch.tensor(width // HEAD))) * HEAD != width:
        raise TeacherError(f"{path}: its attention heads are not {HEAD} wide, as Whisper's are")
    try:
        state = renamed(tensors, *layers)
    except KeyError as fault:
        raise TeacherError(f"{path}: is no whole Whisper network (no {str(fault)[:100]})") from None
    return built((mels, frames, vocabulary, length, positions, width, *layers), state, path)


def built(sizes: tuple[int, ...], state: dict[str, Tensor], path: Path) -> Recogniser:
    """A network of these sizes, as Recogniser takes them, that holds the tensors of `state`. Raises TeacherError."""
    if not 1 <= sizes[3] < sizes[4]:
        raise TeacherError(f"{path}: texts of {sizes[3]} tokens; this network reaches to {sizes[4] - 1}")
    with torch.device("meta"):
        module = Recogniser(*sizes)
    positions = state.pop("encoder.positions")
    if positions.shape != module.encoder.positions.shape:  # type: ignore[union-attr]
        raise TeacherError(f"{path}: is no whole Whisper network (places of its encoder: {list(positions.shape)})")
    module.encoder.positions = positions
    parameters = dict(module.named_parameters())
    weights = {name: nn.Parameter(value) if name in parameters else value for name, value in state.items()}
    try:
        module.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as fault:
        raise TeacherError(f"{path}: is no whole Whisper network ({str(fault)[:300]})") from None
    return module.eval()


def _layers(tensors: dict[str, Tensor], side: str) -> int:
    return len({name.split("/")[1] for name in tensors if name.startswith(f"{side}/layer_")
                and not name.startswith(f"{side}/layer_norm")})  # fmt: skip


def renamed(tensors: dict[str, Tensor], layers: int, decoder_layers: int) -> dict[str, Tensor]:
    """CTranslate2's names -> ours. Raises KeyError where a part is missing."""
    state = {
        "encoder.positions": tensors["encoder/position_encodings/encodings"],
        "decoder.positions": tensors["decoder/position_encodings/encodings"],
        "decoder.embedding.weight": tensors["decoder/embeddings/weight"],
    }
    pairs = [(f"encoder/conv{n}", f"encoder.conv{n}") for n in (1, 2)]
    pairs += [(f"{side}/layer_norm", f"{side}.norm") for side in ("encoder", "decoder")]
    for side, many in (("encoder", layers), ("decoder", decoder_layers)):
        for place in range(many):
            theirs, ours = f"{side}/layer_{place}", f"{side}.blocks.{place}"
            pairs += [(f"{theirs}/{a}", f"{ours}.{b}") for a, b in BLOCK.items()]
            pairs += [(f"{theirs}/self_attention/{a}", f"{ours}.attention.{b}") for a, b in ATTENTION.items()]
            if side == "decoder":
                pairs += [(f"{theirs}/attention/layer_norm", f"{ours}.norm_cross")]
                pairs += [(f"{theirs}/attention/{a}", f"{ours}.cross.{b}") for a, b in CROSS.items()]
    for theirs, ours in pairs:
        norm = theirs.endswith("layer_norm")
        for name, own in (("gamma" if norm else "weight", "weight"), ("beta" if norm else "bias", "bias")):
            state[f"{ours}.{own}"] = tensors[f"{theirs}/{name}"]
    return state
