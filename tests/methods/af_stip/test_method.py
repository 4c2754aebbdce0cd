"""AF-STip's modes: what they read, what they refuse, and what the student is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from sansdata.engine.run import run
from sansdata.engine.session import Session
from sansdata.errors import ConfigError, MethodError
from sansdata.methods.af_stip import AFStip
from sansdata.methods.af_stip.grammar import Author
from sansdata.methods.af_stip.sources import wanted
from sansdata.methods.af_stip.vocabulary import words, write_tokenizer
from sansdata.methods.index import method_config
from sansdata.models.build import architecture_of, build
from sansdata.runtime import Runtime
from sansdata.settings import RunSettings
from sansdata.synthesis.words import Words
from sansdata.tasks import ClassesSpec, PairTask, TokensSpec
from sansdata.teachers.base import Teacher

pytest.importorskip("tokenizers")
CODE = """function f(uint a) {
msg.sender.call.value(a)();
0
-----
function g() {
require(msg.sender == owner);
1
-----
"""
SMALL: dict[str, Any] = {
    "iterations": 2, "batch": 8, "pool": 24, "steps_per_batch": 2, "choices": 3, "one_class": "allow",
    "transfer": {"batch": 6},
}  # fmt: skip


@pytest.fixture
def task(tmp_path: Path) -> PairTask:
    write_tokenizer(tmp_path / "tokenizer.json")
    inputs = TokensSpec(tokenizer=str(tmp_path / "tokenizer.json"), length=30)  # type: ignore[call-arg]
    return PairTask(inputs=inputs, outputs=ClassesSpec(classes=2, class_names=("sound", "weak")))


def network(name: str, task: PairTask, seed: int = 0, scale: float = 0.1) -> Any:
    torch.manual_seed(seed)
    architecture = architecture_of(name, task)
    return build({**architecture, "args": {**architecture["args"], "scale": scale}})


def session(task: PairTask, **options: Any) -> Session:
    teacher = network("fused-gru", task).eval()
    with torch.no_grad():
        teacher.head.bias.zero_()
    config = method_config("af-stip", "default", SMALL | options)
    student = network("gru", task, 1)
    return Session(AFStip, config, Teacher.from_module(teacher, task), student, task, Runtime(), 3, 20)


@pytest.mark.parametrize("mode", ["pure", "invert", "grammar", "resample", "perturb"])
def test_every_mode_teaches_and_the_student_keeps_the_teachers_words(mode: str, task: PairTask, tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text(CODE)
    made = session(task, mode=mode, **({"fragments": str(tmp_path / "real.txt")} if mode == "perturb" else {}))
    words_of: Any = made.context.teacher.module.get_submodule("embedding")
    before = {name: value.clone() for name, value in made.student.state_dict().items()}
    made.advance(6)
    after = made.student.state_dict()
    assert torch.equal(after["embedding.weight"], words_of.weight)
    assert not torch.equal(after["gru.weight_hh_l0"], before["gru.weight_hh_l0"])
    assert made.last_batch is not None
    assert ("vectors" in made.last_batch.inputs) == (mode in ("pure", "invert", "perturb"))


def test_the_loss_is_the_divergence_and_the_teachers_class(task: PairTask) -> None:
    made = session(task, mode="pure", alpha=0.6, transfer={"batch": 6, "temperature": 3.0})
    while made.last_batch is None:
        made.move()
    batch = made.last_batch
    logits = made.student_forward(batch.inputs).logits.double()
    known = batch.answers().logits.double()
    kl = 9 * F.kl_div((logits / 3).log_softmax(1), (known / 3).softmax(1), reduction="batchmean")
    wanted = 0.6 * kl + 0.4 * F.cross_entropy(logits, known.argmax(1))
    got = made.method.student_loss(lambda _: type(batch.answers())(logits), batch).total()
    assert torch.allclose(got.double(), wanted, atol=1e-5)


def test_a_teacher_that_calls_all_the_same_is_refused_with_the_counts(task: PairTask) -> None:
    made = session(task, mode="grammar", one_class="refuse")
    made.context.teacher.module.get_submodule("head").bias.data[0] = 50  # type: ignore[union-attr, operator]
    with pytest.raises(MethodError, match=r"100 % the same \(sound 8, weak 0\)"):
        made.advance(2)


def strict_run(task: PairTask, out: Path, **options: Any) -> dict[str, Any]:
    teacher = Teacher.from_module(network("fused-gru", task).eval(), task)
    settings = RunSettings.model_validate(
        {
            "method": "af-stip", "task": task.model_dump(mode="json"), "options": SMALL | options, "budget": "4steps",
            "strict": True, "device": "cpu",
            "threads": torch.get_num_threads(), "engine": {"snapshots": 1, "sample_grids": 1},
        }
    )  # fmt: skip
    run(settings, out, teacher, network("gru", task, 1))
    return json.loads((out / "ledger.json").read_text())


def test_pure_mode_opens_no_data_file_and_perturb_says_that_it_does(task: PairTask, tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text(CODE)
    pure = strict_run(task, tmp_path / "pure", mode="pure")
    assert pure["violations"] == []
    assert not any("real.txt" in entry["path"] or "uses_real_data" in entry["role"] for entry in pure["files"])
    perturbed = strict_run(task, tmp_path / "perturb", mode="perturb", fragments=str(tmp_path / "real.txt"))
    assert perturbed["violations"] == []
    (real,) = [entry for entry in perturbed["files"] if entry["path"].endswith("real.txt")]
    assert "uses_real_data" in real["role"]


def test_a_mode_that_cannot_work_is_refused(task: PairTask, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="perturb"):
        method_config("af-stip", "default", {"mode": "perturb"})
    with pytest.raises(ConfigError, match="perturb"):
        method_config("af-stip", "default", {"fragments": "real.txt"})
    bare = PairTask(inputs=TokensSpec(vocabulary=50, length=30), outputs=ClassesSpec(classes=2))
    with pytest.raises(MethodError, match="no tokenizer"):
        session(bare, mode="grammar")
    teacher = Teacher.from_module(network("fused-gru", task).eval(), task)
    config = method_config("af-stip", "default", {"mode": "pure"})
    with pytest.raises(MethodError, match="teacher's width"):
        Session(AFStip, config, teacher, network("bag", task), task, Runtime(), 3, 20)


def test_of_what_was_written_the_wanted_classes_are_taken() -> None:
    classes, targets = torch.tensor([0, 0, 1, 0, 0, 1, 0, 0]), torch.tensor([1, 0, 0, 1])
    assert sorted(wanted(classes, targets).tolist()) == [0, 1, 2, 5]
    assert wanted(torch.tensor([0, 0, 0, 1, 0]), torch.tensor([1, 1, 1, 0])).tolist() == [0, 3, 1, 2]


def test_the_grammar_writes_varied_code_of_known_words() -> None:
    author, known = Author(torch.Generator().manual_seed(0)), set(words())
    written = [author.fragment() for _ in range(60)]
    assert len(set(written)) == 60
    tokens = [token for fragment in written for token in fragment.split()]
    assert sum(token not in known for token in tokens) < 0.02 * len(tokens)
    assert any(". call . value (" in fragment for fragment in written)
    assert any("call . value" not in fragment for fragment in written)
    again = Author(torch.Generator().manual_seed(0))
    assert [again.fragment() for _ in range(60)] == written


def test_inverted_vectors_are_drawn_to_the_words_that_are_nearest_now(
    task: PairTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.Tensor] = []
    nearest = Words.nearest

    def recorded(self: Words, vectors: torch.Tensor, mask: torch.Tensor, count: int) -> torch.Tensor:
        asked.append(vectors.clone())
        return nearest(self, vectors, mask, count)

    monkeypatch.setattr(Words, "nearest", recorded)
    session(task, mode="invert", iterations=3).move()
    assert not torch.equal(asked[0], asked[1])
    assert not torch.equal(asked[1], asked[2])
