"""A task whose tokenizer puts [CLS] before every text and [SEP] behind it, as a BERT's does."""

from __future__ import annotations

import json
from pathlib import Path

from sansdata.tasks import ClassesSpec, PairTask, TokensSpec

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
CLS, SEP = 2, 3
WORDS = tuple(f"w{number}" for number in range(40))


def framed_task(folder: Path, length: int = 8) -> PairTask:
    """Texts of at most `length` ids in two classes; the tokenizer's file is written into `folder`."""
    words = {word: place for place, word in enumerate(SPECIAL + WORDS)}
    frame = [{"SpecialToken": {"id": name, "type_id": 0}} for name in ("[CLS]", "[SEP]")]
    single = [frame[0], {"Sequence": {"id": "A", "type_id": 0}}, frame[1]]
    tokenizer = {
        "version": "1.0", "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"},
        "added_tokens": [
            {"id": place, "content": name, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False}
            for place, name in enumerate(SPECIAL)
        ],
        "post_processor": {
            "type": "TemplateProcessing", "single": single,
            "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {
                name: {"id": name, "ids": [words[name]], "tokens": [name]} for name in ("[CLS]", "[SEP]")
            },
        },
    }  # fmt: skip
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(tokenizer))
    inputs = TokensSpec(tokenizer=str(path), length=length)  # type: ignore[call-arg]
    return PairTask(inputs=inputs, outputs=ClassesSpec(classes=2))
