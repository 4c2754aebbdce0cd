"""Masked-KD: gaps and what fills them, the gradient of a draw, a writer that goes where both part, and its folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import WORLDS

from sansdata.engine.session import Session
from sansdata.errors import DataError, MethodError, TeacherError, UnsafeFileError
from sansdata.figures import values
from sansdata.kinds.index import input_kind
from sansdata.methods.index import method_config
from sansdata.methods.masked_kd import MaskedKD
from sansdata.models.modes import fixed
from sansdata.objectives.logits import kl
from sansdata.runtime import Runtime
from sansdata.tasks import ClassesSpec, PairTask, TokensSpec
from sansdata.teachers.base import Teacher
from sansdata.teachers.students import load_student
from sansdata.teachers.writers.masked import load_masked

WORLD = WORLDS["tokens"]
SMALL = {"width": 16, "layers": 1, "fit_steps": 4, "chunk": 2, "batch": 16, "transfer": {"batch": 8}}


def session(task: Any = WORLD.task, **options: Any) -> Session:
    config = method_config("masked-kd", "default", SMALL | options)
    return Session(MaskedKD, config, WORLD.teacher(), WORLD.student(), task, Runtime(), 5, 30)


def method(one: Session) -> MaskedKD:
    assert isinstance(one.method, MaskedKD)
    return one.method


def filled(one: MaskedKD, count: int = 16) -> tuple[dict[str, torch.Tensor], torch.Tensor, dict[str, torch.Tensor]]:
    texts = one._texts(count)
    gaps = one._gaps(texts)
    return texts, gaps, one._filled(texts, gaps, one._chances(texts, gaps))


def test_gaps_lie_at_words_a_share_of_them_and_one_in_each_text() -> None:
    one = method(session(gaps=0.25))
    texts = one._texts(400)
    gaps = one._gaps(texts)
    assert bool((gaps <= texts["mask"]).all())
    some = torch.isin(texts["tokens"], one.words.ids).logical_and(texts["mask"]).any(1)
    assert gaps.any(1).equal(some)
    long = texts["mask"].sum(1) > 8
    assert 0.2 < float(gaps[long].sum() / texts["mask"][long].sum()) < 0.3


def test_what_no_gap_was_made_in_stays_and_gaps_hold_words() -> None:
    one = method(session())
    texts, gaps, made = filled(one)
    assert made["tokens"][~gaps].equal(texts["tokens"][~gaps])
    assert bool(torch.isin(made["tokens"][gaps], one.words.ids).all())
    assert made["shares"].detach()[:, :, 0].equal(torch.ones(texts["tokens"].shape))  # the word drawn alone
    assert made["choices"][:, :, 0].equal(made["tokens"])


def test_words_are_drawn_as_often_as_the_writer_says() -> None:
    """At a heat of 1 a draw is that of the distribution (Gumbel-max)."""
    one = method(session(heat=1.0))
    texts = {"tokens": torch.full((4000, 12), 3), "mask": torch.ones(4000, 12, dtype=torch.bool)}
    gaps = torch.zeros(4000, 12, dtype=torch.bool)
    gaps[:, 0] = True
    chances = one._chances(texts, gaps)
    drawn = one._filled(texts, gaps, chances.detach())["tokens"][:, 0]
    counts = torch.bincount(drawn, minlength=int(one.words.ids.max()) + 1)[one.words.ids] / 4000
    assert float((counts - chances[0].detach().exp()).abs().max()) < 0.03


def test_a_gradient_reaches_the_writer_through_the_teacher() -> None:
    one = session()
    _, _, made = filled(method(one))
    one.context.teacher(made).logits[:, 0].sum().backward()
    slopes = [float(p.grad.abs().max()) for p in method(one).writer.parameters() if p.grad is not None]
    assert max(slopes) > 0
    assert all(p.grad is None for p in one.context.teacher.module.parameters())


def test_our_writer_learns_to_fill_gaps_first_and_not_after_it() -> None:
    one = session(fit_steps=120, chunk=20)
    kinds, missed = [], []
    for _ in range(12):
        kind, losses = one.move()
        kinds.append(kind[0])
        missed += [float(losses.values()["gaps"])] if "gaps" in losses.terms else []
    assert "".join(kinds) == "a" * 7 + "t" * 5
    assert len(missed) == 6
    assert missed[-1] < missed[0] - 0.2
    assert MaskedKD.plan(one.method.config, 10) == {"acquire": 6 + 2, "transfer": 10}


def test_the_writer_goes_where_teacher_and_student_part() -> None:
    def apart(rate: float) -> float:
        one = session(writer_lr=rate, fluency=0.0, fit_steps=0, gaps=0.8, batch=64)
        for _ in range(12):
            method(one)._disagree()
        with torch.no_grad(), fixed(one.context.student):
            _, _, made = filled(method(one), 256)
            return float(kl(one.context.student_outputs(made).logits, one.context.teacher(made).logits).mean())

    assert apart(3e-2) > 1.1 * apart(1e-9)


def test_the_share_of_changed_words_is_told() -> None:
    one = session()
    one.advance(10)
    share = values(one.method.findings())["changed"]
    assert 0.5 < share <= 1


# -- texts of a file, and writers of the library


@pytest.fixture
def task(tmp_path: Path) -> PairTask:
    tokenizers = pytest.importorskip("tokenizers")
    words = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "[MASK]", *"abcdefghijklmnopqrstu"])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.add_special_tokens(["[PAD]", "[UNK]", "[MASK]"])
    made.save(str(tmp_path / "words.json"))
    inputs = TokensSpec(tokenizer=str(tmp_path / "words.json"), length=6)  # type: ignore[call-arg]
    return PairTask(inputs=inputs, outputs=ClassesSpec(classes=2))


def session_of(task: PairTask, **options: Any) -> Session:
    from sansdata.models.text_nets import BagOfEmbeddings

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher = Teacher.from_module(BagOfEmbeddings(task.inputs.vocabulary, 2, 8), task)
    student = load_student("bag", teacher, task)
    config = method_config("masked-kd", "default", SMALL | options)
    return Session(MaskedKD, config, teacher, student.module, task, Runtime(), 5, 30)


def test_given_texts_keep_their_words_outside_the_gaps(task: PairTask, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a b c d\nb c d e zzz\n\n", encoding="utf-8")
    one = session_of(task, texts=str(tmp_path / "texts.txt"))
    texts, gaps, _ = filled(method(one), 64)
    read = input_kind(task).read(["a b c d", "b c d e zzz"])["tokens"]  # type: ignore[attr-defined]
    assert {tuple(row) for row in texts["tokens"].tolist()} == {tuple(row) for row in read.tolist()}
    assert not gaps[texts["tokens"] == 1].any()  # the unknown word is none
    one.advance(10)
    assert MaskedKD.reads(one.method.config) == {tmp_path / "texts.txt": "texts"}


def test_texts_without_a_known_word_are_refused(task: PairTask, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("zzz yyy\n", encoding="utf-8")
    with pytest.raises(MethodError, match="none has a word of the task's vocabulary"):
        session_of(task, texts=str(tmp_path / "texts.txt"))
    with pytest.raises(DataError, match="cannot be read as text"):
        session_of(task, texts=str(tmp_path / "missing.txt"))
    with pytest.raises(MethodError, match="names no tokenizer"):
        session(texts=str(tmp_path / "texts.txt"))


@pytest.fixture
def folder(task: PairTask, tmp_path: Path, transformers: Any) -> Path:
    config = transformers.BertConfig(
        vocab_size=task.inputs.vocabulary, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=16, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.BertForMaskedLM(config).save_pretrained(tmp_path / "bert", safe_serialization=True)
    (tmp_path / "bert" / "tokenizer.json").write_bytes((tmp_path / "words.json").read_bytes())
    return tmp_path / "bert"


def test_a_folder_of_the_library_writes_and_learns(task: PairTask, folder: Path) -> None:
    one = session_of(task, writer=str(folder))
    assert MaskedKD.plan(one.method.config, 10) == {"acquire": 2, "transfer": 10}
    before = {name: value.clone() for name, value in method(one).writer.state_dict().items()}
    assert "agreement" in one.move()[1].terms
    after = method(one).writer.state_dict()
    assert any(not before[name].equal(after[name]) for name in before)
    other = session_of(task, writer=str(folder))
    texts = method(other)._texts(4)
    gaps = method(other)._gaps(texts)
    opened = texts["tokens"].masked_fill(gaps, 2)
    import transformers

    direct = transformers.BertForMaskedLM.from_pretrained(folder).eval()
    logits = direct(input_ids=opened, attention_mask=texts["mask"].long()).logits[gaps][:, method(other).words.ids]
    torch.testing.assert_close(method(other)._chances(texts, gaps), logits.log_softmax(1))


def test_what_is_no_masked_model_of_the_vocabulary_is_refused(task: PairTask, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="vocabulary of 24 and the task one of 99"):
        load_masked(folder, 99)
    with pytest.raises(TeacherError, match="no folder of a masked"):
        load_masked(tmp_path / "nowhere", 24)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "x--y.Z"}}))
    with pytest.raises(UnsafeFileError, match="code of the folder"):
        load_masked(folder, 24)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(TeacherError, match="copy it there"):
        load_masked(folder, 24)
