"""Pipelines of diffusers: read as they say, sampled as the library does, written so that it draws in one step."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from json_files import change
from torch import Tensor

import sansdata
from sansdata.deploy.pipeline import write_pipeline
from sansdata.errors import SansdataError, StudentError, TeacherError, UnsafeFileError
from sansdata.models.diffusion.denoiser import Denoiser
from sansdata.models.diffusion.one_step import OneStep
from sansdata.models.diffusion.schedules import Discrete, Flow, Karras, Trajectory
from sansdata.models.diffusion.unets import read_scheduler
from sansdata.models.saved import read_model, write_model
from sansdata.tasks import load_task
from sansdata.teachers.pipeline import is_pipeline, pipeline_files
from sansdata.teachers.specs import load_teacher
from sansdata.teachers.student_file import restore
from sansdata.teachers.students import load_student

pytestmark = pytest.mark.long
"""The library takes many seconds to import."""
TASK = {"inputs": {"kind": "noise", "shape": [1, 8, 8]}, "outputs": {"kind": "field", "steps": 4}}
SIZES: dict[str, Any] = {
    "sample_size": 8, "in_channels": 1, "out_channels": 1, "layers_per_block": 1, "block_out_channels": (8, 16),
    "norm_num_groups": 4, "down_block_types": ("DownBlock2D", "DownBlock2D"), "attention_head_dim": 4,
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(diffusers: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline as the library writes it, of a network that gives the noise."""
    place = tmp_path_factory.mktemp("pipeline") / "teacher"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = diffusers.UNet2DModel(**SIZES)
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=100, beta_end=0.1, clip_sample_range=1.5)
    diffusers.DDPMPipeline(unet, scheduler).save_pretrained(str(place), safe_serialization=True)
    return place


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def noise(count: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=dtype)


def denoiser(folder: Path) -> Denoiser:
    return load_teacher(str(folder), load_task(TASK)).capability("denoises")


def test_a_pipeline_is_read_as_it_says(folder: Path, diffusers: Any) -> None:
    assert is_pipeline(folder)
    assert all(path.is_file() for path in pipeline_files(folder))
    teacher = denoiser(folder)
    own = diffusers.DDPMPipeline.from_pretrained(str(folder))
    assert teacher.clip == 1.5
    assert teacher.steps == 4
    assert teacher.prediction == "epsilon"
    assert isinstance(teacher.schedule, Discrete)
    assert torch.allclose(teacher.schedule.kept, own.scheduler.alphas_cumprod)
    with torch.no_grad():
        answer = own.unet(noise(), torch.tensor(70)).sample
        assert torch.allclose(teacher.network(noise(), torch.full((3,), 70.0)), answer, atol=1e-6)


def test_our_walk_is_the_librarys_own_step(folder: Path, diffusers: Any) -> None:
    teacher: Any = denoiser(folder).double()
    start = noise(dtype=torch.float64)
    scheduler = diffusers.DDIMScheduler.from_pretrained(
        str(folder), subfolder="scheduler", timestep_spacing="trailing", set_alpha_to_one=True
    )
    scheduler.alphas_cumprod, scheduler.final_alpha_cumprod = teacher.schedule.kept, torch.tensor(1.0).double()
    scheduler.set_timesteps(10)
    state = start
    for time in scheduler.timesteps:
        with torch.no_grad():
            answer = teacher.network(state, time.double().expand(3))
        state = scheduler.step(answer, time, state, eta=0.0, use_clipped_model_output=True).prev_sample
    path, signal = Trajectory.of(teacher.schedule), torch.zeros_like(start)
    times = [time.double() for time in scheduler.timesteps]
    with torch.no_grad():
        for now, then in zip(times, [*times[1:], None]):
            here = now.expand(3)
            seen = teacher.clean(path.state(start, signal, here), here)
            kept = 0.0 if then is None else path.kept(here, then.expand(3)).view(-1, 1, 1, 1)
            signal = kept * signal + (1 - kept) * seen
    assert (signal - state).abs().max() < 1e-10


def test_the_librarys_pipeline_draws_with_the_student_in_one_step(folder: Path, diffusers: Any, tmp_path: Path) -> None:
    task = load_task(TASK)
    student = load_student("one-step", load_teacher(str(folder), task), task)
    write_model(tmp_path / "student.safetensors", student.module, student.architecture, task, {})
    again = restore(read_model(tmp_path / "student.safetensors"), tmp_path / "student.safetensors").eval()
    write_pipeline(again, tmp_path / "drawn")
    pipeline = diffusers.DDIMPipeline.from_pretrained(str(tmp_path / "drawn"))
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(
        batch_size=3, num_inference_steps=1, generator=torch.Generator().manual_seed(0), output_type="np"
    ).images  # fmt: skip
    with torch.no_grad():
        own = again(noise()).clamp(-1.5, 1.5)
    assert torch.allclose(torch.from_numpy(made)[..., 0], (own[:, 0] / 2 + 0.5).clamp(0, 1), atol=1e-5)
    assert load_teacher(str(tmp_path / "drawn"), task).capability("denoises").prediction == "sample"


def test_distilled_from_a_folder_it_leaves_as_a_pipeline(folder: Path, diffusers: Any, tmp_path: Path) -> None:
    result = sansdata.distill(
        str(folder), "one-step", "boot", "3steps", tmp_path / "run", task=TASK, strict=True,
        options={"warmup": 1, "transfer": {"batch": 4}}, settings={"threads": 1, "device": "cpu"},
    )  # fmt: skip
    assert isinstance(result.student, OneStep)
    done = sansdata.export(tmp_path / "run", "diffusers")
    pipeline = diffusers.DDIMPipeline.from_pretrained(done.file)
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(batch_size=2, num_inference_steps=1, output_type="np").images
    assert made.shape == (2, 8, 8, 1)


@pytest.mark.parametrize(
    ("file", "fields", "error", "said"),
    [
        ("model_index.json", {"unet": ["mine", "Net"]}, UnsafeFileError, "code of the folder"),
        ("model_index.json", {"prior": ["diffusers", "PriorTransformer"]}, TeacherError, "a pipeline with a prior"),
        ("model_index.json", {"unet": ["diffusers", "UNet2DConditionModel"]}, TeacherError, "UNet2DConditionModel"),
        ("unet/config.json", {"in_channels": 3}, TeacherError, "3 channels"),
        ("unet/config.json", {"sample_size": 16}, TeacherError, "16 pixels|16, 16"),
        ("unet/config.json", {"block_out_channels": [8, 32]}, TeacherError, "do not fit"),
        ("unet/config.json", {"block_out_channels": [800, 160000]}, TeacherError, "numbers"),
        ("unet/config.json", {"num_class_embeds": 10}, TeacherError, "knows 10 labels"),
        ("unet/config.json", {"class_embed_type": "timestep"}, TeacherError, "timestep"),
        ("scheduler/scheduler_config.json", {"thresholding": True}, TeacherError, "thresholding"),
        ("scheduler/scheduler_config.json", {"prediction_type": "wave"}, TeacherError, "wave"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "wild"}, TeacherError, "wild|betas"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**9}, TeacherError, "num_train_timesteps"),
        ("scheduler/scheduler_config.json", {"_class_name": "MyScheduler"}, TeacherError, "MyScheduler"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_said(
    file: str, fields: dict[str, Any], error: type[SansdataError], said: str, copied: Path
) -> None:
    change(copied / file, **fields)
    with pytest.raises(error, match=said):
        load_teacher(str(copied), load_task(TASK))


def test_pickled_weights_are_refused(copied: Path) -> None:
    (copied / "unet/diffusion_pytorch_model.safetensors").rename(copied / "unet/diffusion_pytorch_model.bin")
    with pytest.raises(UnsafeFileError, match="sansdata convert"):
        load_teacher(str(copied), load_task(TASK))


def test_a_pipeline_teaches_generators_alone(folder: Path) -> None:
    with pytest.raises(TeacherError, match="image x classes"):
        load_teacher(str(folder), load_task("digits"))


def test_schedulers_of_every_sort(diffusers: Any) -> None:
    flow, prediction, clip = read_scheduler({"_class_name": "FlowMatchEulerDiscreteScheduler"})
    assert (flow, prediction, clip) == (Flow(last=1000.0), "flow", None)
    edm, prediction, _ = read_scheduler({"_class_name": "EDMEulerScheduler", "sigma_max": 50.0})
    assert (edm, prediction) == (Karras(0.002, 50.0), "edm")
    for betas in ("linear", "scaled_linear", "squaredcos_cap_v2"):
        config = {"_class_name": "EulerDiscreteScheduler", "beta_schedule": betas, "beta_start": 0.001}
        kept, prediction, clip = read_scheduler(config)
        own = diffusers.DDPMScheduler(beta_schedule=betas, beta_start=0.001)
        assert torch.equal(kept, own.alphas_cumprod.double())  # type: ignore[arg-type]
        assert (prediction, clip) == ("epsilon", None)


@pytest.mark.usefixtures("diffusers")
def test_other_students_are_no_pipelines(tmp_path: Path) -> None:
    from sansdata.models.diffusion.generators import PointNet

    with pytest.raises(StudentError, match="one-step"):
        write_pipeline(PointNet(2), tmp_path)
