"""MixMix: what its card says, and several teachers in one, which the contract tests do not see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny import Plain, Tiny, differing, make_module, make_student, make_task, make_teacher, student_of
from torch import nn

from sansdata.engine.encode import decode, encode
from sansdata.engine.prepare import prepare
from sansdata.engine.run import run
from sansdata.engine.session import Session
from sansdata.errors import ConfigError, MethodError, TeacherError
from sansdata.methods.index import find_method, method_config
from sansdata.runtime import Runtime
from sansdata.teachers.base import Teacher

TINY: dict[str, Any] = {"batch": 16, "iterations": 6, "chunk": 2, "steps_per_batch": 2, "transfer": {"batch": 8}}
OTHER = {"mean": (0.2,), "std": (0.5,)}


def zoo(*seeds: int) -> Teacher:
    """The tiny teacher with helpers of other weights and another preprocessing."""
    task = make_task().model_copy(update=OTHER)
    return make_teacher().helped_by([Teacher.from_module(make_module(seed=seed), task) for seed in seeds])


def session(teacher: Teacher, **options: Any) -> Session:
    config = method_config("mixmix", "default", TINY | options)
    return Session(find_method("mixmix"), config, teacher, make_student(), make_task(), Runtime(), seed=3, steps=20)


def first_losses(teacher: Teacher, **options: Any) -> dict[str, tuple[float, torch.Tensor]]:
    """The terms of the first iteration and the gradient of the pixels."""
    one = session(teacher, chunk=1, clip=False, **options)
    return one.move()[1].terms


def test_every_member_is_asked_with_its_own_preprocessing() -> None:
    teacher = zoo(5)
    seen: list[torch.Tensor] = []
    for member in teacher.members:
        member.module.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    session(teacher, chunk=1, iterations=1).move()
    seen = [one for one in seen if len(one) == TINY["batch"]]  # without preflight's own
    unit = [seen[0] * 0.25 + 0.5, seen[1] * 0.5 + 0.2]
    assert torch.allclose(*unit, atol=1e-6)


def test_the_loss_is_the_mean_over_the_members_whatever_their_order() -> None:
    one, two = zoo(5, 6), zoo(6, 5)
    totals = [sum(w * v.mean() for w, v in first_losses(teacher).values()) for teacher in (one, two)]
    assert torch.allclose(*totals, rtol=1e-5)
    names = first_losses(one)
    assert names["ce"][0] == names["ce of helper 1"][0] == pytest.approx(1 / 3)
    assert names["bn of helper 2"][0] == pytest.approx(0.1 / 3)


def test_alone_and_without_boxes_it_is_deepinversion() -> None:
    options = {**TINY, "chunk": 1}
    terms = {}
    for name, more in (("mixmix", {"box": (0.0, 0.0)}), ("deepinversion", {})):
        config = method_config(name, "default", options | more)
        one = Session(find_method(name), config, make_teacher(), make_student(), make_task(), Runtime(), 3, 20)
        terms[name] = one.move()[1].values()
    assert terms["mixmix"].keys() == terms["deepinversion"].keys()
    for name, value in terms["mixmix"].items():
        assert torch.allclose(value, terms["deepinversion"][name]), name


def test_few_models_an_iteration_take_turns_and_cost_what_they_cost() -> None:
    few, every = session(zoo(5, 6), models=1, iterations=30, chunk=30), session(zoo(5, 6), iterations=30, chunk=30)
    few.move()
    every.move()
    batch = TINY["batch"]
    assert few.context.counters["teacher_backwards"] == 30 * batch
    assert every.context.counters["teacher_backwards"] == 90 * batch
    names = {name for _ in range(3) for name in first_losses(zoo(5, 6), models=1)}
    assert sum(name.startswith("ce") for name in names) == 1  # the same stream, the same draw


def test_the_pool_holds_unmixed_images_and_the_student_sees_mixed_ones() -> None:
    one = session(zoo(5), view="none")
    while one.last_batch is None:
        one.move()
    method: Any = one.method
    kept, shown = method.pool.inputs[: TINY["batch"]].float() / 255, one.last_batch.inputs
    same = (shown[:, None] == kept[None]).flatten(2).all(2).any(1)
    assert not same.all()
    plain = session(zoo(5), view="none", mix_transfer=False)
    while plain.last_batch is None:
        plain.move()
    assert (plain.last_batch.inputs[:, None] == kept[None]).flatten(2).all(2).any(1).all()


def test_the_state_is_complete_with_helpers() -> None:
    first, second = session(zoo(5), models=1), session(zoo(5), models=1)
    first.advance(4)
    tensors: dict[str, torch.Tensor] = {}
    tree = {
        name: encode(dict(part.state_dict()), name, tensors, torch.device("cpu"))
        for name, part in first.state().items()
    }
    tensors = {name: value.clone() for name, value in tensors.items()}  # those of the state are the live ones
    for name, part in second.state().items():
        part.load_state_dict(decode(tree[name], tensors, torch.device("cpu")))
    for one in (first, second):
        one.advance(5)
    assert torch.equal(first.method.pool.inputs[:16], second.method.pool.inputs[:16])  # type: ignore[attr-defined]
    assert differing(dict(first.student.state_dict()), dict(second.student.state_dict())) == []


@pytest.mark.parametrize("box", [(0.5, 0.2), (-0.1, 0.5), (0.2, 1.0)])
def test_a_box_that_is_no_range_is_refused(box: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="lowest and highest share"):
        method_config("mixmix", "default", {"box": box})


# -- several teachers, as a user names them


@pytest.fixture
def helper(tiny: Tiny, tmp_path: Path) -> str:
    save_file(make_module(seed=5).state_dict(), tmp_path / "helper.safetensors")
    return f"resnet8@{tmp_path / 'helper.safetensors'}"


def test_a_strict_run_with_a_helper_says_so_and_repeats(tiny: Tiny, helper: str, tmp_path: Path) -> None:
    settings = tiny.settings("mixmix", TINY, helpers=[helper])
    for out in ("one", "two"):
        run(settings, tmp_path / out)
    assert differing(student_of(tmp_path / "one"), student_of(tmp_path / "two")) == []
    ledger, manifest = (json.loads((tmp_path / "one" / name).read_text()) for name in ("ledger.json", "run.json"))
    assert ledger["violations"] == []
    assert {entry["role"] for entry in ledger["files"]} >= {"teacher", "helper"}
    (said,) = manifest["teacher"]["helpers"]
    assert said["source"] == helper
    alone = prepare(tiny.settings("mixmix", TINY)).teacher.fingerprint()
    assert manifest["teacher"]["fingerprint"] != alone


def test_auto_takes_mixmix_where_there_are_helpers(tiny: Tiny, helper: str) -> None:
    assert prepare(tiny.settings("auto", helpers=[helper])).settings.method == "mixmix"
    assert prepare(tiny.settings("auto")).settings.method == "fm"


def test_a_method_of_one_teacher_refuses_helpers(tiny: Tiny, helper: str) -> None:
    with pytest.raises(MethodError, match=r"one teacher only.*mixmix"):
        prepare(tiny.settings("fm", helpers=[helper]))


def test_a_helper_of_another_job_or_without_statistics_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    tasks = [make_task().model_copy(update={"class_names": tuple(names)}) for names in ("abcd", "dcba")]
    teacher, other = (Teacher.from_module(make_module(), task) for task in tasks)
    with pytest.raises(TeacherError, match="class_names"):
        teacher.helped_by([other])
    make_teacher().helped_by([other])  # one that knows no names cannot tell
    plain = make_teacher().helped_by([Teacher.from_module(Plain(), make_task())])
    with pytest.raises(MethodError, match=r"helper.*BatchNorm"):
        prepare(tiny.settings("mixmix", TINY, teacher="here", student="here"), plain, make_student())
    broken = make_module()
    broken.conv1.weight.data.fill_(float("nan"))
    spoilt = make_teacher().helped_by([Teacher.from_module(broken, make_task())])
    with pytest.raises(TeacherError, match=r"helper.*not finite"):
        prepare(tiny.settings("mixmix", TINY, teacher="here", student="here"), spoilt, make_student())


def test_a_student_that_is_a_helper_is_refused(tiny: Tiny) -> None:
    teacher = zoo(5)
    student: nn.Module = teacher.helpers[0].module.requires_grad_(True)
    with pytest.raises(Exception, match="shares parameters"):
        prepare(tiny.settings("mixmix", TINY, teacher="here", student="here"), teacher, student)
