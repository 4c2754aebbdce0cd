"""CAE-DFKD: what is diffused and when, what the contrast sees and reaches, and the order of rounds and calls."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import CLASSES, Plain, make_student, make_task, make_teacher
from torch import nn

from sansdata.contracts import Outputs
from sansdata.engine.session import Session
from sansdata.errors import ConfigError, MethodError
from sansdata.methods.cae_dfkd import CAEDFKD
from sansdata.methods.index import method_config
from sansdata.models.with_part import PROJECTED, WithPart
from sansdata.runtime import Runtime
from sansdata.settings import FeatureTerms, RetainSettings

OPTIONS = {
    "iterations": 4, "chunk": 4, "latent": 6, "width": 4, "batch": 8, "warmup_rounds": 2, "warmup_calls": 3, "calls": 2,
    "steps_per_round": 2, "pool": 100, "projection": 5, "transfer": {"batch": 8},
}  # fmt: skip
SOON = {"warmup_rounds": 0, "calls": 1}


def session(student: nn.Module | None = None, **more: Any) -> Session:
    parts = {name: more.pop(name) for name in ("features", "retain") if name in more}
    config = method_config("cae-dfkd", "default", OPTIONS | more)
    module = make_student() if student is None else student
    return Session(CAEDFKD, config, make_teacher(), module, make_task(), Runtime(), 7, 10, parts)


def method(one: Session) -> CAEDFKD:
    assert isinstance(one.method, CAEDFKD)
    return one.method


def test_rounds_and_calls_are_those_of_the_plan() -> None:
    one = session()
    kinds = "".join(one.move()[0][0] for _ in range(6 + 3 * 4))
    assert kinds == "a" * 6 + "aatt" * 3
    assert CAEDFKD.plan(one.method.config, 6) == {"acquire": 12, "transfer": 6}


def test_generator_and_optimiser_go_on_from_call_to_call() -> None:
    """The paper's difference from NAYER, in which the layer that makes the noise is drawn anew."""
    one = session(generator_lr=1e-9)
    parts = [method(one).generator.project.weight, method(one).diffusion.linear.weight]
    before = [part.detach().clone() for part in parts]
    one.advance(3)
    assert max((part - old).abs().max().item() for part, old in zip(parts, before)) < 1e-6
    steps = {int(state["step"]) for state in method(one).optimizer.state.values()}
    assert steps == {12}


def test_a_diffusion_serves_a_whole_call_and_the_next_call_has_another() -> None:
    one = session(chunk=2)
    seen: list[torch.Tensor] = []
    method(one).diffusion.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2]))
    one.advance(4)
    assert len(seen) == 8
    assert all(torch.equal(noise, seen[0]) for noise in seen[:4])
    assert not torch.equal(seen[4], seen[0])


def test_a_contrast_batch_holds_each_class_under_different_sources() -> None:
    one = session(contrast_classes=3, contrast_diffusions=4)
    one.advance(1)
    seen: list[torch.Tensor] = []
    method(one).diffusion.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    images, labels, counts = method(one)._contrast_batch()
    assert images.shape == (12, 1, 8, 8)
    assert bool(counts.all())
    assert sorted(torch.bincount(labels, minlength=CLASSES).tolist()) == [0, 4, 4, 4]
    for label in labels.unique():
        assert sorted(seen[0][labels == label].tolist()) == [0, 1, 2, 3]


def test_the_image_level_ablation_contrasts_views_of_single_images() -> None:
    one = session(contrast_classes=3, contrast_diffusions=4, contrast_of="views", **SOON)
    one.advance(1)
    images, groups, counts = method(one)._contrast_batch()
    assert images.shape == (12, 1, 8, 8)
    assert groups.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert len(counts) == 12
    assert not torch.equal(images[0], images[1])
    assert one.move()[1].values()["contrast"] > 0


def test_no_gradient_of_the_contrast_reaches_generator_or_embeddings() -> None:
    one = session(**SOON)
    one.advance(1)
    parts = [method(one).generator, method(one).diffusion]
    before = [{n: v.clone() for n, v in part.state_dict().items()} for part in parts]
    kind, losses = one.move()
    assert kind == "transfer"
    assert losses.values()["contrast"] > 0
    for part, old in zip(parts, before):
        assert all(torch.equal(value, old[name]) for name, value in part.state_dict().items())
        assert all(p.grad is None and p.requires_grad for p in part.parameters())


def test_the_gate_counts_only_images_that_the_teacher_gives_the_wanted_class() -> None:
    one = session(contrast_gate=True)
    one.advance(1)
    images, labels, counts = method(one)._contrast_batch()
    answers = one.context.teacher(images).logits.argmax(1)
    assert torch.equal(counts, answers == labels)


def test_a_contrast_of_images_that_do_not_count_is_nothing() -> None:
    one = session(**SOON)
    rows = nn.functional.normalize(torch.randn(4, 5), dim=1)
    nothing = method(one)._contrast(
        lambda images: Outputs(images, {PROJECTED: rows}),
        torch.zeros(4, 1, 8, 8),
        torch.tensor([0, 0, 1, 1]),
        torch.zeros(4, dtype=torch.bool),
    )
    assert nothing.item() == 0


def test_the_projection_is_trained_with_the_student_and_is_no_part_of_it() -> None:
    one = session(**SOON)
    assert isinstance(one.trained, WithPart)
    before = one.trained.projection[0].weight.detach().clone()
    names = list(one.student.state_dict())
    one.advance(2)
    assert not torch.equal(one.trained.projection[0].weight, before)
    assert list(one.student.state_dict()) == names
    assert not [name for name in names if "projection" in name]


def test_without_contrast_there_is_no_projection_and_no_term() -> None:
    one = session(**SOON, contrast=0)
    assert one.trained is one.student
    one.advance(1)
    assert set(one.move()[1].terms) == {"match"}


def test_a_student_without_a_last_linear_layer_is_refused_with_the_mend() -> None:
    with pytest.raises(MethodError, match="contrast=0"):
        session(student=Plain())
    session(student=Plain(), contrast=0).advance(1)


def test_the_student_is_left_in_the_mode_it_came_in() -> None:
    student = make_student().train()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    one = session(student=student)
    assert one.student.training
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


def test_feature_alignment_and_retention_work_beside_the_contrast() -> None:
    one = session(**SOON, features=FeatureTerms(attention=10.0), retain=RetainSettings(pushes=10))
    one.advance(2)
    terms = [set(one.move()[1].terms) for _ in range(4)]
    assert any(seen >= {"match", "contrast", "attention", "retain"} for seen in terms)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"magnitudes": [0.5, 1.0]}, "a magnitude for each"),
        ({"sources": [], "magnitudes": []}, "at least one source"),
        ({"sources": ["normal"], "magnitudes": [-1.0]}, "0 or above"),
        ({"sources": ["gauss"], "magnitudes": [1.0]}, "normal"),
    ],
)
def test_wrong_sources_are_told_with_the_mend(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        method_config("cae-dfkd", "default", options)
