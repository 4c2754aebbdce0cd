"""NAYER: what is drawn anew and when, embeddings of one's own, and the order of rounds and calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import distil
from tiny import CLASSES, Tiny, differing, make_student, make_task, make_teacher, student_of

from sansdata.engine.run import run
from sansdata.engine.session import Session
from sansdata.errors import ConfigError
from sansdata.methods.index import method_config
from sansdata.methods.nayer import NAYER
from sansdata.runtime import Runtime

OPTIONS = {
    "iterations": 4, "chunk": 4, "latent": 6, "width": 4, "batch": 8, "warmup_rounds": 2, "warmup_calls": 3,
    "calls": 2, "generator_life": 100, "steps_per_round": 2, "pool": 100, "transfer": {"batch": 8},
}  # fmt: skip


def session(**more: Any) -> Session:
    config = method_config("nayer", "default", OPTIONS | more)
    return Session(NAYER, config, make_teacher(), make_student(), make_task(), Runtime(), 7, 10)


def method(one: Session) -> NAYER:
    assert isinstance(one.method, NAYER)
    return one.method


def test_rounds_and_calls_are_those_of_the_plan() -> None:
    one = session()
    kinds = "".join(one.move()[0][0] for _ in range(6 + 3 * 4))
    assert kinds == "a" * 6 + "aatt" * 3
    assert NAYER.plan(one.method.config, 6) == {"acquire": 12, "transfer": 6}


def test_the_student_is_asked_only_after_the_warm_up() -> None:
    one = session()
    terms = [set(one.move()[1].terms) for _ in range(8)]
    assert terms[:6] == [{"ce", "bn"}] * 6
    assert terms[6:] == [{"ce", "bn", "adversarial"}] * 2


@pytest.mark.parametrize("redraw", [True, False])
def test_the_noise_is_drawn_anew_at_each_call(redraw: bool) -> None:
    one = session(redraw=redraw)
    before = method(one).noisy.weight.detach().clone()
    one.move()
    moved = (method(one).noisy.weight - before).abs()
    if redraw:
        assert moved.mean() > 0.5
    else:  # four steps of Adam, no more
        assert moved.mean() > 0
        assert moved.max() <= 4 * 4e-3 * 1.5


def generators_over(moves: int, **more: Any) -> list[float]:
    """By how much the generator's first weight changes from call to call, at a rate of nothing."""
    one, steps = session(generator_lr=1e-12, **more), []
    last = method(one).generator.project.weight.detach().clone()
    while len(steps) < moves:
        if one.move()[0] == "acquire":
            now = method(one).generator.project.weight.detach().clone()
            steps.append((now - last).abs().max().item())
            last = now
    return steps


def test_the_generator_is_made_anew_every_so_many_rounds_counted_from_the_warm_up() -> None:
    anew = [i for i, step in enumerate(generators_over(6 + 8, generator_life=2)) if step > 1e-6]
    assert anew == [0, 6, 10]  # rounds of 3, 3, 2, 2, 2 and 2 calls: before the first, the third and the fifth


def test_classes_are_even_in_what_is_kept() -> None:
    one = session(batch=10)
    one.move()
    targets = method(one).pool.targets
    assert targets is not None
    counts = torch.bincount(targets[:10], minlength=CLASSES).tolist()
    assert sorted(counts) == [2, 2, 3, 3]


def test_without_a_file_the_embeddings_are_at_right_angles_and_follow_the_seed() -> None:
    rows = method(session()).noisy.embeddings
    assert rows.shape == (CLASSES, 512)
    assert torch.allclose(rows @ rows.T, torch.eye(CLASSES), atol=1e-5)
    assert torch.equal(rows, method(session()).noisy.embeddings)


# -- embeddings from a file


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "texts.npz"
    np.savez(path, embeddings=np.random.default_rng(0).normal(size=(CLASSES, 7)).astype(np.float32))
    return path


def test_embeddings_are_read_from_a_file(rows: Path) -> None:
    one = session(embeddings=str(rows))
    assert np.array_equal(method(one).noisy.embeddings.numpy(), np.load(rows)["embeddings"])
    one.advance(9)
    assert one.context.progress.steps == 1


def test_a_strict_run_declares_them_and_resumes(rows: Path, tiny: Tiny, tmp_path: Path) -> None:
    settings = tiny.settings("nayer", OPTIONS | {"embeddings": str(rows), "warmup_rounds": 0}, budget="4steps")
    run(settings, tmp_path / "whole")
    ledger = json.loads((tmp_path / "whole" / "ledger.json").read_text())
    assert ledger["violations"] == []
    assert [f["path"] for f in ledger["files"] if f["role"] == "embeddings"] == [str(rows.resolve())]
    config = tiny.config(settings, folder=tmp_path)
    stopped = distil(config, tmp_path / "run", before=[("stop_after_move", 5), ("no_report",)])
    assert stopped.code == 75, stopped.output
    assert distil(config, tmp_path / "run", "--resume", before=[("no_report",)]).code == 0
    assert differing(student_of(tmp_path / "whole"), student_of(tmp_path / "run")) == []


def test_wrong_embeddings_end_before_step_0(rows: Path, tiny: Tiny, tmp_path: Path) -> None:
    np.savez(rows, embeddings=np.ones((CLASSES + 1, 7)))
    for path, words in ((rows, r"expected one row per class, \(4, D\), got \(5, 7\)"), ("none.npz", "cannot be read")):
        settings = tiny.settings("nayer", OPTIONS | {"embeddings": str(path)}, budget="4steps")
        with pytest.raises(ConfigError, match=words):
            run(settings, tmp_path / "run")
        assert not (tmp_path / "run").exists()
