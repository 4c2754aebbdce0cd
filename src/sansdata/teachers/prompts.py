"""What the text encoder of a pipeline of diffusers makes of prompts, as the library's own pipelines ask it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import TeacherError, first_line
from ..models.tensor_file import count_elements
from . import folder as folders
from .transformer import read_module, require_no_code

ENCODER, TOKENIZER = "text_encoder", "tokenizer"
CONFIG = "tokenizer_config.json"
MAX_NUMBERS = 2**29
"""Of the features of all prompts together: 2 GiB."""
AT_ONCE = 32


def features_of(folder: Path, prompts: Sequence[str]) -> tuple[Tensor, list[str]]:
    """((N + 1, L, D) of N prompts and of the empty one, which stands for none; notes on what was cut).

    Raises TeacherError where there are no prompts, for other encoders than CLIP's and for parts that cannot be read,
    UnsafeFileError where these are pickled or made by code, MissingLibraryError without transformers.
    """
    if not prompts:
        raise TeacherError(
            f"{folder}: is asked for texts. Name those that it shall be asked for as label_names of the task's inputs"
        )
    own = folders.read_json(folder / ENCODER / folders.CONFIG)
    named = own.get("architectures")
    if named != ["CLIPTextModel"]:
        raise TeacherError(f"{folder / ENCODER}: is {str(named)[:60]}; of text encoders a CLIPTextModel is read")
    require_no_code(folder / ENCODER, own)
    files = folders.weight_files(folder / ENCODER)
    # weights are often kept in half precision, in which a processor is slow and rounds
    encoder: Any = read_module(folder / ENCODER, "CLIPTextModel", sum(map(count_elements, files))).float()
    tokenizer = _tokenizer(folder / TOKENIZER)
    length = min(int(tokenizer.model_max_length), int(encoder.config.max_position_embeddings))
    texts = [*prompts, ""]
    if (size := len(texts) * length * int(encoder.config.hidden_size)) > MAX_NUMBERS:
        raise TeacherError(
            f"{folder}: {len(prompts):,} prompts are {size:,} numbers behind its encoder, more than {MAX_NUMBERS:,}: "
            "name fewer"
        )
    ids = tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    whole = tokenizer(texts, verbose=False)["input_ids"]
    cut = sum(len(one) > length for one in whole)
    masked = bool(getattr(encoder.config, "use_attention_mask", False))
    with torch.no_grad():
        parts = [
            encoder(tokens, attention_mask=mask if masked else None)[0]
            for tokens, mask in zip(ids["input_ids"].split(AT_ONCE), ids["attention_mask"].split(AT_ONCE))
        ]
    notes = [f"{cut:,} of {len(prompts):,} prompts are longer than {length} tokens and were cut"] if cut else []
    return torch.cat(parts), notes


def _tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    if (folder / CONFIG).is_file():
        require_no_code(folder, folders.read_json(folder / CONFIG))
    try:
        return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as fault:  # a broken or missing vocabulary may raise anything
        raise TeacherError(f"{folder}: cannot be read as CLIP's tokenizer ({first_line(fault)})") from None
