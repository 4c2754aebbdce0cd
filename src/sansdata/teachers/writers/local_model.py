"""Causal language models of the library `transformers`: a local folder, or a GGUF file. Nothing is fetched, and no code
of the folder runs."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from ...errors import MissingLibraryError, TeacherError
from ...files import sha256
from ...kinds.inputs.tokenizer import Tokenizer
from ...models.tensor_file import count_elements
from .. import folder as folders
from ..folder import CONFIG
from ..transformer import TOKENIZER, is_transformer, read_module, require_no_code
from .causal import Causal, Letters

HEAD = "ForCausalLM"
NAMES = (HEAD, "LMHeadModel")
"""Endings by which the library calls its models that write."""
MAX_GGUF_BYTES = 64 * 2**30


def is_causal_folder(path: Path) -> bool:
    """Whether a path is a folder of a model that writes."""
    if not is_transformer(path):
        return False
    names = folders.read_json(path / CONFIG).get("architectures")
    return isinstance(names, list) and bool(names) and str(names[0]).endswith(NAMES)


def is_gguf(path: Path) -> bool:
    return path.suffix.lower() == ".gguf" and os.path.isfile(path)


def of_folder(path: Path) -> Causal:
    """Raises TeacherError, UnsafeFileError or MissingLibraryError as a classifier of such a folder does."""
    require_no_code(path, folders.read_json(path / CONFIG))
    if not (path / TOKENIZER).is_file():
        raise TeacherError(f"{path}: has no {TOKENIZER}, and a writer needs its words; copy it there")
    files = folders.weight_files(path)
    model: Any = read_module(path, f"AutoModel{HEAD}", sum(map(count_elements, files)))
    tokenizer = Tokenizer.of(path / TOKENIZER)
    letters = Letters(tokenizer.encoded, tokenizer.decoded, *_marks(model))
    return Causal(model, letters, str(path), folders.fingerprint([*files, path / TOKENIZER]), _reach(model))


def of_gguf(path: Path) -> Causal:
    """A quantised model; the library leaves it packed and computes in float32. Raises TeacherError where it cannot read
    the file."""
    if path.stat().st_size > MAX_GGUF_BYTES:
        raise TeacherError(f"{path}: larger than {MAX_GGUF_BYTES:,} bytes")
    try:
        library = import_module("transformers")
        import_module("gguf")
    except ImportError as fault:
        raise MissingLibraryError(f"{path}: needs transformers and gguf ({fault}): pip install gguf") from None
    place: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True, "trust_remote_code": False}
    try:
        model = getattr(library, f"AutoModel{HEAD}").from_pretrained(str(path.parent), dtype=torch.float32, **place)
        words = library.AutoTokenizer.from_pretrained(str(path.parent), **place)
    except Exception as fault:  # an architecture that the library does not read from such files, a broken file
        raise TeacherError(f"{path}: cannot be read as a GGUF file ({str(fault)[:300]})") from None
    letters = Letters(
        lambda text: words.encode(text, add_special_tokens=False),
        lambda ids: words.decode(ids, skip_special_tokens=True), *_marks(model),
    )  # fmt: skip
    return Causal(model, letters, str(path), sha256(path), _reach(model))


def _marks(model: Any) -> tuple[int | None, tuple[int, ...]]:
    """(the id before every text or None, the ids that end one)."""
    sources = (model.config, getattr(model, "generation_config", None))
    ends: set[int] = set()
    for source in sources:
        named = getattr(source, "eos_token_id", None)
        ends |= set(named if isinstance(named, (list, tuple)) else [] if named is None else [named])
    if not ends:
        raise TeacherError("the model's config names no eos_token_id: nothing would end a text")
    return getattr(model.config, "bos_token_id", None), tuple(sorted(ends))


def _reach(model: Any) -> int:
    return int(getattr(model.config, "max_position_embeddings", 0) or 0)
