"""Models in a local folder, as hubs have them: config.json and model.safetensors, whole or in shards. Nothing is
fetched, no code of the folder runs, and no name in it leads outside."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from ..errors import TeacherError, UnsafeFileError
from ..files import sha256
from ..models.limits import MAX_TENSORS
from ..models.tensor_file import read_metadata

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
PROCESSOR = "preprocessor_config.json"
PICKLED = "pytorch_model.bin"
MAX_CONFIG_BYTES = 4_000_000


def is_folder(path: Path) -> bool:
    """Whether a path is a folder of this kind."""
    return os.path.isfile(path / CONFIG) and not os.path.isfile(path / "run.json")


def is_timm_folder(path: Path) -> bool:
    """Whether its config is timm's."""
    return is_folder(path) and "architecture" in read_json(path / CONFIG)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a sensible size. Raises TeacherError for anything else."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
        fields = json.loads(data) if len(data) <= MAX_CONFIG_BYTES else None
    except (OSError, ValueError, RecursionError) as fault:
        raise TeacherError(f"{path}: cannot be read ({str(fault)[:200]})") from None
    if not isinstance(fields, dict):
        raise TeacherError(f"{path}: is no JSON object of a sensible size")
    return fields


def weight_files(folder: Path) -> list[Path]:
    """The file of the weights, or its shards, each judged by its header. Raises UnsafeFileError where there are only
    pickled weights, or a shard lies outside the folder; TeacherError for a file that is missing or cut."""
    files = [folder / WEIGHTS]
    if not files[0].is_file() and (folder / INDEX).is_file():
        files = _shards(folder)
    if not files[0].is_file():
        pickled = sorted(folder.glob("*.bin"))[:1] or [folder / PICKLED]
        raise UnsafeFileError(
            f"{folder}: has no {WEIGHTS}. Pickled weights are not read there; write them anew: "
            f"sansdata convert {pickled[0]} --out {files[0]}"
        )
    for file in files:
        read_metadata(file)
    return files


def _shards(folder: Path) -> list[Path]:
    parts = read_json(folder / INDEX).get("weight_map")
    if not isinstance(parts, dict) or not parts or len(parts) > MAX_TENSORS:
        raise TeacherError(f"{folder / INDEX}: needs a 'weight_map', names of weights with their files")
    names = sorted({str(name) for name in parts.values()})
    for name in names:
        if name != Path(name).name or "\\" in name or not name.endswith(".safetensors"):
            raise UnsafeFileError(f"{folder / INDEX}: the shard {name[:80]!r} is no safetensors file of the folder")
        if not (folder / name).is_file():
            raise TeacherError(f"{folder / name}: the shard is missing; copy the whole folder again")
    return [folder / name for name in names]


def fingerprint(files: list[Path]) -> str:
    """SHA-256 of the file, or over those of its shards."""
    sums = [sha256(file) for file in files]
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()
