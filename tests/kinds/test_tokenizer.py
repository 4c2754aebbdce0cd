"""Texts to ids by a file that somebody else wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sansdata.errors import TaskError
from sansdata.kinds.inputs.tokenizer import Tokenizer

pytest.importorskip("tokenizers")


def test_a_text_that_the_file_has_no_ids_for_is_one_error(tmp_path: Path) -> None:
    """Fuzzing found a vocabulary without the token that stands for unknown words."""
    model = {"type": "WordLevel", "vocab": {"good": 0}, "unk_token": "[UNK]"}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": model}))
    tokenizer = Tokenizer.of(tmp_path / "tokenizer.json")
    assert tokenizer.ids(["good"], 4, 0)[0].tolist() == [[0, 0, 0, 0]]
    with pytest.raises(TaskError, match="cannot read a text"):
        tokenizer.ids(["bad"], 4, 0)
