"""Samples of generators: read, judged, measured and shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from tiny import WORLDS

from sansdata.contracts import Outputs
from sansdata.errors import TaskError, TeacherError
from sansdata.figures import Picture, Record, values
from sansdata.kinds.inputs.noise import Noise
from sansdata.kinds.outputs.field import Field
from sansdata.objectives.point_sets import sliced_wasserstein
from sansdata.tasks import FieldSpec, NoiseSpec, load_task

PICTURES = Field(FieldSpec(shape=(1, 4, 4), range=(-0.5, 0.5)))
POINTS = Field(FieldSpec(shape=(3,), range=(0, 2)))


def samples(count: int = 12, seed: int = 0) -> torch.Tensor:
    return 0.2 * torch.randn(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


def named(number: int) -> str:
    return str(number)


def test_a_field_takes_the_shape_of_its_noise() -> None:
    noise = {"kind": "noise", "shape": [1, 4, 4]}
    assert load_task({"inputs": noise, "outputs": {"kind": "field"}}).outputs.shape == (1, 4, 4)
    assert load_task({"inputs": noise, "outputs": {"kind": "field", "shape": [5]}}).outputs.shape == (5,)
    for fields, said in (({"range": [1, 1]}, "range"), ({"steps": 0}, "steps"), ({"shape": [0]}, "shape")):
        with pytest.raises(TaskError, match=said):
            load_task({"inputs": noise, "outputs": {"kind": "field", **fields}})
    table = {"kind": "table", "columns": [{"name": "a", "range": [0, 1]}]}
    with pytest.raises(TaskError, match="give the shape"):
        load_task({"inputs": table, "outputs": {"kind": "field"}})


def test_answers_are_tensors_of_the_shape() -> None:
    class Named:
        def __init__(self) -> None:
            self.sample = samples()

    assert torch.equal(PICTURES.read(Named()), samples())
    assert torch.equal(PICTURES.read((samples(), 1)), samples())
    assert PICTURES.faults(samples(), 12) == []
    assert "expected [12, 1, 4, 4]" in PICTURES.faults(samples()[:, :, :3], 12)[0]
    assert "floats" in PICTURES.faults(samples().long(), 12)[0]
    assert "NoneType" in PICTURES.faults(None, 12)[0]
    with pytest.raises(TeacherError):
        PICTURES.read("noise")


def test_a_teacher_is_judged_by_its_samples() -> None:
    assert PICTURES.judge(samples(), named) == ("samples", [], [])
    assert "not finite" in PICTURES.judge(samples() / 0 * 0, named)[1][0]
    assert "same sample" in PICTURES.judge(samples()[:1].expand(12, -1, -1, -1), named)[1][0]
    assert "far beyond" in PICTURES.judge(100 * samples(), named)[2][0]


def test_figures_say_that_less_is_better() -> None:
    made, true = samples().numpy(), samples(seed=1).numpy()
    findings = PICTURES.evaluate(made, true, teacher=true)
    figures = values(findings)
    assert figures["paired_error"] == pytest.approx(np.sqrt(((made - true) ** 2).mean()), rel=1e-5)
    assert figures["teacher_paired_error"] == 0
    lower = {one.name for one in findings if getattr(one, "better", "") == "lower"}
    assert lower == {"paired_error", "sliced_wasserstein", "teacher_paired_error"}
    same = values(PICTURES.evaluate(made, made[::-1].copy()))
    assert same["sliced_wasserstein"] == pytest.approx(0, abs=1e-9)
    assert same["paired_error"] > 0.1
    assert same["spread"] == same["true_spread"]


def test_sliced_distance_against_quantiles_of_one_direction() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(500, 1, generator=generator), 2 * torch.randn(500, 1, generator=generator) + 1
    exact = (one.sort(0).values - other.sort(0).values).square().mean().sqrt()
    assert sliced_wasserstein(one, other) == pytest.approx(float(exact), rel=1e-5)
    assert sliced_wasserstein(one, one[:250].repeat(2, 1).sort(0).values[::2]) < 0.2
    first = wasserstein_distance(one[:, 0].numpy(), other[:, 0].numpy())
    assert float(sliced_wasserstein(one, other)) >= first  # of order two, and so at least that of order one
    moved = torch.randn(800, 3, generator=generator)
    apart = sliced_wasserstein(moved, moved + torch.tensor([3.0, 0, 0]), directions=2000)
    assert float(apart) == pytest.approx(3 / 3**0.5, rel=0.05)


def test_match_is_per_sample() -> None:
    class How:
        match = "mse"

    student, teacher = Outputs(samples()), Outputs(samples(seed=1))
    assert torch.allclose(
        PICTURES.match(student, teacher, How()), (samples() - samples(seed=1)).square().mean((1, 2, 3))
    )
    How.match = "l1"
    assert torch.allclose(PICTURES.match(student, teacher, How()), (samples() - samples(seed=1)).abs().mean((1, 2, 3)))
    assert PICTURES.agreement(samples(), samples()) is None
    assert PICTURES.same(samples(), samples() + 0.005).all()
    assert not PICTURES.same(samples(), samples() + 0.02).any()


def test_samples_stand_in_the_place_of_their_noise() -> None:
    noise = Noise(NoiseSpec(shape=(1, 4, 4)))
    previews = noise.preview(noise.pack(noise.draw(2, torch.Generator().manual_seed(0))))
    answers = torch.tensor([-0.5, 0.5]).view(2, 1, 1, 1).expand(-1, -1, 4, 4)
    drawn = PICTURES.drawn(previews, {"teacher": answers, "student": -answers})
    assert all(isinstance(one, Picture) for one in drawn)
    first = drawn[0].pixels  # type: ignore[union-attr]
    assert first.shape == (4, 8, 1)
    assert first[:, :4].max() == 0
    assert first[:, 4:].min() == 255
    legend = PICTURES.legend(("teacher", "student"))
    assert legend == "From left to right, of the same noise: the teacher and the student."
    points = POINTS.drawn([Record({}), Record({})], {"teacher": torch.ones(2, 3), "student": torch.zeros(2, 3)})
    assert PICTURES.captions(answers.numpy(), named) == [("", "")] * 2
    assert points[0].fields == {"teacher": "1 1 1", "student": "0 0 0"}  # type: ignore[union-attr]


def test_a_collapsed_teacher_is_warned_of() -> None:
    one = samples()[:1].expand(12, -1, -1, -1)
    described = values(PICTURES.describe(one))
    assert [warned.name for warned in PICTURES.warnings(described, 1.0, 12, named)] == ["samples all alike"]
    assert PICTURES.warnings(values(PICTURES.describe(samples())), 1.0, 12, named) == []


def test_a_sampler_of_many_steps_makes_few_answers_at_once() -> None:
    assert output_numbers(1) * 50 == output_numbers(50)
    assert WORLDS["noise"].teacher().capability("denoises").steps == 4


def output_numbers(steps: int) -> int:
    return Field(FieldSpec(shape=(1, 4, 4), steps=steps)).numbers
