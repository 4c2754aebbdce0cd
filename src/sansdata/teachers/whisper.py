"""Whisper as a teacher, from a local folder: of CTranslate2 (model.bin) or of the library `transformers`
(model.safetensors). Both are read by hand into one network of ours; nothing is fetched, and no code of the folder runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import TeacherError
from ..files import sha256
from ..models.recogniser import HEAD, Recogniser
from ..tasks import Task
from . import folder as folders
from .base import Teacher, freeze
from .ctranslate2_file import built, recogniser_of
from .folder import CONFIG, WEIGHTS
from .weights import read_weights

BINARY = "model.bin"
GENERATION = "generation_config.json"
"""Where newer folders of the library say which tokens are not said; in older ones and CTranslate2's, config.json does.
"""
CLASS = "WhisperForConditionalGeneration"
RATE, SECONDS = 16_000, 30
DOOR = {"window": 400, "hop": 160, "scale": "whisper"}
"""How it hears (Radford et al. 2022, section 2.2); the number of bands is the network's own."""
OURS = {
    "self_attn_layer_norm": "norm1", "final_layer_norm": "norm2", "fc1": "wide", "fc2": "narrow",
    "self_attn.out_proj": "attention.out", "encoder_attn_layer_norm": "norm_cross",
    "encoder_attn.q_proj": "cross.query", "encoder_attn.out_proj": "cross.out",
}  # fmt: skip
"""Parts of a layer: the library's names -> ours. Queries, keys and values lie side by side in ours."""


def is_whisper(path: Path) -> bool:
    """Whether a path is a folder of such a network."""
    if not folders.is_folder(path):
        return False
    if (path / BINARY).is_file() and not (path / WEIGHTS).is_file():
        return True
    named = folders.read_json(path / CONFIG).get("architectures")
    return isinstance(named, list) and CLASS in named


def whisper_files(folder: Path) -> list[Path]:
    """The files that reading such a folder opens."""
    return [folder / name for name in (CONFIG, GENERATION, BINARY, WEIGHTS)]


def load_whisper(folder: Path, task: Task) -> Teacher:
    """Raises TeacherError for another job, another rate, or files that do not fit."""
    if task.pair != ("waveform", "transcript"):
        raise TeacherError(f"{folder}: a recogniser of speech, and this is a task of {' x '.join(task.pair)}")
    inputs, outputs = task.inputs, task.outputs
    if inputs.rate != RATE or inputs.length > RATE * SECONDS:
        raise TeacherError(
            f"{folder}: hears {RATE:,} samples a second for {SECONDS} s at most; the task has {inputs.rate:,} for "
            f"{inputs.seconds:g} s"
        )
    config, binary = folders.read_json(folder / CONFIG), folder / BINARY
    if (folder / WEIGHTS).is_file():
        file, module = folder / WEIGHTS, of_library(folder, config, outputs.length)
    else:
        file, module = binary, recogniser_of(binary, outputs.length)
    known = module.decoder.embedding.num_embeddings
    if known != outputs.vocabulary:
        raise TeacherError(
            f"{folder}: says {known:,} different tokens and the task has {outputs.vocabulary:,}; give "
            "outputs.tokenizer the tokenizer.json that belongs to it"
        )
    if len(outputs.prompt) + outputs.length > len(module.decoder.positions):
        raise TeacherError(f"{folder}: texts of {outputs.length} tokens behind a prompt of {len(outputs.prompt)}; it "
                           f"reaches to {len(module.decoder.positions)}")  # fmt: skip
    says = config | (folders.read_json(folder / GENERATION) if (folder / GENERATION).is_file() else {})
    module.bar(_ids(says, "suppress_ids", "suppress_tokens"), _ids(says, "suppress_ids_begin", "begin_suppress_tokens"))
    mels = module.encoder.conv1.in_channels
    own = task.seen_through({**task.own_preprocessing, **DOOR, "mels": mels})
    notes = []
    if inputs.length < RATE * SECONDS:
        notes.append(
            f"{folder}: hears {inputs.seconds:g} s; Whisper was trained on {SECONDS} s, shorter sounds filled up, "
            "and is less sure of less"
        )
    return Teacher(freeze(module), own, architecture_of(module), str(folder), sha256(file), notes=notes)


def architecture_of(module: Recogniser) -> dict[str, Any]:
    """How to build the same network again."""
    encoder, decoder = module.encoder, module.decoder
    sizes = {
        "mels": encoder.conv1.in_channels, "frames": 2 * len(encoder.positions),  # type: ignore[arg-type]
        "vocabulary": decoder.embedding.num_embeddings, "length": module.length, "positions": len(decoder.positions),
        "width": encoder.conv1.out_channels, "layers": len(encoder.blocks), "decoder_layers": len(decoder.blocks),
    }  # fmt: skip
    return {"kind": "zoo", "name": "recogniser", "args": sizes}


def _ids(config: Mapping[str, Any], *names: str) -> list[int]:
    """Ids that it never says, or never first."""
    for name in names:
        value = config.get(name)
        if isinstance(value, list):
            return [one for one in value[:10_000] if type(one) is int and one >= 0]
    return []


def of_library(folder: Path, config: Mapping[str, Any], length: int) -> Recogniser:
    """The network of a folder of transformers. Raises TeacherError."""
    sizes = [config.get(name) for name in ("num_mel_bins", "max_source_positions", "vocab_size", "max_target_positions",
                                           "d_model", "encoder_layers", "decoder_layers")]  # fmt: skip
    if not all(isinstance(size, int) and 0 < size <= 1_000_000 for size in sizes):
        raise TeacherError(f"{folder / CONFIG}: lacks the sizes of a Whisper network")
    mels, states, vocabulary, positions, width, layers, decoder_layers = (int(size) for size in sizes)  # type: ignore[arg-type]
    if width % HEAD or config.get("encoder_attention_heads") != width // HEAD:
        raise TeacherError(f"{folder}: its attention heads are not {HEAD} wide, as Whisper's are")
    tensors = read_weights(folder / WEIGHTS)[""]
    try:
        state = renamed(tensors, layers, decoder_layers)
    except KeyError as fault:
        raise TeacherError(f"{folder / WEIGHTS}: is no whole Whisper network (no {str(fault)[:100]})") from None
    sizes_of = (mels, 2 * states, vocabulary, length, positions, width, layers, decoder_layers)
    return built(sizes_of, state, folder / WEIGHTS)


def renamed(tensors: Mapping[str, Tensor], layers: int, decoder_layers: int) -> dict[str, Tensor]:
    """The library's names -> ours. Raises KeyError where a part is missing."""
    plain = {name.removeprefix("model."): value.float() for name, value in tensors.items()}
    state = {
        "encoder.positions": plain["encoder.embed_positions.weight"],
        "decoder.positions": plain["decoder.embed_positions.weight"],
        "decoder.embedding.weight": plain["decoder.embed_tokens.weight"],
    }

    def copy(theirs: str, ours: str) -> None:
        state.update({f"{ours}.{one}": plain[f"{theirs}.{one}"] for one in ("weight", "bias")})

    for number in (1, 2):
        copy(f"encoder.conv{number}", f"encoder.conv{number}")
    for side, many in (("encoder", layers), ("decoder", decoder_layers)):
        copy(f"{side}.layer_norm", f"{side}.norm")
        for place in range(many):
            theirs, ours = f"{side}.layers.{place}", f"{side}.blocks.{place}"
            for part, own in OURS.items():
                if side == "decoder" or not part.startswith("encoder_attn"):
                    copy(f"{theirs}.{part}", f"{ours}.{own}")
            several = {"attention.parts": ("self_attn", "qkv")}
            if side == "decoder":
                several["cross.memory"] = ("encoder_attn", "kv")
            for own, (part, letters) in several.items():
                names = [f"{theirs}.{part}.{letter}_proj" for letter in letters]
                state[f"{ours}.{own}.weight"] = torch.cat([plain[f"{name}.weight"] for name in names])
                nothing = torch.zeros_like(plain[f"{names[-1]}.bias"])  # keys have no bias
                state[f"{ours}.{own}.bias"] = torch.cat([plain.get(f"{name}.bias", nothing) for name in names])
    return state
