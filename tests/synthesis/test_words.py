"""Texts that methods make out of a teacher's words, where the tokenizer frames each text with special tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from framed_texts import CLS, SEP, framed_task

from sansdata.engine.session import Session
from sansdata.methods.index import find_method, method_config
from sansdata.models.build import architecture_of, build
from sansdata.runtime import Runtime
from sansdata.teachers.base import Teacher

pytest.importorskip("tokenizers")
MADE: dict[str, tuple[str, dict[str, Any]]] = {
    "words": ("as-dfd", {"iterations": 4, "chunk": 2, "steps_per_batch": 2}),
    "means of words": ("as-dfd", {"enters": "mixture", "start": "noise", "iterations": 2, "steps_per_batch": 2}),
    "noise": ("af-stip", {"mode": "pure"}),
    "inverted": ("af-stip", {"mode": "invert", "bn": 0.0, "iterations": 2}),
    "resampled": ("af-stip", {"mode": "resample", "iterations": 2}),
    "gaps": ("masked-kd", {"width": 8, "layers": 1, "fit_steps": 2, "steps_per_round": 2}),
}


@pytest.mark.parametrize("made", MADE)
def test_a_text_that_is_made_has_its_frame_and_only_words_between(made: str, tmp_path: Path) -> None:
    name, options = MADE[made]
    task = framed_task(tmp_path)
    torch.manual_seed(0)
    architecture = architecture_of("gru", task)
    networks = [build({**architecture, "args": {**architecture["args"], "scale": 0.1}}) for _ in range(2)]
    own = {"one_class": "allow", "pool": 24} if name == "af-stip" else {}
    config = method_config(name, "default", {"batch": 8, "transfer": {"batch": 6}} | own | options)
    session = Session(
        find_method(name), config, Teacher.from_module(networks[0].eval(), task), networks[1], task, Runtime(), 3, 20
    )
    while session.last_batch is None:
        session.move()
    inputs: Any = session.last_batch.inputs
    for tokens, mask in zip(inputs["tokens"], inputs["mask"]):
        text = tokens[mask].tolist()
        assert (text[0], text[-1]) == (CLS, SEP)
        assert min(text[1:-1]) > SEP  # no padding and no special token is a word
    table: Any = session.context.teacher.module.get_submodule("embedding")
    if "vectors" in inputs:
        assert torch.equal(inputs["vectors"][:, 0], table.weight[inputs["tokens"][:, 0]])
