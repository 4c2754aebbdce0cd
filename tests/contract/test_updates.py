"""What every pair of a method and an update keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from cases import CASES, IMAGE_ROWS, ONE_SHAPE, rows
from processes import distil
from tiny import (
    Tiny,
    differing,
    make_pool,
    make_student,
    make_task,
    make_teacher,
    method_of,
    needs_pool,
    student_of,
    tensors,
    world_of,
)

from sansdata.engine.session import Session
from sansdata.methods.index import find_method, method_config
from sansdata.runtime import Runtime
from sansdata.settings import FeatureTerms, RetainSettings, RetrospectSettings, RunSettings, VaccineSettings

MODES = [*get_args(RetainSettings.model_fields["mode"].annotation), "vae"]
"""Of looking ahead, from stored images; and the exact one from generative replay."""
FILLED = 4
"""Student steps after which the memory holds something and is used, of 8."""


RETAINING = [name for name, case in sorted(CASES.items()) if case.retains and case.one_shape]
"""Generators, of pictures and of latents, a meta model of a panel and images of several sizes are refused."""
VAE = {"memory": "vae", "vae": {"latent": 6, "width": 4, "steps": 2}}


def kind_of(mode: str) -> dict[str, Any]:
    return VAE if mode == "vae" else {"mode": mode}


def make_session(name: str, mode: str, runtime: Runtime | None = None, **retain: Any) -> Session:
    """With a hint, whose regressors the update must train as well."""
    config, world = method_config(method_of(name), "default", CASES[name].options), world_of(name)
    settings = RetainSettings.model_validate({"pushes": 4, "slots": 2, "share": 0.5} | kind_of(mode) | retain)
    return Session(
        find_method(method_of(name)), config, world.teacher(), world.student(), world.task, runtime or Runtime(), 7, 8,
        {"retain": settings} | ({"features": FeatureTerms(hint=0.1)} if name in IMAGE_ROWS else {}),
        make_pool() if needs_pool(name) else None,
    )  # fmt: skip


def advance_to(session: Session, steps: int) -> None:
    while session.context.progress.steps < steps:
        session.move()


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param(*row.values, mode, marks=row.marks)
        for mode in MODES
        for row in rows(name for name in RETAINING if mode != "vae" or name in IMAGE_ROWS)  # its replay is of images
    ],
)
def test_every_method_learns_and_retains(name: str, mode: str) -> None:
    session = make_session(name, mode)
    start = {key: value.clone() for key, value in session.student.state_dict().items()}
    advance_to(session, 8)
    after = session.student.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    still = tuple(key for key, value in after.items() if torch.equal(value, start[key]))
    assert still == CASES[name].frozen, "not trained"
    memory = session.updates[-1].state()["memory"].state_dict()
    assert memory["count" if mode == "vae" else "pushed"] >= 4


@pytest.mark.parametrize("name", ["cae-dfkd", "kd3"])
@pytest.mark.parametrize(("mode", "at_theta"), [("replay", False), ("exact", False), ("exact", True)])
def test_a_method_keeps_its_own_terms_on_the_new_inputs(name: str, mode: str, at_theta: bool) -> None:
    """Their contrast, which comes with the batch, is in every step, also where older images join it."""
    session, contrasts = make_session(name, mode, at_theta=at_theta), []
    while session.context.progress.steps < 8:
        kind, losses = session.move()
        if kind == "transfer":
            contrasts.append("contrast" in losses.terms)
    assert contrasts == [True] * 8


@pytest.mark.parametrize("mode", ["exact", *(pytest.param(mode, marks=pytest.mark.long) for mode in ("replay", "vae"))])
@pytest.mark.parametrize("name", rows(ONE_SHAPE))
def test_every_method_retains_under_the_whole_defence(name: str, mode: str) -> None:
    """The update takes the steps until retrospection does; the vaccine judges throughout."""
    config, steps = method_config(name, "default", CASES[name].options), {}
    parts = {
        "vaccine": VaccineSettings(), "retrospect": RetrospectSettings(share=0.25, rounds=2, marked=0.5),
        "retain": RetainSettings.model_validate({"pushes": 4, "slots": 2, "share": 0.5} | kind_of(mode)),
    }  # fmt: skip
    session = Session(
        find_method(name), config, make_teacher(), make_student(), make_task(), Runtime(), 7, 8, parts,
        make_pool() if needs_pool(name) else None,
    )  # fmt: skip
    while session.context.progress.steps < 8:
        step = session.context.progress.steps
        kind, losses = session.move()
        if kind == "transfer":
            steps[step] = "retrospect" in losses.terms
    assert list(steps.values()) == [False] * 6 + [True] * 2
    assert session.context.counters["vaccine_judged"] > 0
    assert all(torch.isfinite(value).all() for value in session.student.state_dict().values())


@pytest.mark.parametrize("mode", MODES)
def test_retaining_changes_the_student_only_once_something_is_stored(mode: str) -> None:
    config = method_config("dfad", "default", CASES["dfad"].options)
    plain = Session(
        find_method("dfad"),
        config,
        make_teacher(),
        make_student(),
        make_task(),
        Runtime(),
        7,
        8,
        {"features": FeatureTerms(hint=0.1)},
    )
    retaining = make_session("dfad", mode)
    same = []
    for step in range(1, 9):
        advance_to(plain, step)
        advance_to(retaining, step)
        same.append(differing(dict(plain.student.state_dict()), dict(retaining.student.state_dict())) == [])
    assert same[0]
    assert not any(same[FILLED:])


@pytest.mark.parametrize("mode", MODES)
def test_reduced_precision(mode: str) -> None:
    session = make_session("dfad", mode, Runtime("cpu", "bf16"))
    advance_to(session, 8)
    assert all(torch.isfinite(value).all() for value in session.student.state_dict().values())


@pytest.mark.parametrize(
    ("name", "memory"),
    [("dafl", {}), pytest.param("fm", {}, marks=pytest.mark.long), ("zskt", VAE)],
    ids=["dafl", "fm", "zskt-vae"],
)
def test_resume_in_a_new_process_is_bitwise_the_uninterrupted_run(
    name: str, memory: dict[str, Any], tiny: Tiny, tmp_path: Path
) -> None:
    retain = {"pushes": 4, "slots": 2, "share": 0.5} | memory
    settings = RunSettings.model_validate(
        tiny.settings(name, CASES[name].options).model_dump() | {"update": "retain", "retain": retain}
    )
    config = tiny.config(settings, folder=tmp_path)
    whole, out = tmp_path / "whole", tmp_path / "run"
    assert distil(config, whole, before=[("no_report",)]).code == 0
    assert distil(config, out, before=[("stop_after_move", CASES[name].stops[2]), ("no_report",)]).code == 75
    kept = tensors(next((out / "checkpoints").glob("step-*/rank-0.safetensors")))
    assert any(key.startswith("update.") for key in kept), "stopped before anything was stored"
    resumed = distil(config, out, "--resume", before=[("no_report",)])
    assert resumed.code == 0, resumed.output
    assert differing(student_of(whole), student_of(out)) == []
