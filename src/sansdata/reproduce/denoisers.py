"""Training a denoiser on real pictures: a teacher of the recipes of generators, trained once and kept."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..datasets.images import load_images
from ..models.build import architecture_of, build
from ..models.diffusion.denoiser import Denoiser
from ..models.diffusion.schedules import beside
from ..runtime import make_runtime
from ..streams import Streams
from ..tasks import Task, load_task
from .teachers import cache, keep_weights

BATCH, LR = 64, 2e-3
"""Adam's rate at its highest; one cycle."""


def ensure_denoiser(data: str, task: Task, network: str, steps: int, held_out: int) -> Path:
    """The file of a denoiser of the training images of a known set without the last `held_out`; made where it is not
    there yet."""
    path = cache() / f"{data}-{network}-{steps}.safetensors"
    if not path.is_file():
        print(f"training the denoiser {network} for {steps} steps", flush=True)
        images = torch.from_numpy(load_images(data, load_task(data), "train").images[:-held_out])
        module = train(network, images.permute(0, 3, 1, 2).contiguous(), task, steps)
        keep_weights(path, module)
    return path


def train(network: str, images: Tensor, task: Task, steps: int, seed: int = 0) -> Denoiser:
    """A denoiser taught to give v in uint8 images (N, C, H, W) at all of its times (Salimans & Ho 2022), which unlike
    the noise says something of the image in pure noise too; the last step, in eval mode."""
    runtime, streams = make_runtime("cpu"), Streams(seed)
    with streams.as_global("teacher"):
        module = runtime.place(build(architecture_of(network, task)))
    assert isinstance(module, Denoiser)
    assert module.prediction == "v_prediction"
    low, high = task.outputs.range
    path = module.schedule
    optimizer = torch.optim.Adam(module.parameters(), lr=LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)
    module.train()
    for step in range(steps):
        streams.begin(step)
        ids = torch.randint(len(images), (BATCH,), generator=streams("order"))
        clean = images[ids].float().div(255) * (high - low) + low
        noise = torch.randn(clean.shape, generator=streams("noise"))
        times = path.at(torch.rand(BATCH, generator=streams("times")))
        alpha, sigma = beside(path.alpha(times), clean), beside(path.sigma(times), clean)
        answer = module.ask(alpha * clean + sigma * noise, times, None)
        (answer - (alpha * noise - sigma * clean)).square().mean().backward()
        runtime.step(optimizer, clip=1.0)
        schedule.step()
    return module.eval()
