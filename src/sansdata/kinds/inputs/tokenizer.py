"""A tokenizer.json in use, by the library `tokenizers`, which is imported when a text is first read or shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import MissingLibraryError, TaskError
from ...tasks.tokens import read_tokenizer

PROBED = 64
"""Words tried until one is read as more than special tokens: a normaliser may take letters away."""


@dataclass(frozen=True)
class Tokenizer:
    """Texts to ids and back. Equal paths are equal tokenizers."""

    path: Path

    @staticmethod
    def of(path: str | Path) -> Tokenizer:
        """Raises TaskError for a file that is no tokenizer.json, MissingLibraryError without the library."""
        tokenizer = Tokenizer(Path(path))
        _ = tokenizer._loaded
        return tokenizer

    @property
    def _loaded(self) -> Any:
        return _load(self.path)[0]

    @cached_property
    def scores(self) -> dict[int, float] | None:
        """Log-probability of each id, where the vocabulary has them (unigram models)."""
        words = _load(self.path)[1].get("model", {}).get("vocab")
        if not isinstance(words, list):
            return None
        return {place: float(word[1]) for place, word in enumerate(words)}

    @cached_property
    def plain_ids(self) -> list[int]:
        """Ids that stand for letters and words, without the special ones, in order."""
        added = _load(self.path)[1].get("added_tokens") or []
        special = {one["id"] for one in added if isinstance(one, dict) and one.get("special")}
        unknown = self._loaded.token_to_id(str(_load(self.path)[1].get("model", {}).get("unk_token")))
        return [place for place in sorted(self._loaded.get_vocab().values()) if place not in special | {unknown}]

    @cached_property
    def unknown(self) -> int | None:
        """The id of a word that the vocabulary lacks, where it has one."""
        name = _load(self.path)[1].get("model", {}).get("unk_token")
        return self._loaded.token_to_id(name) if isinstance(name, str) else None

    @cached_property
    def frame(self) -> tuple[list[int], list[int]]:
        """(ids that the file puts before every text, ids that it puts behind): [CLS] and [SEP] of a BERT; empty where
        it has no such template."""
        self._loaded.no_truncation()
        for text in ("a", *(self.decoded([place]) for place in self.plain_ids[:PROBED])):
            encoded = self._loaded.encode(text)
            places = [place for place, special in enumerate(encoded.special_tokens_mask) if not special]
            if places:
                return encoded.ids[: places[0]], encoded.ids[places[-1] + 1 :]
        return [], []

    def id_of(self, word: str) -> int | None:
        """Of a word of the vocabulary as it stands there, special ones too; None where it has none."""
        return self._loaded.token_to_id(word)

    def ids(self, texts: Sequence[str], length: int, padding: int) -> tuple[Tensor, Tensor]:
        """(tokens (B, length) int64, mask (B, length) bool); what is longer is cut, special tokens as the file says.
        Raises TaskError for a text that the file has no ids for."""
        self._loaded.enable_truncation(length)
        self._loaded.no_padding()
        tokens = torch.full((len(texts), length), padding, dtype=torch.int64)
        mask = torch.zeros(len(texts), length, dtype=torch.bool)
        for row, encoded in enumerate(self._encodings(texts)):
            ids = encoded.ids[:length] or [padding]  # a text without any token is one token of padding
            tokens[row, : len(ids)] = torch.tensor(ids)
            mask[row, : len(ids)] = True
        return tokens, mask

    def places(self, text: str, length: int) -> list[tuple[int, int]]:
        """Where each of the ids that `ids` gives a text begins and ends in it, in letters; a special one is empty."""
        self._loaded.enable_truncation(length)
        return self._loaded.encode(text).offsets[:length]

    def letters(self, ids: Sequence[int]) -> tuple[str, list[tuple[int, int]]]:
        """(a text of these ids, where each begins and ends in it); special ones are empty."""
        ends = [len(self.decoded(ids[: place + 1])) for place in range(len(ids))]
        return self.decoded(ids), list(zip([0, *ends[:-1]], ends))

    def encoded(self, text: str) -> list[int]:
        """The ids of one text, whole, without special tokens. Raises TaskError for one that the file has none for."""
        self._loaded.no_truncation()
        return self._encodings([text], add_special_tokens=False)[0].ids

    def _encodings(self, texts: Sequence[str], **options: bool) -> list[Any]:
        """The library's own. Raises TaskError."""
        try:
            return self._loaded.encode_batch(list(texts), **options)
        except Exception as fault:  # the library raises its own bare Exception, for a missing unknown token and such
            raise TaskError(f"tokenizer {self.path}: cannot read a text ({str(fault)[:200]})") from None

    def decoded(self, ids: Sequence[int]) -> str:
        """Ids in letters, without special tokens."""
        return self._loaded.decode(list(ids), skip_special_tokens=True)

    def texts(self, tokens: Tensor, mask: Tensor) -> list[str]:
        """Each row (L,) of ids in letters, without special tokens."""
        rows = [row[keep].tolist() for row, keep in zip(tokens, mask)]
        return self._loaded.decode_batch(rows, skip_special_tokens=True)


@lru_cache(maxsize=8)
def _load(path: Path) -> tuple[Any, dict[str, Any]]:
    """(the library's tokenizer, its JSON)."""
    try:
        tree = read_tokenizer(path)
    except ValueError as fault:
        raise TaskError(str(fault)) from None
    try:
        library = import_module("tokenizers")
    except ImportError as fault:
        raise MissingLibraryError(
            f"tokenizers cannot be imported here ({fault}); texts need it: pip install tokenizers"
        ) from None
    try:
        return library.Tokenizer.from_file(str(path)), tree
    except Exception as fault:  # the library raises its own bare Exception
        raise TaskError(f"tokenizer {path}: cannot be used ({str(fault)[:200]})") from None
