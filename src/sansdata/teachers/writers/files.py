"""Writers of ours as one safetensors file: its metadata say which sort it is, its tensors hold the words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from ...errors import TeacherError
from ...files import write_atomic
from ...models.tensor_file import has_key, read_safetensors
from . import asking, cached_ngram, continuing, ngram
from .asking import AskingNGrams
from .base import Writer
from .cached_ngram import CachedNGrams
from .continuing import ContinuingNGrams
from .ngram import NGrams

KEY = "sansdata.writer"
WORDS = "words"
"""The words as UTF-8, each behind a line feed."""
WRITERS: dict[str, Any] = {
    ngram.KIND: NGrams,
    cached_ngram.KIND: CachedNGrams,
    asking.KIND: AskingNGrams,
    continuing.KIND: ContinuingNGrams,
}


def is_writer_file(path: Path) -> bool:
    """Whether a path is such a file; nothing is judged yet."""
    return has_key(path, KEY)


def save_writer(
    path: Path, kind: str, classes: Sequence[str], words: Sequence[str], tensors: dict[str, Tensor]
) -> None:
    letters = torch.frombuffer(bytearray("\n".join(words).encode()), dtype=torch.uint8)
    described = json.dumps({"kind": kind, "classes": list(classes)})
    plain = {name: value.contiguous() for name, value in tensors.items()}
    write_atomic(path, save({**plain, WORDS: letters}, {KEY: described}))


def load_writer_file(path: Path) -> Writer:
    """Raises TeacherError for a file that is none of ours or was changed."""
    tensors, metadata = read_safetensors(path)
    try:
        described: Any = json.loads(metadata.get(KEY, ""))
        kind, classes = described["kind"], [str(name) for name in described["classes"]]
        words = tensors.pop(WORDS).numpy().tobytes().decode().split("\n")
    except (ValueError, KeyError, TypeError, RecursionError):
        raise TeacherError(
            f"{path}: is no writer as sansdata saves it (metadata {KEY} and the tensor {WORDS})"
        ) from None
    if not classes or len(set(classes)) < len(classes) or len(set(words)) < len(words):
        raise TeacherError(f"{path}: its classes or its words are not distinct")
    if kind in WRITERS:
        return WRITERS[kind].of_tensors(tensors, classes, words, str(path))
    raise TeacherError(f"{path}: a writer of the kind {str(kind)[:40]!r}, which this version does not know")
