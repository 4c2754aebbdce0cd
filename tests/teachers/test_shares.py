"""A teacher whose weights are shared out: it answers as before, and a run of it is a run like any other."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import CASES
from processes import distil, nursery, start_pair
from tiny import ENGINE, Tiny, differing, make_module, make_table_task, make_task, student_of

import sansdata
from sansdata.config import dump_yaml
from sansdata.errors import ConfigError, TeacherError
from sansdata.models.sharded import is_sharded
from sansdata.runtime import Runtime
from sansdata.teachers.base import Teacher
from sansdata.teachers.shares import asked_by_the_first, share_out
from sansdata.teachers.writers.base import GENERATES, Decoding
from sansdata.teachers.writers.causal import Causal, Letters
from sansdata.teachers.writers.journalled import Journalled

SHARES = "teacher_shards=processes"


def classifier_of_texts(folder: Path, transformers: Any) -> Path:
    """A random BERT over the ids of a task without a tokenizer; gives the task's file."""
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32, num_labels=2,
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained(folder / "bert", safe_serialization=True)
    task = folder / "task.yaml"
    task.write_text("kind: text-classification\nvocabulary: 20\nlength: 10\nclasses: 2\n")
    return task


def language_model(transformers: Any) -> Causal:
    """A random GPT-2 of a few thousand numbers."""
    config = transformers.GPT2Config(
        vocab_size=18, n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=1
    )
    letters = Letters(lambda text: [2 + len(text) % 16], lambda ids: " ".join(map(str, ids)), 0, (1,))
    return Causal(transformers.GPT2LMHeadModel(config), letters, "tiny", "0", 64)


def pair(config: Path, out: Path, *flags: str, before: list[tuple] | None = None, code: int = 0) -> None:
    jobs = start_pair(config, out, *flags, before=before)
    assert [job.wait() for job in jobs] == [code, code], jobs[0].output + jobs[1].output


def test_students_learn_as_from_a_whole_teacher(tiny: Tiny, tmp_path: Path) -> None:
    """To what sums in another order change in eight steps; and what the first process alone does, it can do."""
    config = tiny.config(tiny.settings("noise", CASES["noise"].options), folder=tmp_path)
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    pair(config, whole)
    pair(config, shared, SHARES)
    mine, other = student_of(shared), student_of(whole)
    for name, value in other.items():
        torch.testing.assert_close(mine[name], value, rtol=1e-3, atol=1e-5)
    manifests = [json.loads((out / "run.json").read_text()) for out in (whole, shared)]
    assert manifests[0]["teacher"] == manifests[1]["teacher"]
    assert "37,436 of its 74,612" in (shared / "events.log").read_text()
    summaries = [json.loads((out / "summary.json").read_text()) for out in (whole, shared)]
    assert summaries[1]["agreement"]["last"] == pytest.approx(summaries[0]["agreement"]["last"], abs=0.02)


@pytest.mark.parametrize("name", ["fm", pytest.param("deepinversion", marks=pytest.mark.long)])
def test_gradients_and_statistics_pass_through_shares(name: str, tiny: Tiny, tmp_path: Path) -> None:
    """Methods that go through the teacher stop and resume bitwise."""
    case = CASES[name]
    config = tiny.config(tiny.settings(name, case.options), folder=tmp_path)
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    pair(config, straight, SHARES)
    pair(config, stopped, SHARES, before=[("stop_after_move", case.stops[0])], code=75)
    pair(config, stopped, SHARES, "--resume")
    assert differing(student_of(stopped), student_of(straight)) == []


class TestDevices:
    """Layers laid over what this machine has: the processor, to which each layer's inputs are brought as to any
    device."""

    @pytest.fixture(autouse=True)
    def accelerate(self) -> None:
        pytest.importorskip("accelerate")

    def test_answers_gradients_and_statistics_are_as_before(self) -> None:
        teacher, whole = (Teacher.from_module(make_module(), make_task()) for _ in range(2))
        notes = share_out(teacher, "devices", Runtime())
        assert is_sharded(teacher.module)
        assert not is_sharded(whole.module)
        assert "is shared out" in notes[0]
        images = torch.rand(4, 1, 8, 8, requires_grad=True)
        taps = [f"{whole.inside.batch_norms[1]}:in"]
        ours, theirs = teacher(images, taps), whole(images, taps)
        torch.testing.assert_close(ours.logits, theirs.logits)
        torch.testing.assert_close(ours.taps[taps[0]], theirs.taps[taps[0]])
        slopes = [torch.autograd.grad(answer.logits.square().sum(), images)[0] for answer in (ours, theirs)]
        torch.testing.assert_close(*slopes)
        assert teacher.fingerprint() == whole.fingerprint()
        assert teacher.parameters == whole.parameters

    def test_of_several_each_keeps_its_own_fingerprint(self) -> None:
        teachers = [
            Teacher.from_module(make_module(seed=0), make_task()).helped_by(
                [Teacher.from_module(make_module(seed=1), make_task())]
            )
            for _ in range(2)
        ]
        share_out(teachers[0], "devices", Runtime())
        assert teachers[0].fingerprint() == teachers[1].fingerprint()
        assert not teachers[0].asked_jointly

    def test_a_run_of_it_is_a_run_like_any_other(self, tiny: Tiny, tmp_path: Path) -> None:
        config = tiny.config(tiny.settings("fm", CASES["fm"].options), folder=tmp_path)
        whole, laid = tmp_path / "whole", tmp_path / "laid"
        assert distil(config, whole).code == 0
        job = distil(config, laid, "teacher_shards=devices")
        assert job.code == 0, job.output
        assert job.stray_writes == []
        assert json.loads((laid / "ledger.json").read_text())["violations"] == []
        for name, value in student_of(whole).items():
            torch.testing.assert_close(student_of(laid)[name], value, rtol=1e-2, atol=1e-3)

    def test_a_language_model_writes_the_same(self, tmp_path: Path, transformers: Any) -> None:
        writer = language_model(transformers)
        teacher = Teacher.from_module(make_module(), make_task())
        teacher.capabilities = {GENERATES: Journalled(writer, tmp_path / "journal")}
        texts = [writer.generate(["ab", "c"], torch.Generator().manual_seed(0), Decoding(new_tokens=8))]
        share_out(teacher, "devices", Runtime())
        assert is_sharded(writer.model)
        texts.append(writer.generate(["ab", "c"], torch.Generator().manual_seed(0), Decoding(new_tokens=8)))
        assert texts[0] == texts[1]


def test_a_writer_writes_in_its_own_time(transformers: Any) -> None:
    teacher = Teacher.from_module(make_module(), make_task())
    teacher.capabilities = {GENERATES: language_model(transformers)}
    with pytest.raises(TeacherError, match="teacher_shards=devices"):
        share_out(teacher, "processes", Runtime(world=2))


def test_devices_are_those_of_one_process() -> None:
    with pytest.raises(ConfigError, match="each of 2 processes would"):
        share_out(Teacher.from_module(make_module(), make_task()), "devices", Runtime(world=2))


def test_what_is_only_asked_has_nothing_to_share() -> None:
    teacher = Teacher.from_scores(lambda rows: torch.full((len(rows), 4), 0.25).numpy(), make_table_task())
    with pytest.raises(TeacherError, match="no weights here"):
        share_out(teacher, "devices", Runtime())


def test_a_teacher_in_memory_saves_no_room(tmp_path: Path) -> None:
    teacher = Teacher.from_module(make_module(), make_task())
    with pytest.raises(ConfigError, match="in memory already"):
        sansdata.distill(teacher, out=tmp_path / "run", settings={"teacher_shards": "devices"})


def test_the_first_process_of_one_is_alone() -> None:
    with asked_by_the_first(Teacher.from_module(make_module(), make_task()), Runtime()) as alone:
        assert alone


def test_deepspeed_answers_as_the_whole_does(tmp_path: Path, transformers: Any) -> None:
    """Where it is installed: a text classifier in strips, of which no gradient is to be had."""
    pytest.importorskip("deepspeed")
    task = classifier_of_texts(tmp_path, transformers)
    settings = {
        "teacher": str(tmp_path / "bert"), "task": str(task), "student": "bilstm", "method": "noise",
        "budget": "4steps", "threads": 1, "device": "cpu", "precision": "fp32", "engine": ENGINE,
    }  # fmt: skip
    config = tmp_path / "settings.yaml"
    config.write_text(dump_yaml(settings))
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    sound = [("no_shared_memory_of_deepspeed",)]
    pair(config, whole, before=sound)
    pair(config, shared, "teacher_shards=deepspeed", before=sound)
    for name, value in student_of(whole).items():
        torch.testing.assert_close(student_of(shared)[name], value, rtol=1e-3, atol=1e-5)
    assert json.loads((shared / "run.json").read_text())["teacher"]["access"] == "SCORES"


def test_one_process_has_nothing_to_share_with(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config(tiny.settings("noise", CASES["noise"].options), folder=tmp_path)
    job = nursery().run(["distill", "--config", config, "--out", tmp_path / "run", SHARES], tmp_path)
    assert job.code == 2, job.output
    assert "torchrun" in job.output


def test_the_vaccine_copies_no_share(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config(tiny.settings("fm", CASES["fm"].options), folder=tmp_path)
    jobs = start_pair(config, tmp_path / "run", SHARES, "defence=vaccine")
    assert [job.wait() for job in jobs] == [2, 2], jobs[0].output
    assert "it copies the teacher" in jobs[0].output


@pytest.mark.long
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_takes_its_share_with_it(killed: int, tiny: Tiny, tmp_path: Path) -> None:
    """The other says so, and both continue."""
    config = tiny.config(tiny.settings("fm", CASES["fm"].options), folder=tmp_path)
    out, straight = tmp_path / "run", tmp_path / "straight"
    pair(config, straight, SHARES)
    jobs = start_pair(config, out, SHARES, "engine.checkpoint_seconds=1e-6", before=[("slow_moves", 0.2)])
    jobs[0].wait_until(lambda: (out / "checkpoints" / "LATEST").exists())
    jobs[killed].signal(signal.SIGKILL)
    assert jobs[1 - killed].wait(60) == 1
    assert "has ended" in jobs[1 - killed].output
    assert "Traceback" not in jobs[1 - killed].output
    jobs[killed].wait()
    pair(config, out, SHARES, "--resume")
    assert differing(student_of(out), student_of(straight)) == []


def test_a_process_that_ends_in_the_middle_of_a_pass_is_named(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny.config(tiny.settings("noise", CASES["noise"].options), folder=tmp_path)
    jobs = start_pair(config, tmp_path / "run", SHARES, before=[("end_in_a_pass_of_the_second", 5)])
    assert jobs[1].wait() == 9
    assert jobs[0].wait() == 1
    assert "has ended" in jobs[0].output
    assert "Traceback" not in jobs[0].output
