"""The input sides of texts: tokens of one vocabulary, padded to one length, of one text or of two."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import pydantic

from .prompts import Prompts, named_prompts
from .side import Side

MAX_VOCABULARY = 2_000_000
MAX_LENGTH = 16_384
MAX_TOKENIZER_BYTES = 64_000_000


class WordsSpec(Side):
    """What every side of texts says: `length` tokens at most, of a vocabulary of so many.

    tokenizer: a tokenizer.json (of the library `tokenizers`), from which `vocabulary` is read where it is not given;
    without one a text can be neither read nor shown, only its ids. padding: the id that fills what a short text leaves.
    prompts: how a language model is told of the task, by a known name or as a section; only a teacher that writes
    needs them.
    """

    files: ClassVar[tuple[str, ...]] = ("tokenizer",)
    kind: str
    vocabulary: int = pydantic.Field(ge=2, le=MAX_VOCABULARY)
    length: int = pydantic.Field(ge=1, le=MAX_LENGTH)
    tokenizer: str = ""
    padding: int = pydantic.Field(default=0, ge=0)
    prompts: Prompts | None = None

    @pydantic.field_validator("prompts", mode="before")
    @classmethod
    def _known_prompts(cls, prompts: Any) -> Any:
        return named_prompts(prompts) if isinstance(prompts, str) else prompts

    @pydantic.model_serializer(mode="wrap")
    def _plain(self, plain: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Tasks without prompts are written as they always were."""
        return {name: value for name, value in plain(self).items() if name != "prompts" or value is not None}

    @pydantic.model_validator(mode="before")
    @classmethod
    def _counted(cls, fields: Any) -> Any:
        if isinstance(fields, Mapping) and fields.get("tokenizer") and "vocabulary" not in fields:
            return {**fields, "vocabulary": vocabulary_size(Path(str(fields["tokenizer"])))}
        return fields

    @pydantic.model_validator(mode="after")
    def _padding_known(self) -> Self:
        if self.padding >= self.vocabulary:
            raise ValueError(f"padding={self.padding} is no id of a vocabulary of {self.vocabulary}")
        return self


class TokensSpec(WordsSpec):
    """A text."""

    kind: Literal["tokens"] = "tokens"


class TwoTextsSpec(WordsSpec):
    """Two texts of one vocabulary, the second of which is judged by the first: a premise and a sentence, a passage and
    a question. first_length: the most tokens of the first; `length` is that of the second. `{context}` of the prompts
    is the first text, and what is written is the second."""

    kind: Literal["two-texts"] = "two-texts"
    first_length: int = pydantic.Field(ge=1, le=MAX_LENGTH)

    @property
    def sides(self) -> tuple[TokensSpec, TokensSpec]:
        """The first text and the second by themselves."""
        words = {"vocabulary": self.vocabulary, "tokenizer": self.tokenizer, "padding": self.padding}
        return TokensSpec(length=self.first_length, **words), TokensSpec(length=self.length, **words)


def vocabulary_size(path: Path) -> int:
    """How many ids a tokenizer.json gives out. Raises ValueError for a file that is none."""
    tree = read_tokenizer(path)
    model, added = tree.get("model"), tree.get("added_tokens")
    words = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(words, (dict, list)) or not words:
        raise ValueError(f"tokenizer {path}: is no tokenizer.json (it has no model.vocab)")
    ids = words.values() if isinstance(words, dict) else range(len(words))
    extra = [one.get("id") for one in added if isinstance(one, dict)] if isinstance(added, list) else []
    known = [number for number in [*ids, *extra] if isinstance(number, int) and not isinstance(number, bool)]
    return max(known) + 1 if known else 0


def read_tokenizer(path: Path) -> dict[str, Any]:
    """The JSON of a tokenizer.json. Raises ValueError where it cannot be read, is too large or is no object."""
    try:
        if path.exists() and not path.is_file():
            raise ValueError("is no regular file")
        with open(path, "rb") as file:
            data = file.read(MAX_TOKENIZER_BYTES + 1)
        if len(data) > MAX_TOKENIZER_BYTES:
            raise ValueError(f"larger than {MAX_TOKENIZER_BYTES:,} bytes")
        tree = json.loads(data)
    except OSError as fault:
        raise ValueError(f"tokenizer {path}: cannot be read ({fault.strerror})") from None
    except (ValueError, RecursionError) as fault:
        raise ValueError(f"tokenizer {path}: is no tokenizer.json ({str(fault)[:120]})") from None
    if not isinstance(tree, dict):
        raise ValueError(f"tokenizer {path}: is no tokenizer.json (a {type(tree).__name__})")
    return tree
