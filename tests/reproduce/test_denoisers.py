"""A denoiser taught by a recipe: what it sees in noise."""

from __future__ import annotations

import torch

from sansdata.reproduce.denoisers import train
from sansdata.tasks import PairTask


def test_what_it_sees_in_pure_noise_is_the_mean_of_its_images() -> None:
    task = PairTask(
        inputs={"kind": "noise", "shape": [1, 8, 8]}, outputs={"kind": "field", "range": [-0.5, 0.5], "steps": 4}
    )
    columns = torch.arange(8).expand(1, 8, 8)
    images = torch.stack([(columns < 4) * 102, (columns < 4) * 204]).to(torch.uint8)
    denoiser = train("picture-denoiser", images, task, steps=100)
    noise = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        seen = denoiser.clean(noise, torch.ones(16)).mean(0)
    assert abs(float(seen[0, :, :4].mean()) - (0.6 - 0.5)) < 0.15
    assert abs(float(seen[0, :, 4:].mean()) - (0.0 - 0.5)) < 0.15
