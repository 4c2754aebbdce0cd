"""Text classifiers of the library `transformers`, from a local folder: config.json, model.safetensors, and a
tokenizer.json where the network has a vocabulary of its own. Nothing is fetched, and no code of the folder runs."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import MissingLibraryError, TeacherError, UnsafeFileError
from ..files import sha256
from ..tasks import Task, TokensSpec
from .base import Teacher, plain_copy

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
NAMES = ("input_ids", "attention_mask")
MAX_CONFIG_BYTES = 4_000_000
LONGEST = 512
"""Tokens that a network is given of a text where its own config names no limit."""


def is_transformer(path: Path) -> bool:
    """Whether a path is a folder of this kind."""
    return path.is_dir() and (path / CONFIG).is_file() and not (path / "run.json").is_file()


def transformer_files(folder: Path) -> list[Path]:
    """The files that reading such a folder opens."""
    return [folder / name for name in (CONFIG, WEIGHTS, TOKENIZER)]


def load_transformer(folder: Path, task: Task) -> Teacher:
    """Any AutoModelForSequenceClassification. Where the folder's tokenizer is not the task's, its door puts the ids of
    the task into words and reads these anew.

    Raises TeacherError for other jobs and missing files, UnsafeFileError where only pickled weights or remote code are
    there, MissingLibraryError without the library.
    """
    if task.pair != ("tokens", "classes"):
        raise TeacherError(f"{folder}: a text classifier, and this is a task of {' x '.join(task.pair)}")
    config = _config(folder)
    if config.get("auto_map"):
        raise UnsafeFileError(f"{folder}: its network is made by code of the folder (auto_map), which is not run")
    if not (folder / WEIGHTS).is_file():
        raise UnsafeFileError(
            f"{folder}: has no {WEIGHTS}. Pickled weights are not read; write them anew with "
            "model.save_pretrained(folder, safe_serialization=True)"
        )
    try:
        library = import_module("transformers")
    except ImportError as fault:
        raise MissingLibraryError(f"{folder}: needs transformers ({fault}): pip install 'sansdata[text]'") from None
    try:
        module: nn.Module = library.AutoModelForSequenceClassification.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except Exception as fault:  # an architecture without such a head, weights that do not fit, a broken file
        raise TeacherError(f"{folder}: cannot be read as a text classifier ({str(fault)[:300]})") from None
    labels = int(getattr(module.config, "num_labels", 0))
    if labels != task.classes:
        raise TeacherError(f"{folder}: gives {labels} classes and the task has {task.classes}")
    order = _order(module.config, task)
    wrapped = plain_copy(module if order is None else Reordered(module, order))
    own = task.seen_through(_door(folder, module.config, task.inputs))
    return Teacher(wrapped, own, None, str(folder), sha256(folder / WEIGHTS))


class Reordered(nn.Module):
    """A classifier whose classes are put into the order of the task."""

    def __init__(self, module: nn.Module, order: list[int]) -> None:
        super().__init__()
        self.module, self.order = module, order

    def forward(self, **columns: Tensor) -> Tensor:
        return self.module(**columns).logits[:, self.order]


def _config(folder: Path) -> dict[str, Any]:
    try:
        with open(folder / CONFIG, "rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
        config = json.loads(data) if len(data) <= MAX_CONFIG_BYTES else None
    except (OSError, ValueError, RecursionError) as fault:
        raise TeacherError(f"{folder / CONFIG}: cannot be read ({str(fault)[:200]})") from None
    if not isinstance(config, dict):
        raise TeacherError(f"{folder / CONFIG}: is no JSON object of a sensible size")
    return config


def _order(config: Any, task: Task) -> list[int] | None:
    """Places of the task's classes among the network's, where both name them alike; None leaves them as they are."""
    theirs = {str(name).lower(): int(place) for place, name in (getattr(config, "id2label", None) or {}).items()}
    ours = [name.lower() for name in task.class_names]
    if not ours or sorted(ours) != sorted(theirs):
        return None
    order = [theirs[name] for name in ours]
    return None if order == sorted(order) else order


def _door(folder: Path, config: Any, spec: TokensSpec) -> dict[str, Any]:
    """Its preprocessing as a task describes it."""
    theirs, ours = folder / TOKENIZER, Path(spec.tokenizer)
    same = not theirs.is_file() or (spec.tokenizer and ours.is_file() and sha256(theirs) == sha256(ours))
    if same:
        if int(config.vocab_size) < spec.vocabulary:
            raise TeacherError(
                f"{folder}: knows {config.vocab_size} ids and the task has {spec.vocabulary}; put its tokenizer.json "
                "into the folder, so that texts can be read anew"
            )
        return {"names": list(NAMES)}
    reach = getattr(config, "max_position_embeddings", LONGEST) or LONGEST
    padding = getattr(config, "pad_token_id", 0)
    # Networks of RoBERTa's kind count positions from the padding id on, so that the last two cannot be used.
    length = min(int(reach) - 2, LONGEST) if int(reach) > 4 else int(reach)
    return {
        "door": "retokenise", "tokenizer": str(theirs), "length": length, "padding": padding or 0, "names": list(NAMES),
    }  # fmt: skip
