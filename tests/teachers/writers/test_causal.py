"""A causal model of transformers as a writer, beside the same model asked without cache and without padding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import sansdata
from sansdata.errors import TeacherError, UnsafeFileError
from sansdata.teachers.writers.base import Debias, Decoding, Steering
from sansdata.teachers.writers.causal import Causal
from sansdata.teachers.writers.local_model import of_folder
from sansdata.teachers.writers.sampling import drawn
from sansdata.teachers.writers.sources import is_writer
from sansdata.teachers.writers.vocabulary import tokenizer_of

WORDS = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    '"',
    "said",
    "the",
    "and",
    "of",
    "to",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, transformers: Any) -> Path:
    """A random GPT-2 of a few thousand numbers over a handful of words."""
    path = tmp_path_factory.mktemp("writer")
    (path / "tokenizer.json").write_bytes(tokenizer_of(WORDS, 40))
    config = transformers.GPT2Config(
        vocab_size=18, n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=1
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.GPT2LMHeadModel(config)
        with torch.no_grad():
            model.transformer.wte.weight.mul_(8)
        model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def writer(folder: Path) -> Causal:
    return of_folder(folder)


def next_logits(writer: Causal, ids: list[int]) -> torch.Tensor:
    model: Any = writer.model
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0, -1].float()


def test_a_folder_of_a_causal_model_is_a_writer(folder: Path, writer: Causal) -> None:
    assert is_writer(str(folder))
    assert writer.letters.ends == (1,)


@pytest.mark.parametrize(("decay", "ends"), [(0.0, '"'), (50.0, '"'), (0.0, "")])
def test_texts_are_those_of_one_row_without_a_cache(writer: Causal, decay: float, ends: str) -> None:
    prompts = ["one two", "three", "four five six seven", "the and of"]
    against = [[prompt + " said", "to " + prompt] for prompt in prompts]
    how, debias = Decoding(new_tokens=9, top_p=0.95), Debias(decay=decay)
    said = writer.generate(prompts, torch.Generator().manual_seed(3), how, Steering(against, debias, ends))
    uniforms = torch.rand(4, 9, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for row, prompt in enumerate(prompts):
        ids = [0, *writer.letters.encode(prompt)]
        others = [[0, *writer.letters.encode(other)] for other in against[row]]
        written: list[int] = []
        for step in range(9):
            logits = next_logits(writer, ids + written)
            if decay:
                rivals = torch.stack([next_logits(writer, other + written) for other in others]).softmax(1).amax(0)
                weights = (-decay * (rivals - logits.softmax(0)).clamp_min(0)).exp().clamp_min(0.01)
                logits = logits + weights.log()
            token = int(drawn(logits[None], how, uniforms[row, step : step + 1]))
            if token in writer.letters.ends:
                break
            written.append(token)
            if ends and ends in writer.letters.decode([token]):
                break
        assert said[row] == writer.letters.decode(written)


def test_the_end_is_out_of_reach_before_fewest(writer: Causal) -> None:
    how = Decoding(new_tokens=6, fewest=6, top_k=3)
    said = writer.generate(["one"] * 20, torch.Generator().manual_seed(1), how)
    assert all(len(text.split()) == 6 for text in said)
    assert any('"' in text[:-1] for text in said)
    said = writer.generate(["one"] * 20, torch.Generator().manual_seed(1), how, Steering(ends='"'))
    assert all(('"' in text) == text.endswith('"') and (len(text.split()) == 6 or '"' in text) for text in said)


def test_a_score_is_the_sum_over_the_text_behind_its_prompt(writer: Causal) -> None:
    prompts = ["one two", "", "three four five"] * 8
    texts = ["six seven", "eight", "nine ten one two three"] * 8
    totals, counts = writer.score(prompts, texts)
    for row in range(3):
        ids, text = [0, *writer.letters.encode(prompts[row])], writer.letters.encode(texts[row])
        expected = 0.0
        for place, token in enumerate(text):
            expected += float(next_logits(writer, ids + text[:place]).log_softmax(0)[token])
        assert float(totals[row]) == pytest.approx(expected, rel=1e-4)
        assert int(counts[row]) == len(text)
    assert torch.allclose(totals[:3], totals[3:6], atol=1e-4)


def test_a_folder_without_words_or_with_code_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(TeacherError, match=r"tokenizer\.json"):
        of_folder(tmp_path)
    config = (tmp_path / "config.json").read_text().replace("{", '{"auto_map": {"AutoModel": "code.Net"},', 1)
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(UnsafeFileError, match="auto_map"):
        of_folder(tmp_path)


def test_a_strict_run_learns_what_a_folder_writes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "words.json").write_bytes(tokenizer_of(WORDS, 40))
    (tmp_path / "task.yaml").write_text(
        "kind: text-classification\nclass_names: [one, two]\nclasses: 2\nlength: 12\ntokenizer: words.json\n"
        "prompts: {text: 'the {label} said \"'}\n"
    )
    options = {
        "texts": 16, "chunk": 8, "min_words": 2, "decoding": {"new_tokens": 8, "fewest": 3}, "scores": "weight",
        "debias": {"decay": 20}, "transfer": {"batch": 8},
    }  # fmt: skip
    result = sansdata.distill(
        str(folder), "bag", "zerogen", "3steps", tmp_path / "run", task=str(tmp_path / "task.yaml"), strict=True,
        options=options, settings={"threads": 1, "engine": {"snapshots": 1}},
    )  # fmt: skip
    ledger = json.loads((tmp_path / "run" / "ledger.json").read_text())
    assert ledger["violations"] == []
    assert result.summary["samples"]["written"] > 2
    assert 0 <= result.summary["samples"]["confirmed"] <= 1

    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("the model was asked again")

    monkeypatch.setattr(Causal, "generate", refused)
    monkeypatch.setattr(Causal, "score", refused)
    again = sansdata.distill(
        str(folder), "bilstm", "zerogen", "3steps", tmp_path / "again", task=str(tmp_path / "task.yaml"), strict=True,
        options=options, settings={"threads": 1, "engine": {"snapshots": 1}},
    )  # fmt: skip
    assert again.summary["samples"]["written"] == result.summary["samples"]["written"]
    ledger = json.loads((tmp_path / "again" / "ledger.json").read_text())
    assert "journal" in {file["role"] for file in ledger["files"]}
