"""A generator that somebody trained on data: a frozen denoiser of pictures, and the way from its space to images."""

from __future__ import annotations

import pydantic
import torch
from torch import Tensor
from torch.nn import functional as F

from ...config import Strict
from ...errors import ConfigError, TeacherError
from ...models.diffusion.denoiser import Denoiser
from ...models.diffusion.schedules import beside
from ...runtime import Runtime
from ...tasks import Task, load_task
from ...teachers.base import Teacher
from ...teachers.denoiser import DENOISES
from ...teachers.specs import load_teacher


class PriorSettings(Strict):
    """model: SPEC of a denoiser. shape: (C, H, W) of its pictures, None is that of the task's images. low, high: the
    range of their values."""

    model: str = ""
    shape: tuple[int, int, int] | None = None
    low: float = -1.0
    high: float = 1.0

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> PriorSettings:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high {self.high:g}: expected low below high")
        return self


class Prior:
    """States (B, C, H, W) of the denoiser's own pictures; images (B, C, H, W) of a task in unit space."""

    def __init__(self, settings: PriorSettings, task: Task, runtime: Runtime) -> None:
        """Reads it. Raises ConfigError where none is named, TeacherError where it cannot be read or does not denoise
        pictures."""
        if not settings.model:
            raise ConfigError(
                "method 'diffdfkd' steers a denoiser that somebody has trained: name it, prior.model=SPEC, such as a "
                "folder of a diffusers pipeline (docs/methods/diffdfkd.md)"
            )
        self.settings, self.size, self.channels = settings, task.shape[1:], task.shape[0]
        shape = settings.shape or task.shape
        of_prior = load_task({
            "inputs": {"kind": "noise", "shape": list(shape)},
            "outputs": {"kind": "field", "range": [settings.low, settings.high]},
        })  # fmt: skip
        teacher = load_teacher(settings.model, of_prior)
        self.denoiser = _denoiser_in(teacher)
        self.shape, self.sha256, self.source = tuple(shape), teacher.sha256 or "", teacher.source
        self.device = runtime.device
        runtime.place(self.denoiser)

    def times(self, count: int) -> list[float]:
        """`count` times of its schedule, evenly spread from the last one down."""
        shares = torch.linspace(1, 0, count + 1, dtype=torch.float64)[:-1]
        return [float(time) for time in self.denoiser.schedule.at(shares)]

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, C, H, W) of unit variance."""
        return torch.randn(count, *self.shape, generator=generator).to(self.device)

    def clean(self, state: Tensor, time: float) -> Tensor:
        """What it takes for the clean picture in `state`; with gradient to the state where that has one."""
        return self.denoiser.clean(state, torch.full((len(state),), time, device=state.device))

    def images(self, clean: Tensor) -> Tensor:
        """Clean pictures as images of the task: in 0..1, of its size and its channels."""
        low, high = self.settings.low, self.settings.high
        images = ((clean - low) / (high - low)).clamp(0, 1)
        if images.shape[2:] != self.size:
            images = F.interpolate(images, self.size, mode="bilinear", antialias=True)
        if images.shape[1] != self.channels:
            images = images.mean(1, keepdim=True).expand(-1, self.channels, -1, -1)
        return images

    def spread(self, time: float) -> float:
        """Sigma, the share of the noise at a time."""
        return float(self.denoiser.schedule.sigma(torch.tensor([time], dtype=torch.float64)))

    def earlier(self, state: Tensor, clean: Tensor, now: float, then: float, noise: Tensor) -> Tensor:
        """A draw of the state at the time `then` before `now`, given the clean picture (Ho et al. 2020, eq. 6 and 7:
        the ancestral sampler, with its smaller variance)."""
        schedule = self.denoiser.schedule
        (a_now, a_then), (s_now, s_then) = (
            part(torch.tensor([now, then], dtype=torch.float64)) for part in (schedule.alpha, schedule.sigma)
        )
        drawn = (s_then / s_now) ** 2 * (s_now**2 - (a_now / a_then * s_then) ** 2)
        kept = (s_then**2 - drawn).clamp_min(0).sqrt()
        one = torch.ones(1, device=state.device)
        noise_seen = (state - beside(a_now * one, state) * clean) / beside(s_now * one, state)
        return (
            beside(a_then * one, state) * clean
            + beside(kept * one, state) * noise_seen
            + beside(drawn.clamp_min(0).sqrt() * one, state) * noise
        )


def _denoiser_in(teacher: Teacher) -> Denoiser:
    denoiser = teacher.capabilities.get(DENOISES)
    if not isinstance(denoiser, Denoiser):
        raise TeacherError(f"prior.model '{teacher.source}' does not denoise: expected a denoiser of pictures")
    if denoiser.labels:
        raise TeacherError(
            f"prior.model '{teacher.source}' is asked by labels; the classes are to come from the teacher alone: give "
            "a denoiser that takes none"
        )
    return denoiser
