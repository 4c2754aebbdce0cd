"""A finished network made smaller with synthesised images: `sansdata.quantize` and `sansdata.prune`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import __version__, columns
from ..compress import calibrate
from ..compress import prune as pruning
from ..compress import quantize as few_bits
from ..compress.few_bits import released
from ..compress.packable import packable
from ..datasets.images import load_images
from ..decoding import pixels
from ..errors import ConfigError, DataError, StudentError
from ..files import absolute, is_regular, reason, user_path
from ..kinds.index import input_kind
from ..manner import suited
from ..models.copying import private_copy
from ..models.modes import fixed, usual_modes
from ..models.saved import read_model, write_model
from ..models.taps import forward
from ..network import Network
from ..runtime import Runtime, resolve_device
from ..streams import Streams
from ..tasks import Task
from ..teachers.specs import resolve
from .outputs import require_free
from .result import Asked, Result, TaskLike, asked, generator_kept

USED = 1024
"""Images that are looked at, spread evenly over those given; pruning looks at all."""


@dataclass(frozen=True)
class Compressed:
    """A smaller network: what it is, and how far it answers like the one it was made from."""

    student: nn.Module
    """Takes normalised images (B, C, H, W), gives logits (B, K). In eval mode."""
    task: Task
    architecture: dict[str, Any] | None
    agreement: float
    """Share of the images, 0..1, that keep their class. No accuracy: no labels were read."""
    kept: float = 1.0
    """Share of the weights of convolutions and linear layers that pruning left."""
    file: Path | None = None
    """Where it was written."""


Model = str | Path | Result | nn.Module | Compressed


@usual_modes()
def quantize(
    model: Model,
    images: str | Path | Result | Tensor,
    weights: int = 4,
    inputs: int = 4,
    *,
    task: Any = None,
    out: str | Path | None = None,
    device: str = "auto",
) -> Compressed:
    """Post-training quantization, simulated in float: weights per output channel, inputs of layers per tensor.

    model: a run directory, a Result or Compressed, a SPEC with its task, or a module that takes normalised images, with
    a task. images: a run (its images.npz), a set as `evaluate` takes them (of a known set its training half), or a
    uint8 tensor (N, C, H, W); their ranges calibrate. weights, inputs: bits, 2 to 8, or 32 for float; the first and
    the last layer have at least 8. out: a student file to write, which is not there yet. Raises ConfigError, DataError,
    StudentError.
    """
    for name, bits in (("weights", weights), ("inputs", inputs)):
        if not (isinstance(bits, int) and (2 <= bits <= 8 or bits == few_bits.FLOAT)):
            raise ConfigError(f"{name}={bits!r}: expected 2 to 8 bits, or 32 for none rounded")
    job = _Job(model, images, task, out, device)
    smaller = few_bits.quantize(job.module, job.task.shape, weights, inputs)
    if min(weights, inputs) < few_bits.FLOAT:
        calibrate.calibrate(smaller, job.module, job.inputs(USED))
    architecture = None
    if job.architecture is not None:
        size: dict[str, Any] = {"shape": list(job.task.shape), "classes": job.task.classes, "of": job.architecture}
        architecture = {"kind": "quantized", "weights": weights, "inputs": inputs, **size}
        if weights == inputs == few_bits.FLOAT:
            architecture = job.architecture
    kept = model.kept if isinstance(model, Compressed) else 1.0
    return job.done(smaller, architecture, f"weights at {weights} bits, inputs at {inputs}", kept)


@usual_modes()
def prune(
    model: Model,
    images: str | Path | Result | Tensor,
    keep: float = 0.5,
    steps: int = 0,
    *,
    task: Any = None,
    out: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
) -> Compressed:
    """Sets the smallest weights to 0, moves BatchNorm's statistics after them, and lets the network learn its old
    answers on the images for `steps` steps of 128.

    keep: share of the weights of convolutions and linear layers, above 0 and at most 1. model, images, task, out as in
    `quantize`. Raises ConfigError, DataError, StudentError.
    """
    if not 0 < keep <= 1:
        raise ConfigError(f"keep={keep!r}: expected the share of weights to keep, above 0 and at most 1")
    if steps < 0:
        raise ConfigError(f"steps={steps!r}: expected 0 or more steps of learning the old answers again")
    job = _Job(model, images, task, out, device)
    masks = pruning.magnitude_masks(job.module, keep, job.task.shape)
    smaller, inputs = pruning.prune(job.module, masks), job.inputs(None)
    pruning.recalibrate(smaller, job.module, inputs)
    if steps:
        generator = Streams(seed)("recover")
        pruning.recover(
            smaller, masks, job.module, inputs, job.runtime, steps=steps, generator=generator,
            read=job.network.outputs.read,
        )  # fmt: skip
    share = pruning.kept_share(smaller, masks)
    return job.done(smaller, job.architecture, f"{100 * share:.1f} % of the weights kept", share)


class _Job:
    """What both verbs share: the network to begin with, the images, and writing what came of them."""

    def __init__(self, model: Model, images: Any, task: Any, out: str | Path | None, device: str) -> None:
        self.out = None if out is None else absolute(user_path(out))
        if self.out is not None:
            if self.out.suffix != ".safetensors":
                raise ConfigError(f"--out {self.out}: a student file ends in .safetensors")
            require_free(self.out)
        self.runtime = Runtime(resolve_device(device))
        self.network, self.task, self.architecture, self.source = network_of(model, task)
        self.network = self.network.around(private_copy(self.network.module, StudentError).eval())
        self.runtime, _ = suited(self.runtime, {"the model": self.network}, self.task)
        self.module = self.network.module
        self.images = images_for(images, self.task)
        if self.out is not None and self.architecture is None:
            raise StudentError(
                f"{self.out} could not be read back: the network is a module in Python. Keep what is returned instead."
            )

    def inputs(self, count: int | None) -> Tensor:
        """(N, C, H, W) normalised, on the device."""
        images: Any = self.images if count is None else columns.evenly(self.images, count)
        prepared = self.network.preprocessor(self.runtime.place(pixels.unpack(images)))
        assert isinstance(prepared, Tensor)
        return prepared

    def done(self, smaller: nn.Module, architecture: dict[str, Any] | None, how: str, kept: float) -> Compressed:
        smaller.eval().requires_grad_(False)
        inputs = self.inputs(USED)
        classes, old = (_classes(self.network.around(one), inputs) for one in (smaller, self.module))
        agreement = float((classes == old).float().mean())
        if self.out is not None:
            provenance = {"sansdata": __version__, "compressed": how, "from": self.source}
            try:
                write_model(self.out, released(smaller), architecture, self.task, provenance, packable(smaller))
            except OSError as fault:
                raise ConfigError(f"{self.out}: cannot be written ({reason(fault)})") from None
        return Compressed(smaller, self.task, architecture, agreement, kept, self.out)


def network_of(model: Model, task: TaskLike) -> tuple[Network, Task, dict[str, Any] | None, str]:
    """(network, its task, architecture or None, where it is from). Raises StudentError for other than images."""
    opened: tuple[Asked, dict[str, Any] | None, str]
    if isinstance(model, Compressed):
        opened = Asked(model.student, model.task), model.architecture, "a compressed network"
    elif isinstance(model, nn.Module):
        opened = asked(model, task), None, "a module in Python"
    else:
        about = asked(model, task)
        run = model.run_dir if isinstance(model, Result) else about.run_dir
        if run is not None:  # a file that is handed on names no folder of this machine but one that was typed
            source = run.name if isinstance(model, Result) else str(model)
            opened = about, read_model(run / "student.safetensors").architecture, source
        else:
            with generator_kept():
                resolved = resolve(str(model), about.task, pretrained=True)
            opened = Asked(resolved.module, resolved.task), resolved.architecture, resolved.source
    about, architecture, source = opened
    if about.task.pair != ("image", "classes"):
        raise StudentError(
            f"only classifiers of images are made smaller this way so far, and this is of {' x '.join(about.task.pair)}"
        )
    return about.network, about.task, architecture, source


def images_for(images: Any, task: Task) -> Tensor:
    """uint8 (N, C, H, W) that fit the task. Raises DataError."""
    if isinstance(images, Result):
        images = images.run_dir
    if not isinstance(images, Tensor):
        kept = Path(images) / input_kind(task).samples_file
        if os.path.lexists(Path(images) / "run.json") and not is_regular(kept):
            raise DataError(f"{images} kept no images; run it again with engine.images above 0, or give other images")
        pictures = load_images(str(kept if is_regular(kept) else images), task, "train")
        images = torch.from_numpy(np.ascontiguousarray(pictures.images)).permute(0, 3, 1, 2).contiguous()
    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != task.shape or len(images) < 2:
        raise DataError(
            f"expected at least 2 images uint8 (N, {', '.join(map(str, task.shape))}), got {images.dtype} "
            f"{list(images.shape)}"
        )
    return images


def _classes(network: Network, inputs: Tensor) -> Tensor:
    """(N,) of inputs as the module takes them."""
    read = network.outputs.read
    ask: Callable[[Tensor], Tensor] = lambda part: forward(network.module, part, read=read).logits.argmax(1)  # noqa: E731
    with torch.no_grad(), fixed(network.module):
        return torch.cat([ask(part) for part in inputs.split(calibrate.CHUNK)])
