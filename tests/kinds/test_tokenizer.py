"""Texts to ids by a file that somebody else wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from framed_texts import CLS, SEP, framed_task

from sansdata.errors import TaskError
from sansdata.kinds.inputs.tokenizer import Tokenizer
from sansdata.kinds.inputs.tokens import Tokens

pytest.importorskip("tokenizers")


def test_a_text_that_the_file_has_no_ids_for_is_one_error(tmp_path: Path) -> None:
    """Fuzzing found a vocabulary without the token that stands for unknown words."""
    model = {"type": "WordLevel", "vocab": {"good": 0}, "unk_token": "[UNK]"}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": model}))
    tokenizer = Tokenizer.of(tmp_path / "tokenizer.json")
    assert tokenizer.ids(["good"], 4, 0)[0].tolist() == [[0, 0, 0, 0]]
    with pytest.raises(TaskError, match="cannot read a text"):
        tokenizer.ids(["bad"], 4, 0)


@pytest.mark.parametrize("source", ["uniform", "frequent"])
def test_what_is_drawn_is_what_the_tokenizer_would_read(source: str, tmp_path: Path) -> None:
    """A reader found that a BERT was never shown the tokens by which it reads every real text."""
    kind = Tokens(framed_task(tmp_path).inputs)  # type: ignore[arg-type]
    drawn = kind.draw(200, torch.Generator().manual_seed(0), source)
    assert kind.tokenizer is not None
    again = kind.read(kind.tokenizer.texts(drawn["tokens"], drawn["mask"]))
    assert torch.equal(again["tokens"], drawn["tokens"])
    assert torch.equal(again["mask"], drawn["mask"])
    assert set(drawn["mask"].sum(1).tolist()) == set(range(3, 9))  # from one word on


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_text_without_room_for_a_word_has_no_frame(length: int, tmp_path: Path) -> None:
    kind = Tokens(framed_task(tmp_path, length).inputs)  # type: ignore[arg-type]
    drawn = kind.draw(50, torch.Generator().manual_seed(0))
    framed = torch.isin(drawn["tokens"], torch.tensor([CLS, SEP])).any(1)
    assert framed.all() if length == 3 else not framed.any()


def test_a_file_without_a_template_frames_nothing(tmp_path: Path) -> None:
    model = {"type": "WordLevel", "vocab": {"good": 0, "[UNK]": 1}, "unk_token": "[UNK]"}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": model}))
    assert Tokenizer.of(tmp_path / "tokenizer.json").frame == ([], [])
