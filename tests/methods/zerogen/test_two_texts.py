"""Second texts, written to first ones that are given or written: what the student sees of both, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sansdata.api.vocabulary import write_vocabulary
from sansdata.config import dump_yaml
from sansdata.engine.session import Session
from sansdata.errors import ConfigError, TeacherError
from sansdata.figures import values
from sansdata.kinds.index import input_kind
from sansdata.methods.auto import choose_method
from sansdata.methods.index import method_config
from sansdata.methods.zerogen import ZeroGen
from sansdata.models.build import architecture_of, build
from sansdata.runtime import Runtime
from sansdata.tasks import PairTask, Prompts, TwoTextsSpec
from sansdata.teachers.writers.cached_ngram import KIND, CachedNGrams
from sansdata.teachers.writers.files import save_writer
from sansdata.teachers.writers.prompted import Prompted, prompts_for
from sansdata.teachers.writers.teacher import teacher_of
from sansdata.teachers.writers.vocabulary import tokenizer_of
from sansdata.testing.worlds import WORLDS

WORDS = [f"w{number}" for number in range(30)]


def pairs(count: int, seed: int) -> list[tuple[str, str, int]]:
    """(first, second, class): the second says words of the first, or none of them. Alone it says nothing."""
    random, rows = np.random.default_rng(seed), []
    for number in range(count):
        order = random.permutation(WORDS)
        own, others = order[:8], order[8:16]
        rows.append((" ".join(own), " ".join((own if number % 2 == 0 else others)[:5]), number % 2))
    return rows


def task_of(folder: Path) -> PairTask:
    (folder / "words.json").write_bytes(tokenizer_of(WORDS, 40, words="spaces"))
    inputs = TwoTextsSpec(vocabulary=40, length=8, first_length=8, tokenizer=str(folder / "words.json"))
    return PairTask.model_validate(
        {"inputs": inputs, "outputs": {"kind": "classes", "classes": 2, "class_names": ["about", "beside"]}}
    )


def session_of(task: PairTask, writer: Any, options: dict[str, Any], steps: int = 10) -> Session:
    config = method_config("zerogen", "default", {"texts": 40, "chunk": 20, "min_words": 3, "near": 1, **options})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        student = build(architecture_of("siamese-bag", task))
    return Session(ZeroGen, config, teacher_of(writer, task), student, task, Runtime(), 0, steps)


def written(session: Session) -> ZeroGen:
    while session.method.next_move() == "acquire":
        session.move()
    assert isinstance(session.method, ZeroGen)
    return session.method


def test_a_student_of_written_second_texts_judges_real_pairs(tmp_path: Path) -> None:
    """Only the first text tells the classes apart; shuffled labels are the floor."""
    task, real = task_of(tmp_path), pairs(400, seed=1)
    writer = CachedNGrams.fitted(pairs(400, seed=0), task.class_names)
    firsts = tmp_path / "firsts.txt"
    firsts.write_text("\n".join(first for first, _, _ in pairs(400, seed=2)))
    kind: Any = input_kind(task)
    inputs = kind.read([first for first, _, _ in real], [second for _, second, _ in real])
    labels = torch.tensor([label for _, _, label in real])
    right = {}
    for shuffled in (False, True):
        options = {"texts": 800, "chunk": 400, "contexts": str(firsts), "shuffled": shuffled, "min_words": 2}
        session = session_of(task, writer, {**options, "transfer": {"batch": 64, "lr": 0.01}}, steps=200)
        while session.context.progress.steps < 200:
            session.move()
        with torch.no_grad():
            said = session.context.network.around(session.student.eval())(inputs).logits.argmax(1)
        right[shuffled] = float((said == labels).float().mean())
    assert right[False] > 0.75
    assert right[True] < 0.65


def test_each_text_is_learned_behind_the_first_text_that_it_was_written_to(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    writer = CachedNGrams.fitted(pairs(60, seed=0), task.class_names)
    firsts = tmp_path / "firsts.txt"
    given = [first for first, _, _ in pairs(10, seed=2)]
    firsts.write_text("\n".join(given))
    method = written(session_of(task, writer, {"contexts": str(firsts), "per_context": 2}))
    assert ZeroGen.reads(method.config) == {firsts: "contexts"}
    assert set(method.written.contexts) == set(given)
    wanted = input_kind(task).read(method.written.contexts, method.written.texts)  # type: ignore[attr-defined]
    packed: Any = method.pool.packed()
    assert all(torch.equal(packed[name], column) for name, column in wanted.items())
    assert values(method.findings())["first_texts_given"] == 1
    seen = method.reading.with_unknown(packed, 0.5, torch.Generator().manual_seed(0))
    assert isinstance(seen, dict)
    assert method.reading.tokenizer is not None
    for ids, mask in (("first", "first_mask"), ("second", "second_mask")):
        hidden = (seen[ids] == method.reading.tokenizer.unknown) & packed[mask]
        assert float(hidden.sum() / packed[mask].sum()) == pytest.approx(0.5, abs=0.1)
    assert torch.equal(method.reading.lengths(packed), packed["second_mask"].sum(1))


def test_first_texts_are_written_where_none_are_given(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    writer = CachedNGrams.fitted(pairs(60, seed=0), task.class_names)
    method = written(session_of(task, writer, {"context_decoding": {"new_tokens": 8}}))
    assert len(set(method.written.contexts)) > 5
    assert all(set(about.split()) <= set(WORDS) for about in method.written.contexts)
    assert values(method.findings())["first_texts_given"] == 0
    assert choose_method(teacher_of(writer, task), on_cpu=True).method == "zerogen"


def test_the_writer_judges_a_text_by_its_first_text(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    writer, real = CachedNGrams.fitted(pairs(200, seed=0), task.class_names), pairs(100, seed=1)
    firsts, seconds, labels = zip(*real)
    scores = Prompted(writer, task).of_texts(seconds, firsts)
    for place, name in enumerate(task.class_names):
        asked = [f"{name}\n{first}" for first in firsts]
        assert torch.equal(scores[:, place], writer.score(asked, seconds)[0])
    assert float((scores.argmax(1) == torch.tensor(labels)).float().mean()) > 0.95
    kind: Any = input_kind(task)
    assert torch.equal(teacher_of(writer, task)(kind.read(firsts, seconds)).logits, scores)


def test_what_cannot_write_second_texts_is_refused(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    plain: Any = WORLDS["writer"]
    with pytest.raises(TeacherError, match="reads no first text"):
        prompts_for(plain.writer(), task)

    class Reader:
        source, needs_prompts, reads_contexts, scores = "a reader", True, True, False

    reader: Any = Reader()
    for prompts, message in (
        (Prompts(text="{label}: "), "which the text prompt does not show"),
        (Prompts(text="{context} {label}: "), "label prompt has no"),
    ):
        told = task.model_copy(update={"inputs": task.inputs.model_copy(update={"prompts": prompts})})
        with pytest.raises(TeacherError, match=message):
            prompts_for(reader, told)


def test_a_vocabulary_has_the_words_of_first_texts_too(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    writer = CachedNGrams.fitted(pairs(60, seed=0), task.class_names)
    save_writer(tmp_path / "writer.safetensors", KIND, writer.classes, writer.vocabulary, writer.tensors())
    fields = {"kind": "two-text-classification", "tokenizer": "made.json", "length": 8, "first_length": 8,
              "classes": 2, "class_names": list(task.class_names)}  # fmt: skip
    (tmp_path / "task.yaml").write_text(dump_yaml(fields))
    firsts = tmp_path / "firsts.txt"
    firsts.write_text("rare words\nnobody says")
    done = write_vocabulary(str(tmp_path / "writer.safetensors"), tmp_path / "task.yaml", texts=50, contexts=firsts)
    made = (tmp_path / "made.json").read_text()
    assert all(f'"{word}"' in made for word in ("rare", "nobody", "w1"))
    assert done.texts == 50
    made = write_vocabulary(str(tmp_path / "writer.safetensors"), tmp_path / "task.yaml", texts=10)
    (tmp_path / "made.json").write_text((tmp_path / "made.json").read_text().replace("WordLevel", "BPE"))
    with pytest.raises(ConfigError, match=r"made\.json: is there already"):
        write_vocabulary(str(tmp_path / "writer.safetensors"), tmp_path / "task.yaml", texts=10)
    assert made.texts == 10
