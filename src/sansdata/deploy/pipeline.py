"""A generator in one step as a pipeline of diffusers: an unmodified DDIMPipeline draws with it in one step. One that
reads texts is a UNet and a scheduler, which take their places in the teacher's own pipeline."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, SansdataError, StudentError
from ..files import reason, temporary_name
from ..kinds.index import input_kind
from ..kinds.inputs.noise import noise_of
from ..models.adapters import merged
from ..models.diffusion.denoiser import ask
from ..models.diffusion.one_step import OneStep
from ..models.diffusion.schedules import Discrete
from ..models.diffusion.unets import ConditionalUNet, TextUNet, UNet, library
from ..models.modes import fixed
from ..tasks import Task
from ..teachers.pipeline import load_pipeline

PARITY, COMPARED = 1e-4, 8
"""How far samples of the pipeline may lie from the student's, and of how many."""
ALMOST_NONE = 1e-3
"""What may be left of the signal at the last time where a network's answer is turned into the sample by its sign."""


def write_pipeline(module: nn.Module, folder: Path) -> None:
    """Writes model_index.json, the UNet in safetensors and a DDIM scheduler that hands on what the network gives. A
    UNet2DModel that is told how strongly it is guided is written as one that is guided by the middle of its range; a
    UNet2DConditionModel goes on to be told, by its `timestep_cond`. Adapters are added into the weights. Of a network
    that reads texts there is no index: text encoder, tokenizer and VAE are the teacher's.

    With num_inference_steps=1 that scheduler asks at the time 0, which is the student's own, and its step returns the
    answer unchanged. Raises StudentError for what is no generator in one step of a UNet of diffusers,
    MissingLibraryError without the library.
    """
    module = merged(module)
    unet, schedule = _parts(module)
    diffusers = library("diffusers")
    network = copy.deepcopy(unet.unet).cpu().float().eval()
    assert isinstance(module, OneStep)
    if module.guided and not isinstance(unet, ConditionalUNet):
        _guide_for_good(network, module)
    if module.prediction == "v_prediction":
        _turn_into_samples(network, module)
    scheduler = diffusers.DDIMScheduler(
        num_train_timesteps=len(schedule.kept), trained_betas=_betas(schedule), prediction_type="sample",
        # "linspace" asks at the time 0 whatever the offset, which StableDiffusionPipeline makes 1
        timestep_spacing="linspace", steps_offset=1, set_alpha_to_one=True, clip_sample=module.of.clip is not None,
        clip_sample_range=module.of.clip or 1.0,
    )  # fmt: skip
    if isinstance(unet, TextUNet):
        network.save_pretrained(str(folder / "unet"), safe_serialization=True)
        scheduler.save_pretrained(str(folder / "scheduler"))
    else:
        diffusers.DDIMPipeline(network, scheduler).save_pretrained(str(folder), safe_serialization=True)


def write_checked(module: nn.Module, task: Task, folder: Path) -> tuple[float, int]:
    """Writes the pipeline, reads it back, and gives (the largest difference of COMPARED samples from the student's, the
    bytes that it takes). Raises also SansdataError where it disagrees; then there is no folder."""
    draft = temporary_name(folder)
    try:
        write_pipeline(module, draft)
        inputs = input_kind(task).draw(COMPARED, torch.Generator().manual_seed(0))
        noise, label = noise_of(inputs), None if isinstance(inputs, Tensor) else inputs["label"]
        with torch.no_grad(), fixed(module):
            network = _read_back(module, task, draft)
            condition = module.condition_of(noise) if isinstance(network, ConditionalUNet) else None  # type: ignore[operator]
            answers = ask(network, noise, torch.zeros(COMPARED), label, condition)
            gap = float((answers - module(noise, label=label)).abs().max())
        if not gap <= PARITY:
            raise SansdataError(f"{folder}: not written, because the pipeline disagrees with the student by {gap:.2g}")
        draft.rename(folder)
    except OSError as fault:
        raise ConfigError(f"{folder}: cannot be written ({reason(fault)})") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return gap, sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _read_back(module: nn.Module, task: Task, folder: Path) -> nn.Module:
    """The network that was written, beside the student's own texts where it reads some."""
    own = _parts(merged(module))[0]
    if not isinstance(own, TextUNet):
        return load_pipeline(folder, task).capability("denoises").network
    network = copy.deepcopy(own)
    written = library("diffusers").UNet2DConditionModel.from_pretrained(str(folder / "unet"), local_files_only=True)
    network.unet = written.eval()
    return network


def _parts(module: nn.Module) -> tuple[UNet, Discrete]:
    network = module.of.network if isinstance(module, OneStep) else None
    if not isinstance(network, UNet):
        raise StudentError(
            "a pipeline of diffusers holds a UNet2DModel, and this student is none: distil a pipeline with "
            "--student one-step"
        )
    if module.calls > 1:  # type: ignore[union-attr]
        raise StudentError(
            f"a DDIMPipeline tells a network one time, and a student of {module.calls} calls is told where it starts "  # type: ignore[union-attr]
            "too: export it as pt2 or onnx, or distil with calls=1"
        )
    schedule = module.schedule  # type: ignore[union-attr]
    if not isinstance(schedule, Discrete) or schedule.first != 0:
        raise StudentError("a DDIMPipeline asks at whole times from 0 on, and this student has no such schedule")
    return network, schedule


def _guide_for_good(network: Any, student: OneStep) -> None:
    """What the network is told of its guidance is one vector, added before a linear layer: a part of its bias."""
    embedding = network.time_embedding
    with torch.no_grad():
        condition = student.condition_of(torch.zeros(1, device=student.strengths.device))
        assert condition is not None
        condition = condition.cpu()
        embedding.linear_1.bias += (embedding.linear_1.weight @ embedding.cond_proj(condition)[0]).detach()
    embedding.cond_proj = None


def _turn_into_samples(network: Any, student: OneStep) -> None:
    """x_0 = alpha x - sigma v: where alpha is nothing the last layer is multiplied by -sigma."""
    schedule = student.schedule
    last = torch.tensor([float(schedule.last)], dtype=torch.float64)
    if float(schedule.alpha(last)) > ALMOST_NONE:
        raise StudentError(
            f"the schedule keeps {float(schedule.alpha(last)):.3g} of the signal at its last time, so that no network "
            "that gives v is one that gives the sample; distil a teacher that predicts the sample or the noise"
        )
    with torch.no_grad():
        for parameter in network.conv_out.parameters():
            parameter.mul_(-float(schedule.sigma(last)))


def _betas(schedule: Discrete) -> list[float]:
    """The betas whose running product is the table."""
    kept = schedule.kept.double().cpu()
    return (1 - torch.cat([kept[:1], kept[1:] / kept[:-1]])).tolist()
