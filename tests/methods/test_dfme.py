"""DFME where the teacher is only asked: what it pays is its formula, and its rule of 8 bits."""

from __future__ import annotations

import json

import pytest
import torch

import sansdata
from sansdata.contracts import Questions
from sansdata.engine.session import Session
from sansdata.errors import ConfigError, MethodError
from sansdata.methods.dfme import DFME
from sansdata.methods.index import find_method, method_config
from sansdata.objectives.estimate import Differences
from sansdata.runtime import Runtime
from sansdata.teachers.lending import Lender
from sansdata.testing.worlds import WORLDS

WORLD = WORLDS["image"]
TINY = {"latent": 16, "width": 8, "transfer": {"batch": 8}}


def service(tmp_path, lines: str = "inputs: float32") -> str:
    WORLD.save(tmp_path / "weights.safetensors")
    (tmp_path / "service.yaml").write_text(f"model: {WORLD.spec(tmp_path / 'weights.safetensors')}\n{lines}\n")
    return str(tmp_path / "service.yaml")


def session(options: dict, steps: int = 12, name: str = "dfme", teacher=None) -> Session:
    config = method_config(name, "default", {**TINY, **options})
    return Session(
        find_method(name), config, teacher or WORLD.teacher(), WORLD.student(), WORLD.task, Runtime(), 3, steps
    )


@pytest.mark.parametrize(
    "options",
    [
        {}, {"student_gradient": "estimated"}, {"estimate": {"directions": 600}},
        {"estimate": {"directions": 5, "scheme": "antithetic", "along": "orthogonal"}}, {"student_steps": 2},
    ],
)  # fmt: skip
@pytest.mark.parametrize("steps", [1, 7, 12])
def test_queries_are_those_of_the_formula(options, steps):
    at_work = session(options, steps)
    while at_work.context.progress.steps < steps:
        at_work.move()
    calls = DFME.questions(at_work.method.config, steps, lambda rows: Questions())
    assert at_work.context.counters["teacher_forwards"] == sum(rows * times for rows, times in calls.items())


def test_the_formula_is_the_papers():
    """Per iteration 256 * (1 * (1 + 1) + 5): the released budget."""
    calls = DFME.questions(DFME.Config(), 5, lambda rows: Questions())
    assert sum(rows * times for rows, times in calls.items()) == 256 * 7


def test_with_all_directions_the_generator_moves_as_by_autograd():
    """The exact student's part beside an estimate that is whole gives the gradient of the game itself."""
    whole = session({"estimate": {"directions": 64, "along": "coordinate", "scheme": "antithetic", "step": 1e-2}})
    game = session({})
    game.method.disagreement = lambda points: game.method.config.transfer.matching(  # type: ignore[attr-defined]
        game.context.student_outputs((1 + points.tanh()) / 2), game.context.teacher((1 + points.tanh()) / 2)
    )
    kept = []
    for one in (whole, game):
        one.runtime.step = lambda optimizer, clip=None: kept.append(  # type: ignore[method-assign]
            torch.cat([p.grad.flatten() for group in optimizer.param_groups for p in group["params"]])
        )
        one.move()
    assert torch.nn.functional.cosine_similarity(*kept, dim=0) > 0.99


def test_a_run_on_a_service_asks_what_was_said_before(tmp_path, capsys):
    result = sansdata.distill(
        service(tmp_path), WORLD.network, "dfme", "700queries", tmp_path / "run", 3,
        task=WORLD.task, strict=True, options=TINY,
    )  # fmt: skip
    said = capsys.readouterr().err
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert plan["queries"] == result.summary["cost"]["teacher_forwards"] <= 700
    assert f"queries   {plan['queries']:,} in " in said
    assert said.index("queries   ") < said.index("the service shows")
    spent = result.summary["service"]["samples"]
    most = int(said.partition("at most ")[2].split()[0].replace(",", ""))
    assert plan["queries"] < spent <= plan["queries"] + most


def test_a_step_that_rounding_swallows_is_refused_before_step_0(tmp_path):
    with pytest.raises(MethodError, match="rounding to 255 levels"):
        sansdata.distill(
            service(tmp_path, "inputs: png"), WORLD.network, "dfme", "5steps", tmp_path / "run", 3,
            task=WORLD.task, options={**TINY, "estimate": {"step": 1e-3}},
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_any_method_of_gradients_runs_on_scores(tmp_path):
    result = sansdata.distill(
        service(tmp_path), WORLD.network, "dfad", "8steps", tmp_path / "run", 3, task=WORLD.task, options=TINY,
        settings={"teacher_gradients": "estimate"},
    )  # fmt: skip
    assert result.summary["cost"]["teacher_forwards"] == 8 * 8 + 8 * 2  # one round with one direction
    again = json.loads((tmp_path / "run" / "run.json").read_text())
    assert again["teacher"]["access"] == "GRADIENTS"


def test_estimated_gradients_of_a_lender_point_as_the_true_ones_do():
    teacher, images = WORLD.teacher(), torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(4))

    def slope() -> torch.Tensor:
        moved = images.clone().requires_grad_()
        teacher(moved).logits.square().sum().backward()
        assert moved.grad is not None
        return moved.grad.flatten(1)

    own = slope()
    teacher.lend(Lender(Differences(64, 1e-2, "orthogonal", "antithetic")))
    assert torch.nn.functional.cosine_similarity(own, slope()).min() > 0.99


@pytest.mark.parametrize(
    ("lines", "how", "error", "reason"),
    [
        ("limits: {samples: 100}", {"budget": "700queries"}, ConfigError, "limit is 100"),
        ("", {"budget": "20s"}, ConfigError, "measured by asking"),
        ("", {"budget": "9queries"}, ConfigError, "ends before the first student step"),
        ("answers: labels", {"budget": "5steps"}, MethodError, "only its labels are there"),
    ],
)
def test_what_cannot_be_is_said_before_the_first_question(tmp_path, lines, how, error, reason, monkeypatch):
    monkeypatch.setattr("sansdata.teachers.service.simulated.Simulated.forward", None)
    with pytest.raises(error, match=reason):
        sansdata.distill(
            service(tmp_path, lines), WORLD.network, "dfme", out=tmp_path / "run", task=WORLD.task, options=TINY, **how
        )


def test_labels_lend_no_gradient(tmp_path):
    with pytest.raises(sansdata.errors.TeacherError, match="labels alone"):
        sansdata.distill(
            service(tmp_path, "answers: labels"), WORLD.network, "dfad", "5steps", tmp_path / "run", task=WORLD.task,
            options=TINY, settings={"teacher_gradients": "estimate"},
        )  # fmt: skip
