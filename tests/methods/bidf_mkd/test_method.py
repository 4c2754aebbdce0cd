"""BiDf-MKD: what it asks, how it recovers images, and both levels of its loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cases import CASES
from tiny import WORLDS
from torch import Tensor, nn

from sansdata.config import merged
from sansdata.contracts import Access, Outputs
from sansdata.engine.prepare import prepare
from sansdata.engine.session import Session
from sansdata.errors import ConfigError, MethodError
from sansdata.memory import Pool
from sansdata.methods.bidf_mkd import BiDfMKD, BiDfMKDConfig
from sansdata.methods.bidf_mkd.episodes import draw_episode
from sansdata.methods.index import method_config
from sansdata.objectives.logits import cross_entropy
from sansdata.runtime import Runtime
from sansdata.settings import RunSettings
from sansdata.tasks import ImageTask
from sansdata.teachers.base import Teacher
from sansdata.teachers.panel import Api, Panel

WORLD: Any = WORLDS["panel"]
OPTIONS = CASES["bidf-mkd/panel"].options


def make_session(panel: Panel | None = None, steps: int = 8, seed: int = 3, **options: Any) -> Session:
    config = method_config("bidf-mkd", "default", merged(OPTIONS, options))
    return Session(BiDfMKD, config, panel or WORLD.teacher(), WORLD.student(), WORLD.task, Runtime(), seed, steps)


def method_of(session: Session) -> BiDfMKD:
    assert isinstance(session.method, BiDfMKD)
    return session.method


class Bright(nn.Module):
    """Three classes by the brightness of the left, middle and right third of an image, smoothly."""

    def forward(self, x: Tensor) -> Tensor:
        thirds = [part.flatten(1).mean(1) for part in x.tensor_split(3, dim=3)]
        return 4 * torch.stack(thirds, 1) + 0.3 * torch.stack(thirds, 1).square()


def bright_panel(most: Access = Access.SCORES) -> Panel:
    task = ImageTask(shape=(1, 8, 8), classes=3, mean=(0.5,), std=(0.25,))
    api = Api("bright", Teacher.from_module(Bright(), task), ("left", "middle", "right"))
    return Panel([api], (1, 8, 8), (0.5,), (0.25,), most)


def test_the_released_distance_is_a_sum_over_classes() -> None:
    session = make_session(distance="l1", boundary=1.0)
    one, other = torch.tensor([[3.0, 0.5, 0.0]]), torch.tensor([[2.0, 0.0, -1.0]])
    recovery: Any = method_of(session).recovery
    assert float(recovery._near_boundary(one, other)) == pytest.approx(-2.5)


def test_a_generator_is_stepped_by_its_own_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process draws one of its own: the mean of gradients of other generators is none of its gradients."""
    session = make_session()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a step of all processes")

    monkeypatch.setattr(Runtime, "step", refuse)
    kind, _ = session.move()
    assert kind == "acquire"


# -- queries


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, 1), ({"scheme": "antithetic", "held_out": 0}, 4), ({"recovery": "exact", "held_out": 0}, 4),
        ({"tasks": 2, "iterations": 3, "chunk": 2, "boundary": 0.0}, 4), ({"distil_updates": 0, "replay": 3}, 3),
    ],
)  # fmt: skip
def test_the_counter_is_the_formula(options: dict[str, Any], steps: int) -> None:
    """Whole rounds are made before the first step of each, so that any number of steps is exact."""
    session = make_session(steps=steps, **options)
    config = method_of(session).config
    session.advance(sum(BiDfMKD.plan(config, steps).values()))
    counters = session.context.counters
    assert session.context.progress.steps == steps
    assert counters["teacher_forwards"] == config.queries_of(3, steps)
    assert sum(value for name, value in counters.values.items() if name.startswith("queries of")) == config.queries_of(
        3, steps
    )


def test_the_paper_asks_six_million_for_an_api_task() -> None:
    config = BiDfMKDConfig(tasks=1)
    assert config.queries_of(5, 1) == 2 * 200 * 150 * 101 + 2 * 150


# -- recovery


def test_recovered_images_are_taken_for_their_class() -> None:
    """By asking alone, from a generator that begins at grey."""
    session = make_session(
        bright_panel(), images=4, iterations=40, chunk=40, directions=20, generator_lr=0.02, held_out=0, view="none"
    )
    session.move()
    method = method_of(session)
    images = pixels_of(method)
    said = Bright()((images - 0.5) / 0.25).argmax(1)
    assert (said == method.recovery.labels).float().mean() > 0.9
    assert method.memory.targets is not None
    assert method.memory.targets[:12].tolist() == [0] * 4 + [1] * 4 + [2] * 4


def remembered(method: BiDfMKD) -> set[str]:
    """The global ids of the classes that images are remembered of."""
    assert method.memory.targets is not None
    panel = method.context.teacher.capability("panel")
    return {panel.classes[one] for one in method.memory.targets[: len(method.memory)].unique()}


def pixels_of(method: BiDfMKD) -> Tensor:
    stored = method.memory.packed()
    assert isinstance(stored, Tensor)
    return stored.float() / 255


def test_the_slope_of_a_boundary_loss_is_exact_on_the_students_side() -> None:
    """Along every axis, antithetic differences of a quadratic API are its gradient; the whole is then that of autograd,
    with the mask held fixed."""
    session = make_session(
        bright_panel(), images=3, along="coordinate", directions=64, mu=0.1, scheme="antithetic", view="none",
        held_out=0,
    )  # fmt: skip
    recovery = method_of(session).recovery
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    images = torch.rand(9, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def total(seen: Tensor, answers: Tensor) -> Tensor:
        near = recovery._near_boundary(answers, student(seen))
        return (cross_entropy(answers, recovery.labels) + near).mean()

    slopes = []
    for asked in (True, False):
        seen = images.clone().requires_grad_()
        answers = recovery._answers(method_of(session).apis[0], seen) if asked else Bright()((seen - 0.5) / 0.25)
        assert answers.argmax(1).eq(student(seen).argmax(1)).any()
        slopes.append(torch.autograd.grad(total(seen, answers), seen)[0])
    assert torch.allclose(*slopes, atol=1e-4 * float(slopes[1].abs().max()) + 1e-6)


def test_only_images_on_which_the_student_agrees_are_pushed_to_the_boundary() -> None:
    recovery = method_of(make_session()).recovery
    api = torch.tensor([[2.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    student = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]])
    near = recovery._near_boundary(api, student)
    expected = -F.kl_div(student[:1].log_softmax(1), api[:1].log_softmax(1), log_target=True, reduction="sum")
    assert torch.allclose(near, torch.stack([expected, torch.tensor(0.0)]), atol=1e-6)


@pytest.mark.long
def test_a_boundary_set_leaves_the_outer_level_more_to_learn() -> None:
    """What it is for: the outer gradient on it is larger than on a plain query set, over several recovered sets."""
    norms = []
    for boundary in (0.0, 2.0):
        slopes = []
        for seed in range(3):
            session = make_session(
                boundary=boundary, images=8, iterations=30, chunk=30, directions=20, generator_lr=0.02, held_out=0,
                view="none", inner_steps=10, seed=seed,
            )  # fmt: skip
            session.advance(2)
            slopes.append(method_of(session).measured["slope"])
        norms.append(sum(slopes))
    assert norms[1] > 1.2 * norms[0]


# -- the levels


def test_the_released_divergence_has_the_gradient_of_its_call() -> None:
    """`kl_div(softmax(s), softmax(t))` with its default mean: a score that is linear in the student's probabilities."""
    session = make_session(divergence="linear")
    student, api = (torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    slopes = []
    for divergence in (
        method_of(session)._divergence, lambda s, t: F.kl_div(s.softmax(1), t.softmax(1), reduction="none").mean(),
    ):  # fmt: skip
        logits = student.clone().requires_grad_()
        slopes.append(torch.autograd.grad(divergence(logits, api), logits)[0])
    assert torch.allclose(*slopes, atol=1e-7)


def test_classes_of_several_apis_meet_in_a_replayed_task() -> None:
    session = make_session(held_out=0, tasks=2, replay=6)
    method = method_of(session)
    session.advance(sum(BiDfMKD.plan(method.config, 1).values()))
    assert remembered(method) == {"a", "b", "c", "d", "e"}
    batch = method._replayed_tasks()
    assert batch.extras["sizes"] == [(6, 9)] * 2
    assert batch.targets is not None
    assert batch.targets[:6].tolist() == [0, 0, 1, 1, 2, 2]


def test_support_and_query_are_of_the_same_classes_and_of_other_images() -> None:
    memory = Pool(20)
    images = torch.arange(20).float().view(20, 1, 1, 1).expand(20, 1, 2, 2) / 255
    memory.add(images, torch.arange(4).repeat_interleave(5))
    for seed in range(20):
        one = draw_episode(memory, 3, 2, 3, torch.Generator().manual_seed(seed))
        support, query = ((part[:, 0, 0, 0] * 255).round().long() for part in (one.support, one.query))
        assert not set(support.tolist()) & set(query.tolist())
        for way in range(3):
            own = [*support[one.support_ways == way].tolist(), *query[one.query_ways == way].tolist()]
            assert len({number // 5 for number in own}) == 1
    with pytest.raises(RuntimeError, match="4 classes are remembered"):
        draw_episode(memory, 5, 1, 1, torch.Generator())


def test_held_out_apis_teach_nothing_and_judge_snapshots() -> None:
    session = make_session(steps=3)
    method = method_of(session)
    session.advance(sum(BiDfMKD.plan(method.config, 3).values()))
    assert remembered(method) == {"a", "b", "c"}
    before = {name: value.clone() for name, value in session.student.state_dict().items()}
    score = method.validation(session.student)
    assert score is not None
    assert 0 <= score <= 1
    assert score == method.validation(session.student)
    assert all(torch.equal(before[name], value) for name, value in session.student.state_dict().items())
    assert method_of(make_session(held_out=0)).validation(session.student) is None


# -- bad input


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shots": 4}, r"shots \+ queries = 7 images of a class, and a round makes 2 \* images = 6"),
        ({"distil_updates": 0, "replay": 0}, "nothing is left to learn from"),
        ({"divergence": "js"}, "divergence"),
        ({"mu": 0}, "mu"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_session(**options)


def test_all_apis_held_out_are_refused() -> None:
    with pytest.raises(MethodError, match=r"held_out=2 of the panel's 2 APIs"):
        make_session(held_out=2)


def test_a_student_that_is_watched_is_refused() -> None:
    session = make_session(held_out=0)
    session.advance(sum(BiDfMKD.plan(method_of(session).config, 1).values()))
    assert session.last_batch is not None
    with pytest.raises(MethodError, match="within its loss"):
        session.method.student_loss(lambda inputs: Outputs(inputs), session.last_batch)


def test_parts_that_would_ask_the_panel_as_a_whole_are_refused_before_step_0(tmp_path: Path) -> None:
    WORLD.save(tmp_path / "panel.safetensors")
    for part in ({"update": "retain"}, {"defence": "vaccine"}, {"features": {"hint": 1.0}}):
        fields = {"teacher": str(tmp_path / "panel.yaml"), "student": "conv4", "method": "bidf-mkd", **part}
        with pytest.raises(MethodError, match="cannot work with this teacher"):
            prepare(RunSettings.model_validate(fields | {"options": OPTIONS}))
