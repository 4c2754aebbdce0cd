"""Tokenizers and layers of words that are cut: what is kept is read and answered as before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sansdata.api.trim import trim
from sansdata.compress.vocabulary import cut_tokenizer, cut_words, drop_layers, pieces_of, with_needed
from sansdata.errors import ConfigError, DataError, StudentError
from sansdata.kinds.inputs.tokens import Tokens
from sansdata.models.build import architecture_of, build
from sansdata.models.saved import write_model
from sansdata.models.text_nets import Transformer
from sansdata.network import Network
from sansdata.tasks import ClassesSpec, PairTask, TokensSpec, load_task
from sansdata.teachers.specs import load_teacher

tokenizers = pytest.importorskip("tokenizers")

GERMAN = ["der gute film war lang", "ein schlechter film", "das war gut", "nicht gut und nicht schlecht"]
ENGLISH = ["the movie was quite good", "a bad story told badly", "what a wonderful evening", "nothing works here"]


def make(kind: str, path: Path) -> Path:
    """A tokenizer of both languages, with the library's own models; of WordPiece with a post-processor."""
    special = {"special_tokens": ["[PAD]", "[UNK]", "[CLS]", "[SEP]"], "vocab_size": 120, "show_progress": False}
    if kind == "wordpiece":
        tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
        trainer = tokenizers.trainers.WordPieceTrainer(**special)
        tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    elif kind == "bpe":
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="[UNK]"))
        trainer = tokenizers.trainers.BpeTrainer(**special)
    else:
        tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram())
        trainer = tokenizers.trainers.UnigramTrainer(unk_token="[UNK]", **special)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator([*GERMAN, *ENGLISH], trainer)
    tokenizer.save(str(path))
    return path


def task_of(tokenizer: Path) -> PairTask:
    inputs = TokensSpec(tokenizer=str(tokenizer), length=24)  # type: ignore[call-arg]
    return PairTask(inputs=inputs, outputs=ClassesSpec(classes=3))


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_a_text_of_kept_pieces_is_cut_as_before(kind: str, tmp_path: Path) -> None:
    tree = json.loads(make(kind, tmp_path / "tokenizer.json").read_text())
    old = tokenizers.Tokenizer.from_str(json.dumps(tree))
    used = {place for text in GERMAN for place in old.encode(text).ids}
    kept = with_needed(tree, used, padding=0)
    assert used <= set(kept)
    assert len(kept) < 0.8 * len(pieces_of(tree))
    new = tokenizers.Tokenizer.from_str(json.dumps(cut_tokenizer(tree, kept)))
    assert new.get_vocab_size() == len(kept)
    for text in [*GERMAN, "schlecht war der gute film", "film film"]:
        pieces = old.encode(text)
        if set(pieces.ids) <= set(kept):
            assert new.encode(text).tokens == pieces.tokens
            assert [kept[place] for place in new.encode(text).ids] == pieces.ids


def test_letters_without_an_unknown_piece_are_still_read(tmp_path: Path) -> None:
    """Bytes that were cut away vanished from a text without a word: 'bad' was read as 'd'."""
    old = tokenizers.Tokenizer(tokenizers.models.BPE())
    old.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    old.decoder = tokenizers.decoders.ByteLevel()
    letters = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    old.train_from_iterator(
        [*GERMAN, *ENGLISH],
        tokenizers.trainers.BpeTrainer(vocab_size=330, initial_alphabet=letters, special_tokens=["<pad>"]),
    )
    tree = json.loads(old.to_str())
    kept = with_needed(tree, {place for text in GERMAN for place in old.encode(text).ids}, padding=0)
    new = tokenizers.Tokenizer.from_str(json.dumps(cut_tokenizer(tree, kept)))
    assert new.get_vocab_size() < old.get_vocab_size()
    for text in (*GERMAN, *ENGLISH, "größer"):
        assert new.decode(new.encode(text).ids) == text


def test_bytes_of_unknown_letters_are_kept() -> None:
    vocab = {"<unk>": 0, "<0xC3>": 1, "<0xB6>": 2, "a": 3, "b": 4}
    tree = {"model": {"type": "BPE", "vocab": vocab, "merges": [], "byte_fallback": True, "unk_token": "<unk>"}}
    assert with_needed(tree, {3}, padding=0) == [0, 1, 2, 3]


def test_an_unlikely_letter_that_is_cut_does_not_make_another_cut_likelier() -> None:
    """The library sets an unknown letter 10 below the unlikeliest piece, which was 'b' itself."""
    pieces = [("<unk>", 0.0), ("a", -1.0), ("b", -50.0), ("abc", -11.0), ("d", -11.0), ("e", -11.0), ("f", -11.0)]
    old = tokenizers.Tokenizer(tokenizers.models.Unigram([*pieces, ("cdef", -1.0)], unk_id=0))
    tree = json.loads(old.to_str())
    kept = with_needed(tree, {place for text in ("abcdef", "a", "cdef") for place in old.encode(text).ids}, padding=0)
    new = tokenizers.Tokenizer.from_str(json.dumps(cut_tokenizer(tree, kept)))
    assert new.encode("abcdef").tokens == old.encode("abcdef").tokens == ["abc", "d", "e", "f"]


def test_words_behind_the_tasks_length_count_too(tmp_path: Path) -> None:
    task = task_of(make("wordpiece", tmp_path / "tokenizer.json"))
    file = tmp_path / "teacher.safetensors"
    write_model(file, build(architecture_of("bag", task)), architecture_of("bag", task), task, {})
    sizes = []
    for name, between in (("lines", "\n"), ("line", " ")):
        (tmp_path / f"{name}.txt").write_text(between.join([*GERMAN, *ENGLISH]))
        sizes.append(trim(file, tmp_path / f"{name}.txt", tmp_path / name, task=task).words)
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("name", ["bag", "bilstm", "text-transformer"])
def test_a_network_of_ours_answers_the_language_as_before(name: str, tmp_path: Path) -> None:
    task = task_of(make("wordpiece", tmp_path / "tokenizer.json"))
    torch.manual_seed(0)
    module, file = build(architecture_of(name, task)).eval(), tmp_path / "teacher.safetensors"
    write_model(file, module, architecture_of(name, task), task, {})
    (tmp_path / "german.txt").write_text("\n".join(GERMAN))
    done = trim(file, tmp_path / "german.txt", tmp_path / "german", task=task)
    assert done.agreement == 1
    assert done.words < 0.8 * task.inputs.vocabulary
    assert done.parameters < done.before[1]
    again = load_task(tmp_path / "german" / "task.yaml")
    teacher = load_teacher(str(tmp_path / "german" / "student.safetensors"), again)
    before, after = Tokens(task.inputs).read(GERMAN), Tokens(again.inputs).read(GERMAN)
    assert torch.equal(teacher(after).logits, Network.of(module, task)(before).logits)


def test_a_list_of_words_with_counts_keeps_what_is_frequent(tmp_path: Path) -> None:
    task = task_of(make("wordpiece", tmp_path / "tokenizer.json"))
    file = tmp_path / "teacher.safetensors"
    write_model(file, build(architecture_of("bag", task)), architecture_of("bag", task), task, {})
    (tmp_path / "words.txt").write_text("film\t90\nmovie\t2\n")
    more = trim(file, tmp_path / "words.txt", tmp_path / "more", task=task)
    fewer = trim(file, tmp_path / "words.txt", tmp_path / "fewer", task=task, least=10)
    assert fewer.words < more.words


def test_layers_are_left_out_evenly_and_the_file_says_so(tmp_path: Path) -> None:
    module = Transformer(10, 4, 2, 8, layers=5, heads=2)
    smaller: Any = drop_layers(module, 3)
    kept = [module.blocks[place] for place in (0, 2, 4)]
    assert all(torch.equal(a.out.weight, b.out.weight) for a, b in zip(smaller.blocks, kept, strict=True))  # type: ignore[union-attr]
    with pytest.raises(StudentError, match="5 layers"):
        drop_layers(module, 5)
    task = task_of(make("bpe", tmp_path / "tokenizer.json"))
    file = tmp_path / "teacher.safetensors"
    write_model(
        file, build(architecture_of("text-transformer", task)), architecture_of("text-transformer", task), task, {}
    )
    (tmp_path / "german.txt").write_text("\n".join(GERMAN))
    trim(file, tmp_path / "german.txt", tmp_path / "german", task=task, layers=1)
    teacher: Any = load_teacher(
        str(tmp_path / "german" / "student.safetensors"), load_task(tmp_path / "german" / "task.yaml")
    )
    assert len(teacher.module.blocks) == 1


def test_tied_words_are_cut_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.scores = nn.Embedding(9, 4, padding_idx=2), nn.Linear(4, 9)
            self.scores.weight = self.words.weight

    module = Tied()
    smaller: Any = cut_words(module, module.words, [0, 2, 7])
    assert smaller.scores.weight is smaller.words.weight
    assert torch.equal(smaller.words.weight, module.words.weight[[0, 2, 7]])
    assert smaller.scores.bias.shape == (3,)
    assert (smaller.words.padding_idx, smaller.words.num_embeddings, smaller.scores.out_features) == (1, 3, 3)


def test_a_folder_of_transformers_is_cut_into_another(tmp_path: Path, transformers: Any) -> None:
    folder = tmp_path / "reviews"
    folder.mkdir()
    task = task_of(make("wordpiece", folder / "tokenizer.json"))
    config = transformers.BertConfig(
        vocab_size=task.inputs.vocabulary, hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=20, max_position_embeddings=30, num_labels=3,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.BertForSequenceClassification(config).eval().save_pretrained(folder)
    (tmp_path / "german.txt").write_text("\n".join(GERMAN))
    done = trim(folder, tmp_path / "german.txt", tmp_path / "german", task=task)
    again = load_task(tmp_path / "german" / "task.yaml")
    old, new = load_teacher(str(folder), task), load_teacher(str(tmp_path / "german"), again)
    known = old(Tokens(task.inputs).read(GERMAN)).logits
    assert torch.allclose(new(Tokens(again.inputs).read(GERMAN)).logits, known, atol=1e-6)
    assert done.agreement == 1
    trim(folder, tmp_path / "german.txt", tmp_path / "short", task=task, layers=1)
    short: Any = load_teacher(str(tmp_path / "short"), load_task(tmp_path / "short" / "task.yaml"))
    assert len(short.module.bert.encoder.layer) == 1


def test_what_cannot_be_cut_is_one_error(tmp_path: Path) -> None:
    task = task_of(make("bpe", tmp_path / "tokenizer.json"))
    file = tmp_path / "teacher.safetensors"
    write_model(file, build(architecture_of("bag", task)), architecture_of("bag", task), task, {})
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match="no text"):
        trim(file, tmp_path / "empty.txt", tmp_path / "out", task=task)
    with pytest.raises(DataError, match="cannot be read"):
        trim(file, tmp_path / "nowhere.txt", tmp_path / "out", task=task)
    with pytest.raises(ConfigError, match="its task"):
        trim(file, tmp_path / "empty.txt", tmp_path / "out")
    numbers = {"inputs": {"kind": "tokens", "vocabulary": 9, "length": 4}, "outputs": {"kind": "classes", "classes": 2}}
    with pytest.raises(StudentError, match="tokenizer"):
        trim("bag", tmp_path / "empty.txt", tmp_path / "out", task=numbers)
    (tmp_path / "german.txt").write_text("\n".join(GERMAN))
    with pytest.raises(StudentError, match="layers"):
        trim(file, tmp_path / "german.txt", tmp_path / "out", task=task, layers=1)
    assert not (tmp_path / "out").exists()
