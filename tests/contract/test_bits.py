"""What every method keeps with a student at few bits."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
from cases import CASES, rows
from tiny import Tiny, differing, method_of, needs_pool, world_of

import sansdata
from sansdata.compress.few_bits import views
from sansdata.engine.run import run
from sansdata.engine.session import Session
from sansdata.errors import Interrupted
from sansdata.methods.index import find_method, method_config
from sansdata.models.saved import read_model
from sansdata.runtime import Runtime
from sansdata.settings import BitsSettings, FeatureTerms, RetainSettings, RetrospectSettings, VaccineSettings
from sansdata.teachers.specs import Model
from sansdata.testing.worlds import make_pool
from sansdata.training.few_bits import at_few_bits

LONG = pytest.mark.long
MOST = {1: 2, 2: 3, 4: 15}
LAST = {"noise/tokens", "noise/clips", "echo-dfkd/clips", "boot/noise", "udistil/transcripts", "fair4free/decoded"}
"""Rows whose student has no weighted layer but the one that answers, or, as cells of a ConvLSTM, none that runs by
itself; nor activations that are ReLUs."""
GATED = {"noise/spans", "zerogen-qa/asker"}
"""Rows whose student has gates besides its ReLUs: only its weights go to few bits."""


def bits_of(row: str, bits: str) -> BitsSettings:
    settings = BitsSettings.model_validate(bits).model_copy(update={"last": row in LAST})
    return settings.model_copy(update={"activations": None}) if row in GATED else settings


def session(row: str, bits: str, steps: int = 8, **parts: object) -> Session:
    world, settings = world_of(row), bits_of(row, bits)
    config = method_config(method_of(row), "default", CASES[row].options)
    student = world.student()
    if row not in LAST:
        student = at_few_bits(Model(student, None, "", None, world.task), settings).module
    return Session(
        find_method(method_of(row)), config, world.teacher(), student, world.task, Runtime(), 7, steps,
        {"bits": settings, **parts}, make_pool() if needs_pool(row) else None,
    )  # fmt: skip


def advance(one: Session, steps: int) -> None:
    while one.context.progress.steps < steps:
        one.move()


@pytest.mark.parametrize("bits", [pytest.param("w1", marks=LONG), pytest.param("w2", marks=LONG), "w4a4"])
@pytest.mark.parametrize("row", rows(sorted(CASES)))
def test_every_method_trains_a_student_at_few_bits(row: str, bits: str) -> None:
    one = session(row, bits)
    start = {path: weight.detach().clone() for path, _, weight in views(one.student)}
    assert start
    advance(one, 8)
    for path, seen, weight in views(one.student):
        assert torch.equal(weight, start[path]) == (not weight.requires_grad), f"{path} was not trained, or is given"
        shown = one.student.get_submodule(path).weight
        assert len(shown.unique()) <= MOST[seen.bits], "a weight that is not on the grid was seen"  # type: ignore[operator]
    assert all(torch.isfinite(value).all() for value in one.student.state_dict().values())


@pytest.mark.parametrize(
    ("row", "bits"),
    [
        ("tabkd/table", "w4a4"),
        ("zskt", "w2"),
        pytest.param("dafl", "w1", marks=LONG),
        pytest.param("fm", "w4a4", marks=LONG),
        pytest.param("kd3", "w2a4", marks=LONG),
    ],
)
def test_a_run_resumes_bitwise_and_releases_the_grid(row: str, bits: str, tiny: Tiny, tmp_path: Path) -> None:
    settings = tiny.settings(row, CASES[row].options, bits=bits, student=world_of(row).network)
    whole, out = tmp_path / "whole", tmp_path / "stopped"
    run(settings, whole)

    def stop(step: int, _: object) -> None:
        if step == 5:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        run(settings, out, on_step=stop)
    run(settings, out, resume=True)
    saved = [read_model(path / "student.safetensors") for path in (whole, out)]
    assert differing(saved[0].tensors, saved[1].tensors) == []
    assert saved[0].bits
    for name, width in saved[0].bits.items():
        assert len(saved[0].tensors[name].unique()) <= MOST[width]
    assert not any("parametrizations" in name for name in saved[0].tensors)
    assert json.loads((whole / "ledger.json").read_text())["violations"] == []


@pytest.mark.parametrize(
    ("row", "mode"),
    [
        ("dafl", "exact"),
        ("pool-kd", "replay"),
        *(
            pytest.param(*one, marks=LONG)
            for one in (("dafl", "first-order"), ("dafl", "replay"), ("pool-kd", "exact"), ("pool-kd", "first-order"))
        ),
    ],
)
def test_updates_and_defences_see_the_grid_too(row: str, mode: str) -> None:
    parts = {
        "vaccine": VaccineSettings(), "retrospect": RetrospectSettings(share=0.25, rounds=2, marked=0.5),
        "retain": RetainSettings.model_validate({"pushes": 4, "slots": 2, "share": 0.5, "mode": mode}),
        "features": FeatureTerms(hint=0.1),
    }  # fmt: skip
    one = session(row, "w2a2", **parts)
    advance(one, 8)
    assert all(torch.isfinite(value).all() for value in one.student.state_dict().values())
    assert all(len(one.student.get_submodule(path).weight.unique()) <= 3 for path, _, _ in views(one.student))  # type: ignore[operator]


def test_a_student_in_python_comes_back_at_few_bits(tmp_path: Path) -> None:
    world = world_of("noise")
    asked = {"bits": "w2a4", "threads": 1, "precision": "fp32"}
    given, options = world.student(), {"transfer": {"batch": 8}}
    result = sansdata.distill(
        world.teacher(), given, "noise", "3steps", tmp_path / "run", options=options, settings=asked
    )  # fmt: skip
    again = sansdata.load(tmp_path / "run", world.student()).student
    images = torch.rand(4, 1, 8, 8)
    assert not torch.equal(result.student(images), given.eval()(images))
    assert torch.equal(result.student(images), again(images))
    assert len(again.conv1.weight.unique()) == 3  # type: ignore[union-attr, operator]
    described = json.loads((tmp_path / "run" / "run.json").read_text())["student"]["bits"]
    assert set(described["weights"].values()) == {2}
    assert "linear" not in described["weights"]
    assert (described["activations"], described["places"]) == (4, 7)
    assert "weights 2 (7 layers), activations 4 (7 places)" in (tmp_path / "run" / "report.html").read_text()
