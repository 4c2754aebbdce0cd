"""How good a generator's samples are, in the features of a classifier that the caller names: no labels of the samples,
no network from the web."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import columns
from ..columns import Inputs
from ..datasets.images import load_images
from ..decoding.shape import to_channels
from ..errors import ConfigError, StudentError
from ..evaluate.generators import class_shares, features, frechet, measured
from ..evaluate.kept import keep_figures
from ..evaluate.labelled import Evaluation, finite
from ..evaluate.snapshots import predictor
from ..figures import Drawing
from ..files import is_regular
from ..kinds.index import input_kind
from ..kinds.inputs.noise import noise_of
from ..models.diffusion.steerable import Steerable
from ..models.modes import borrowed, usual_modes
from ..runtime import Runtime, resolve_device
from ..tasks import ImageTask, Task, load_task
from ..teachers.base import Teacher
from ..teachers.denoiser import DENOISES
from ..teachers.specs import load_teacher
from .result import Result, TaskLike, asked, generator_kept, teacher_or_spec

COUNT, BATCH = 2000, 250
FEWEST = 100
SEED = 61_000
"""Of the noises: the same for every generator of a task."""


@usual_modes()
def judge(
    model: str | Path | Result | nn.Module,
    data: str | Path,
    by: str | Teacher,
    by_task: TaskLike = None,
    task: TaskLike = None,
    count: int = COUNT,
    device: str = "auto",
    teacher: str | Teacher | None = None,
) -> Evaluation:
    """Draws `count` samples of a generator of pictures and compares them with real images: Frechet and kernel distance,
    precision, recall, density, coverage and the share of each class, in the features of the classifier `by`.

    model: a run directory, a Result, a SPEC with its task, such as the teacher's own, or a module. data: real images as
    datasets.images reads them. by: a SPEC of a classifier of images and its task `by_task`, or a Teacher: it must be
    another network than any that taught the generator, and every figure names it. The features are what enters its last
    linear layer. Samples and real images are resized to what it takes. A generator of several calls is also compared in
    fewer; teacher: its denoiser, which then stands beside it in as many steps. The figures of a run are added to its
    evaluation.json. Raises ConfigError, DataError, TeacherError, TaskError, and StudentError for samples that are not
    finite.
    """
    about, runtime = asked(model, task), Runtime(resolve_device(device))
    shape = _require_pictures(about.task)
    if count < FEWEST:
        raise ConfigError(f"distances between sets of fewer than {FEWEST} samples say nothing, got count={count}")
    with generator_kept():
        by = teacher_or_spec(by, None)
        judging = load_teacher(by, _task_of(by_task)) if isinstance(by, str) else by
        beside = None if teacher is None else about.teacher(teacher)
    job = judging.task
    if not isinstance(job, ImageTask):
        raise ConfigError(f"a judge is a classifier of images, and '{judging.source}' is one of {' x '.join(job.pair)}")
    head = judging.inside.head
    if head is None:
        raise ConfigError(f"the judge '{judging.source}' has no last linear layer, whose inputs are the features")
    images = torch.from_numpy(load_images(str(data), job, "test").images).permute(0, 3, 1, 2)
    noise = input_kind(about.task).draw(count, torch.Generator().manual_seed(SEED))

    def seen(draw: Callable[[Inputs], Tensor]) -> tuple[Tensor, Tensor]:
        parts = [torch.as_tensor(draw(part)).cpu() for part in columns.split(noise, BATCH)]
        made = torch.cat([finite(part, "the generator", StudentError) for part in parts])
        return features(judging.network, head, seen_by(job, made, about.task.outputs.range))

    real, logits = features(judging.network, head, images.float().div(255))
    with borrowed(about.module), torch.no_grad():
        theirs, answers = seen(predictor(about.network, about.task, runtime))
        by_calls = {
            whose: [[number, frechet(real.double(), seen(draw)[0].double())] for number, draw in draws.items()]
            for whose, draws in _in_calls(about.module, beside).items()
        }
    name = f"{judging.source} ({len(real):,} real images, {count:,} samples of {'x'.join(map(str, shape))})"
    figures = measured(real, theirs, answers, judging.source, class_shares(logits), job.class_names)
    if by_calls:
        figures.append(
            Drawing("frechet_by_calls", "curve", by_calls, f"the distance in so many calls, {judging.source}")
        )
    judged = Evaluation(count, tuple(figures), job.class_names, f"{data}", (f"judged by {name}",))
    if about.run_dir is not None and is_regular(about.run_dir / "run.json") and (
        fault := keep_figures(about.run_dir, judged.to_dict())
    ):  # fmt: skip
        print(f"warning   {fault}", file=sys.stderr)
    return judged


def _in_calls(module: nn.Module, teacher: Teacher | None) -> dict[str, dict[int, Callable[[Inputs], Tensor]]]:
    """whose -> how many calls -> samples of noise; nothing where the generator has one call only."""
    if not isinstance(module, Steerable) or module.calls == 1:
        return {}
    samplers: dict[str, Any] = {"student": module.sample}
    if teacher is not None:
        samplers["teacher"] = teacher.capability(DENOISES).sample
    counts = range(1, module.calls + 1)
    return {whose: {count: partial(_drawn, sample, count) for count in counts} for whose, sample in samplers.items()}


def _drawn(sample: Callable[..., Tensor], calls: int, inputs: Inputs) -> Tensor:
    return sample(noise_of(inputs), None if isinstance(inputs, Tensor) else inputs["label"], calls)


def seen_by(task: ImageTask, samples: Tensor, extent: tuple[float, float]) -> Tensor:
    """Samples (N, C, H, W) in the range `extent` as a classifier of `task` takes them: (N, ...) in 0..1."""
    low, high = extent
    unit = ((samples.float() - low) / (high - low)).clamp(0, 1)
    channels, height, width = task.shape
    if unit.shape[1] != channels:
        grey = to_channels(unit.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy(), channels)
        unit = torch.from_numpy(grey).permute(0, 3, 1, 2).float().div(255)
    if tuple(unit.shape[2:]) == (height, width):
        return unit
    return F.interpolate(unit, (height, width), mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)


def _require_pictures(task: Task) -> tuple[int, ...]:
    shape: Any = getattr(task.outputs, "shape", ())
    if task.pair != ("noise", "field") or len(shape) != 3 or shape[0] not in (1, 3):
        raise ConfigError(f"a judge sees generators of pictures, and this is a task of {' x '.join(task.pair)} {shape}")
    return tuple(shape)


def _task_of(task: TaskLike) -> Task:
    if task is None:
        raise ConfigError("give the judge's own task (by_task, --judge-task): a known one or a file")
    return load_task(task)
