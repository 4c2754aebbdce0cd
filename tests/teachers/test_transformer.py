"""Text classifiers from folders of the library transformers, small and with random weights."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import ENGINE

import sansdata
from sansdata.errors import TeacherError, UnsafeFileError, UserError
from sansdata.kinds.index import input_kind
from sansdata.tasks import load_task
from sansdata.teachers.specs import load_teacher

WORDS = ["the", "a", "film", "is", "good", "bad", "very", "not", "dull", "bright", "story", "actor"]


def tokenizer_file(path: Path, words: list[str]) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", *words])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(path))


@pytest.fixture
def folder(tmp_path: Path, transformers: Any) -> Path:
    """A folder of a tiny BERT whose vocabulary is the task's, and the task beside it."""
    tokenizer_file(tmp_path / "tokenizer.json", WORDS)
    (tmp_path / "task.yaml").write_text(
        "kind: text-classification\ntokenizer: tokenizer.json\nlength: 10\nclasses: 2\nclass_names: [bad, good]\n"
    )
    config = transformers.BertConfig(
        vocab_size=len(WORDS) + 2, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32, num_labels=2, pad_token_id=0, id2label={0: "bad", 1: "good"},
        label2id={"bad": 0, "good": 1},
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.BertForSequenceClassification(config)
    model.save_pretrained(tmp_path / "bert", safe_serialization=True)
    tokenizer_file(tmp_path / "bert" / "tokenizer.json", WORDS)
    return tmp_path


def direct(folder: Path, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The answers of the library's own model."""
    import transformers

    model = transformers.BertForSequenceClassification.from_pretrained(folder / "bert").eval()
    with torch.no_grad():
        return model(input_ids=tokens, attention_mask=mask).logits


def change_config(folder: Path, **fields: Any) -> None:
    path = folder / "bert" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_it_answers_as_the_library_does(folder: Path) -> None:
    task = load_task(folder / "task.yaml")
    teacher = load_teacher(str(folder / "bert"), task)
    inputs: Any = input_kind(task).draw(6, torch.Generator().manual_seed(0))
    assert torch.allclose(teacher(inputs).logits, direct(folder, inputs["tokens"], inputs["mask"]), atol=1e-5)
    assert teacher.access.name == "WEIGHTS"
    assert teacher.inside.head == "classifier"


def test_classes_that_are_named_in_another_order_are_put_right(folder: Path) -> None:
    task = load_task(folder / "task.yaml")
    change_config(folder, id2label={"0": "GOOD", "1": "BAD"}, label2id={"GOOD": 0, "BAD": 1})
    inputs: Any = input_kind(task).draw(6, torch.Generator().manual_seed(0))
    teacher = load_teacher(str(folder / "bert"), task)
    assert teacher.notes == ()
    answers = teacher(inputs).logits
    assert torch.allclose(answers, direct(folder, inputs["tokens"], inputs["mask"]).flip(1), atol=1e-5)


def test_classes_of_other_names_are_said_to_be_taken_in_their_order(folder: Path) -> None:
    change_config(folder, id2label={"0": "POSITIVE", "1": "NEGATIVE"}, label2id={"POSITIVE": 0, "NEGATIVE": 1})
    (note,) = load_teacher(str(folder / "bert"), load_task(folder / "task.yaml")).notes
    assert "calls its classes POSITIVE, NEGATIVE, and the task bad, good: they are taken in their order" in note
    change_config(folder, id2label={"0": "LABEL_0", "1": "LABEL_1"}, label2id={"LABEL_0": 0, "LABEL_1": 1})
    assert load_teacher(str(folder / "bert"), load_task(folder / "task.yaml")).notes == ()


def test_another_vocabulary_is_read_anew_at_its_door(folder: Path) -> None:
    """Words of the task become words, and then ids of the teacher."""
    tokenizer_file(folder / "bert" / "tokenizer.json", WORDS[::-1])
    task = load_task(folder / "task.yaml")
    teacher = load_teacher(str(folder / "bert"), task)
    kind: Any = input_kind(task)
    inputs = kind.read(["the film is good", "a very dull story", "not"])
    places = {word: place + 2 for place, word in enumerate(WORDS[::-1])}
    tokens, mask = torch.zeros(3, 30, dtype=torch.int64), torch.zeros(3, 30, dtype=torch.bool)
    for row, text in enumerate(["the film is good", "a very dull story", "not"]):
        ids = [places[word] for word in text.split()]
        tokens[row, : len(ids)], mask[row, : len(ids)] = torch.tensor(ids), True
    assert torch.allclose(teacher(inputs).logits, direct(folder, tokens, mask), atol=1e-5)
    assert not teacher.network.preprocessor.passes_on


def test_a_strict_run_and_what_it_read(folder: Path) -> None:
    result = sansdata.distill(
        str(folder / "bert"), "bag", "noise", "4steps", folder / "run", task=str(folder / "task.yaml"), strict=True,
        options={"transfer": {"batch": 8}}, settings={"engine": ENGINE},
    )  # fmt: skip
    ledger = json.loads((folder / "run" / "ledger.json").read_text())
    assert ledger["violations"] == []
    roles = {Path(entry["path"]).name: entry["role"] for entry in ledger["files"] if entry["role"] != "system"}
    assert roles["model.safetensors"] == "teacher"
    assert roles["task.yaml"] == "task"
    (folder / "tokenizer.json").unlink()  # the run keeps its own
    (folder / "data.tsv").write_text("the film is good\tgood\na dull story\tbad\n")
    assert sansdata.evaluate(folder / "run", folder / "data.tsv").count == 2
    assert result.task.pair == ("tokens", "classes")


def test_what_cannot_be_trusted_or_used_is_refused(folder: Path) -> None:
    task, spec = load_task(folder / "task.yaml"), str(folder / "bert")
    with pytest.raises(TeacherError, match="this is a task of image x classes"):
        load_teacher(spec, load_task("digits"))
    change_config(folder, auto_map={"AutoModelForSequenceClassification": "evil.Model"})
    with pytest.raises(UnsafeFileError, match="auto_map"):
        load_teacher(spec, task)
    change_config(folder, auto_map=None)
    (folder / "bert" / "model.safetensors").rename(folder / "bert" / "pytorch_model.bin")
    with pytest.raises(UnsafeFileError, match="Pickled weights are not read"):
        load_teacher(spec, task)
    (folder / "bert" / "config.json").write_text("[")
    with pytest.raises(TeacherError, match="cannot be read"):
        load_teacher(spec, task)


def test_architectures_that_are_no_list_say_nothing(folder: Path) -> None:
    """Fuzzing found a number there."""
    change_config(folder, architectures=6.7e16)
    with contextlib.suppress(UserError):  # the library may still refuse it
        load_teacher(str(folder / "bert"), load_task(folder / "task.yaml"))


def test_another_number_of_classes_is_said(folder: Path) -> None:
    fields = load_task(folder / "task.yaml").model_dump(mode="json")
    fields["outputs"] |= {"classes": 3, "class_names": []}
    with pytest.raises(TeacherError, match="gives 2 classes and the task has 3"):
        load_teacher(str(folder / "bert"), load_task(fields))


def test_a_folder_fetches_no_code_and_takes_no_more_memory_than_its_weights(folder):
    task = load_task(folder / "task.yaml")
    for fields, word in [
        ({"attn_implementation": "someone/kernels"}, "asks for the code someone/kernels"),
        ({"text_config": {"_attn_implementation": "someone/kernels"}}, "asks for the code"),
        ({"text_config": {"auto_map": {"AutoModel": "x.Net"}}}, "auto_map"),
        ({"_attn_implementation_internal": "someone/kernels"}, "asks for the code"),  # CVE-2026-4372
        ({"_experts_implementation_internal": {"": "someone/kernels@main"}}, "asks for the code"),
        ({"parts": [{"deeper": {"trust_remote_code": True}}]}, "trust_remote_code"),  # CVE-2026-5241
    ]:
        before = (folder / "bert" / "config.json").read_text()
        change_config(folder, **fields)
        with pytest.raises(UnsafeFileError, match=word):
            load_teacher(str(folder / "bert"), task)
        (folder / "bert" / "config.json").write_text(before)
    change_config(folder, num_hidden_layers=2, hidden_size=16, intermediate_size=4_000_000)
    with pytest.raises(TeacherError, match="asks for more than"):
        load_teacher(str(folder / "bert"), task)
    (folder / "bert" / "adapter_config.json").write_text("{}")
    with pytest.raises(UnsafeFileError, match="adapter"):
        load_teacher(str(folder / "bert"), task)
