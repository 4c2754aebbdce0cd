"""Denoisers in a local folder of the library `diffusers`: model_index.json, the scheduler's config, and a UNet2DModel
or a UNet2DConditionModel, of labels or of texts, in safetensors. Nothing is fetched, no code of the folder runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..compress.rebuild import rebuild
from ..errors import StudentError, TeacherError, UnsafeFileError
from ..files import sha256
from ..models.diffusion.unets import CONDITIONAL, NETWORKS, read_scheduler, reads_texts
from ..models.tensor_file import count_elements, read_safetensors
from ..tasks import Task
from .base import Teacher, plain_copy
from .fill import fill
from .folder import read_json
from .prompts import ENCODER, TOKENIZER, features_of

INDEX = "model_index.json"
UNET, SCHEDULER = "unet/config.json", "scheduler/scheduler_config.json"
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
PICKLED = "unet/diffusion_pytorch_model.bin"
INSIDE, TEXTS = "network.unet.", "network.texts"
"""Where the UNet's weights stand in the denoiser's, and what it reads."""
LATENT, UNREAD = ("vae", "vqvae"), ("vae", "vqvae", "safety_checker", "feature_extractor")
"""Parts that turn latents into pictures, and parts that a denoiser does without."""
LATENTS = "its samples are latents: the pipeline's VAE, which makes pictures of them, is not read"


def is_pipeline(path: Path) -> bool:
    """Whether a path is a folder of this kind."""
    return os.path.isfile(path / INDEX)


def pipeline_files(folder: Path) -> list[Path]:
    """The files that reading such a folder opens."""
    beside = [path for part in (ENCODER, TOKENIZER) for path in sorted((folder / part).glob("*"))]
    return [folder / name for name in (INDEX, UNET, SCHEDULER, WEIGHTS)] + beside


def load_pipeline(folder: Path, task: Task) -> Teacher:
    """A pipeline of a UNet and its scheduler, unconditional, by labels, or by texts, which are the names of the task's
    labels. Of one with a VAE the samples are latents.

    Raises TeacherError for other pipelines and missing files, UnsafeFileError where only pickled weights or code of the
    folder are there, MissingLibraryError without the library.
    """
    if task.pair != ("noise", "field"):
        raise TeacherError(
            f"{folder}: a pipeline makes samples of noise, and this is a task of {' x '.join(task.pair)}"
        )
    index = read_json(folder / INDEX)
    network = _known_network(folder, index)
    for name in (UNET, SCHEDULER):
        if not (folder / name).is_file():
            raise TeacherError(f"{folder / name}: is missing; copy the whole folder again")
    if not (folder / WEIGHTS).is_file():
        raise UnsafeFileError(
            f"{folder}: has no {WEIGHTS}. Pickled weights are not read there; write them anew: sansdata convert "
            f"{folder / PICKLED} --out {folder / WEIGHTS}"
        )
    unet, scheduler = read_json(folder / UNET), read_json(folder / SCHEDULER)
    _require_fitting(folder, unet, task)
    args = {"unet": _described(unet), "scheduler": _described(scheduler), "labels": task.inputs.labels}
    own, notes = {}, [LATENTS] if any(_has(index, part) for part in LATENT) else []
    if reads_texts(unet) and network == CONDITIONAL and _has(index, ENCODER):
        own[TEXTS], more = features_of(folder, task.inputs.label_names)
        args, notes = args | {"texts": list(own[TEXTS].shape)}, notes + more
    architecture = {"kind": "diffusers", "name": network, "args": args}
    elements = count_elements(folder / WEIGHTS) + sum(value.numel() for value in own.values())
    try:
        read_scheduler(scheduler)
        module = rebuild(architecture, (), elements, f"{folder}: a file of {elements:,} numbers whose network")
    except StudentError as fault:
        raise TeacherError(f"{folder}: {fault}") from None
    tensors, _ = read_safetensors(folder / WEIGHTS)
    own = {name: value for name, value in module.state_dict().items() if not name.startswith(INSIDE)} | own
    fill(module, own | {INSIDE + name: value for name, value in tensors.items()}, task, network, str(folder / WEIGHTS))
    return Teacher(plain_copy(module), task, architecture, str(folder), sha256(folder / WEIGHTS), notes=notes)


def _known_network(folder: Path, index: dict[str, Any]) -> str:
    """Which class of network it holds. Raises UnsafeFileError where a part is made by code of the folder, TeacherError
    for parts of another sort."""
    for part, entry in index.items():
        if part.startswith("_") or part in UNREAD or entry is None:
            continue
        if not (isinstance(entry, list) and len(entry) == 2):
            continue  # a setting of the pipeline
        if entry[0] not in ("diffusers", "transformers", None):
            raise UnsafeFileError(f"{folder}: its {part[:40]} is made by code of the folder ({str(entry[0])[:60]})")
        if part not in ("unet", "scheduler", ENCODER, TOKENIZER) and entry[0] is not None:
            raise TeacherError(
                f"{folder}: a pipeline with a {part[:40]} ({str(entry[1])[:60]}), which is not read. Give the denoiser "
                "in Python: sansdata.Denoiser"
            )
    named = index.get("unet")
    if named not in [["diffusers", network] for network in NETWORKS]:
        raise TeacherError(f"{folder}: its unet is {str(named)[:80]}; expected {' or '.join(NETWORKS)} of diffusers")
    return named[1]


def _has(index: dict[str, Any], part: str) -> bool:
    """Whether a pipeline has a part: one that it could have and has not is [null, null]."""
    return index.get(part) not in (None, [None, None])


def _require_fitting(folder: Path, unet: dict[str, Any], task: Task) -> None:
    shape, channels, size = task.inputs.shape, unet.get("in_channels", 3), unet.get("sample_size")
    if len(shape) != 3 or shape[0] != channels or tuple(task.outputs.shape) != tuple(shape):
        raise TeacherError(f"{folder}: takes pictures of {channels} channels, and the task's noise is {list(shape)}")
    sides = [size, size] if isinstance(size, int) else size
    if sides is not None and list(shape[1:]) != list(sides):
        raise TeacherError(f"{folder}: was trained on {sides} pixels, and the task's noise is {list(shape)}")


def _described(config: dict[str, Any]) -> dict[str, Any]:
    """A config without what says where it came from."""
    return {name: value for name, value in config.items() if name == "_class_name" or not name.startswith("_")}
