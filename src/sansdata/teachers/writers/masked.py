"""Masked language models of the library `transformers`, from a local folder: they say what could stand in a gap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import TeacherError
from ...kinds.inputs.tokenizer import Tokenizer
from ...models.masked_writer import LibraryWriter
from ...models.tensor_file import count_elements
from .. import folder as folders
from ..folder import CONFIG
from ..transformer import TOKENIZER, is_transformer, read_module, require_no_code

HEAD = "ForMaskedLM"
GAPS = ("[MASK]", "<mask>")
"""What vocabularies call a gap."""


def load_masked(folder: Path, vocabulary: int) -> LibraryWriter:
    """The model in eval mode. Raises TeacherError for another job, a vocabulary of another size than `vocabulary` or
    one without a gap, UnsafeFileError or MissingLibraryError as a classifier of such a folder does."""
    if not is_transformer(folder):
        raise TeacherError(f"{folder}: no folder of a masked language model (config.json and model.safetensors)")
    config = folders.read_json(folder / CONFIG)
    require_no_code(folder, config)
    if not (folder / TOKENIZER).is_file():
        raise TeacherError(f"{folder}: has no {TOKENIZER}, and a gap needs its id; copy it there")
    tokenizer = Tokenizer.of(folder / TOKENIZER)
    gap = next((place for name in GAPS if (place := tokenizer.id_of(name)) is not None), None)
    if gap is None:
        raise TeacherError(f"{folder}: its vocabulary has no {' or '.join(GAPS)}: is it a masked language model?")
    module: Any = read_module(folder, f"AutoModel{HEAD}", sum(map(count_elements, folders.weight_files(folder))))
    own = int(getattr(module.config, "vocab_size", 0))
    if own != vocabulary:
        raise TeacherError(
            f"{folder}: has a vocabulary of {own:,} and the task one of {vocabulary:,}: what it writes must be read by "
            "the task's tokenizer, which must be its own"
        )
    return LibraryWriter(module.eval(), gap)
