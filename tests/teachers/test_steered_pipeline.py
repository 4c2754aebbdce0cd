"""Pipelines of diffusers whose student is told how strongly it is guided, or where it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from json_files import change
from safetensors.torch import load_file
from torch import Tensor

import sansdata
from sansdata.errors import StudentError, TeacherError
from sansdata.models.diffusion.one_step import OneStep
from sansdata.models.diffusion.unets import ConditionalUNet
from sansdata.tasks import load_task
from sansdata.teachers.specs import load_teacher

pytestmark = pytest.mark.long
"""The library takes many seconds to import."""
TASK = {"inputs": {"kind": "noise", "shape": [1, 8, 8], "labels": 3}, "outputs": {"kind": "field", "steps": 4}}
SIZES: dict[str, Any] = {
    "sample_size": 8, "in_channels": 1, "out_channels": 1, "layers_per_block": 1, "block_out_channels": (8, 16),
    "norm_num_groups": 4, "down_block_types": ("DownBlock2D", "DownBlock2D"), "attention_head_dim": 4,
    "up_block_types": ("UpBlock2D", "UpBlock2D"), "num_class_embeds": 4,
}  # fmt: skip
CONDITIONAL = SIZES | {"mid_block_type": "UNetMidBlock2D", "cross_attention_dim": 8}
OPTIONS = {"warmup": 1, "guidance": [1.0, 3.0], "transfer": {"batch": 4, "lr": 0.01}}


def written(diffusers: Any, network: str, place: Path) -> Path:
    """A pipeline of a network that knows three labels and none, and gives the sample."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = getattr(diffusers, network)(**(SIZES if network == "UNet2DModel" else CONDITIONAL))
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=100, beta_end=0.1, prediction_type="sample")
    diffusers.DDIMPipeline(unet, scheduler).save_pretrained(str(place), safe_serialization=True)
    return place


def distilled(folder: Path, out: Path, **options: Any) -> Any:
    return sansdata.distill(
        str(folder), "one-step", "boot", "4steps", out, task=TASK, strict=True, options=OPTIONS | options,
        settings={"threads": 1, "device": "cpu"},
    )  # fmt: skip


def given(count: int = 3) -> tuple[Tensor, Tensor]:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(3)), torch.arange(count) % 3


@pytest.mark.parametrize("network", ["UNet2DModel", "UNet2DConditionModel"])
def test_a_label_is_asked_for_as_the_library_does(network: str, diffusers: Any, tmp_path: Path) -> None:
    folder = written(diffusers, network, tmp_path / "teacher")
    denoiser = load_teacher(str(folder), load_task(TASK)).capability("denoises")
    own = getattr(diffusers, network).from_pretrained(str(folder), subfolder="unet")
    noise, label = given()
    with torch.no_grad():
        text = () if network == "UNet2DModel" else (None,)
        sought = own(noise, torch.tensor(7), *text, class_labels=label).sample
        assert torch.allclose(denoiser.ask(noise, torch.full((3,), 7.0), label), sought, atol=1e-6)
    assert denoiser.null == 3


def test_the_librarys_network_is_guided_at_any_strength_in_one_call(diffusers: Any, tmp_path: Path) -> None:
    folder = written(diffusers, "UNet2DConditionModel", tmp_path / "teacher")
    result = distilled(folder, tmp_path / "run")
    student = sansdata.load(tmp_path / "run").student
    assert isinstance(student, OneStep)
    assert isinstance(student.of.network, ConditionalUNet)
    done = sansdata.export(tmp_path / "run", "diffusers")
    unet = diffusers.UNet2DConditionModel.from_pretrained(done.file, subfolder="unet")
    assert unet.config.time_cond_proj_dim == 256
    assert unet.time_embedding.cond_proj.weight.abs().max() > 0
    noise, label = given()
    strength = torch.tensor([1.0, 2.2, 3.0])
    half = torch.arange(128)
    rates = torch.exp(-torch.log(torch.tensor(10_000.0)) * half / 127)
    phases = (strength[:, None] - 1) * 1000 * rates
    told = torch.cat([phases.sin(), phases.cos()], 1)
    with torch.no_grad():
        made = unet(noise, torch.tensor(0), None, class_labels=label, timestep_cond=told).sample
        assert torch.allclose(student(noise, label=label, guidance=strength), made, atol=1e-4)
        assert torch.allclose(result.student(noise, label=label, guidance=strength), made, atol=1e-4)
    assert not torch.allclose(student(noise, label=label, guidance=strength.flip(0)), made, atol=1e-5)


def test_a_plain_network_leaves_guided_by_the_middle_of_its_range(diffusers: Any, tmp_path: Path) -> None:
    folder = written(diffusers, "UNet2DModel", tmp_path / "teacher")
    distilled(folder, tmp_path / "run")
    student = sansdata.load(tmp_path / "run").student
    done = sansdata.export(tmp_path / "run", "diffusers")
    unet = diffusers.UNet2DModel.from_pretrained(done.file, subfolder="unet")
    noise, label = given()
    with torch.no_grad():
        made = unet(noise, torch.tensor(0), class_labels=label).sample
        assert torch.allclose(student(noise, label=label, guidance=torch.full((3,), 2.0)), made, atol=1e-5)
        assert not torch.allclose(student(noise, label=label, guidance=torch.full((3,), 3.0)), made, atol=1e-5)


def test_several_calls_are_no_pipeline_and_this_is_said(diffusers: Any, tmp_path: Path) -> None:
    folder = written(diffusers, "UNet2DModel", tmp_path / "teacher")
    distilled(folder, tmp_path / "run", calls=2)
    student = sansdata.load(tmp_path / "run").student
    assert student.calls == 2
    with pytest.raises(StudentError, match="calls=1"):
        sansdata.export(tmp_path / "run", "diffusers")


def test_a_network_that_reads_texts_is_refused(diffusers: Any, tmp_path: Path) -> None:
    folder = written(diffusers, "UNet2DConditionModel", tmp_path / "teacher")
    change(folder / "unet/config.json", mid_block_type="UNetMidBlock2DCrossAttn")
    with pytest.raises(TeacherError, match="reads texts"):
        load_teacher(str(folder), load_task(TASK))


@pytest.mark.parametrize("prediction", ["sample", "epsilon"])
def test_adapters_leave_alone_and_in_the_weights_of_a_plain_pipeline(
    prediction: str, diffusers: Any, tmp_path: Path
) -> None:
    task = {"inputs": {"kind": "noise", "shape": [1, 8, 8]}, "outputs": {"kind": "field", "steps": 4}}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        attends = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "num_class_embeds": None}
        unet = diffusers.UNet2DModel(**SIZES | attends)
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=100, beta_end=0.1, prediction_type=prediction)
    folder = tmp_path / "teacher"
    diffusers.DDIMPipeline(unet, scheduler).save_pretrained(str(folder), safe_serialization=True)
    result = sansdata.distill(
        str(folder), "lora:2", "boot", "4steps", tmp_path / "run", task=task, strict=True,
        options={"warmup": 1, "transfer": {"batch": 4, "lr": 0.01}}, settings={"threads": 1, "device": "cpu"},
    )  # fmt: skip
    whole, small = (sansdata.export(tmp_path / "run", to) for to in ("diffusers", "adapters"))
    pipeline = diffusers.DDIMPipeline.from_pretrained(whole.file)
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    made = pipeline(
        batch_size=3, num_inference_steps=1, generator=torch.Generator().manual_seed(0), output_type="np"
    ).images  # fmt: skip
    with torch.no_grad():
        own = result.student(noise).clamp(-1, 1)
        assert torch.allclose(torch.from_numpy(made)[..., 0], own[:, 0] / 2 + 0.5, atol=1e-5)
        assert set(pipeline.unet.state_dict()) == set(unet.state_dict())
        factors = load_file(small.file)
        state = unet.state_dict()
        for name in {name.rpartition(".lora_")[0] for name in factors}:
            down, up = factors[f"{name}.lora_A.weight"], factors[f"{name}.lora_B.weight"]
            state[f"{name}.weight"] = state[f"{name}.weight"] + (up.flatten(1) @ down.flatten(1)).view_as(
                state[f"{name}.weight"]
            )
        unet.load_state_dict(state)
        answered = unet(noise, torch.tensor(0)).sample
    assert any(".attentions." in name for name in factors)
    assert torch.allclose(answered.clamp(-1, 1), own, atol=1e-5)
