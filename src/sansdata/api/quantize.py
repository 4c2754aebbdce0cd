"""A trained network as a file of integers, made without data or training: `sansdata quantize`."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from .. import columns
from ..compress.correct import Per
from ..compress.dfq import INPUTS, Ready, make_ready
from ..deploy.int8 import load_int8, write_int8
from ..deploy.int8_torchao import write_pt2
from ..engine.long_steps import long_step
from ..errors import ConfigError, StudentError, did_you_mean
from ..files import reason, temporary_name, user_path
from ..methods.index import find_method, method_names
from ..models.copying import private_copy
from ..models.modes import usual_modes
from ..network import Network
from ..objectives.agreement import agreement
from ..streams import Streams
from ..synthesis.zeroq import STEPS, distilled_batch
from ..tasks import ImageTask
from ..teachers.base import Teacher, dissect
from .compress import Compressed, images_for, network_of
from .distill import distill
from .outputs import require_free
from .result import Result, generator_kept

Runtime = Literal["onnx", "pt2"]
STATISTICAL = ("dfq", "zeroq", "noise")
"""Ways to calibrate that make no run of a method."""
BATCH = 64
"""Inputs of a distilled batch, and of noise where nothing else tells a range."""
FEW, FEW_STEPS = 16, 100
"""Inputs and steps of the batch that only fills in what BatchNorm leaves open, mostly the head's range."""


@dataclass(frozen=True)
class Integers:
    """A network of integers in a file. size: bytes. agreement: share of the inputs that calibrated it, 0..1, on which
    it names the class that the float network names. notes: what was done, in sentences. by_inputs: paths of layers
    whose output's range BatchNorm did not tell."""

    file: str
    runtime: str
    calibrated: str
    per: str
    size: int
    agreement: float
    by_inputs: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


@usual_modes()
def to_int8(
    model: str | Path | Result | nn.Module | Compressed,
    out: str | Path,
    calibrate: Any = "dfq",
    *,
    per: Per = "channel",
    runtime: Runtime = "onnx",
    task: Any = None,
    budget: str = "60s",
    seed: int = 0,
) -> Integers:
    """Writes a classifier of images as an INT8 file, with its preprocessing inside.

    model, task: as in `sansdata.quantize`. calibrate: 'dfq' takes ranges and corrections from BatchNorm, and where it
    says nothing from a batch that ZeroQ distils (of noise without any BatchNorm); 'zeroq' and 'noise' take all from
    such inputs; the name of a method, from the images that a run of it with this teacher and `budget` makes; a run or
    a set of images, or uint8 (N, C, H, W), from those. per: weights have one scale a 'tensor' or a 'channel'. runtime:
    'onnx' for onnxruntime, 'pt2' for torch's own (needs torchao). Raises ConfigError, also where `out` is there
    already, DataError, StudentError, MissingLibraryError, and what a run of a method raises.
    """
    for name, value, known in (("per", per, Per), ("runtime", runtime, Runtime)):
        if value not in get_args(known):
            raise ConfigError(f"{name}={value!r}: {did_you_mean(str(value), get_args(known))}")
    path = user_path(out)
    require_free(path)
    return integers(model, path, calibrate, per=per, runtime=runtime, task=task, budget=budget, seed=seed)


def integers(
    model: str | Path | Result | nn.Module | Compressed,
    path: Path,
    calibrate: Any,
    *,
    per: Per = "channel",
    runtime: Runtime = "onnx",
    task: Any = None,
    budget: str = "60s",
    seed: int = 0,
) -> Integers:
    """As `to_int8`, in the place of what stands at `path`."""
    network, about, _, _ = network_of(model, task)
    assert isinstance(about, ImageTask)
    network = network.around(private_copy(network.module, StudentError).cpu().eval())
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: the folder {path.parent} does not exist")
    inputs, notes = calibration_inputs(calibrate, network, about, budget, seed)
    ready = make_ready(
        network.module, about.shape, inputs, ends_of(network), per, by_statistics=calibrate == "dfq"
    )  # fmt: skip
    size = _write(ready, about, path, per, runtime)
    alike = _agreement(network, path, runtime, inputs)
    source = calibrate if isinstance(calibrate, (str, Path)) else "the images that were given"
    return Integers(str(path), runtime, str(source), per, size, alike, ready.by_inputs, [*notes, *ready.notes])


def ends_of(network: Network) -> tuple[float, float]:
    """(least, greatest) value of an image in 0..1 as the network takes it."""
    door: Any = network.preprocessor
    corners = [(value - mean) / std for value in (0.0, 1.0) for mean, std in zip(door.mean, door.std)]
    return min(corners), max(corners)


def as_images(network: Network, inputs: Tensor) -> Tensor:
    """Inputs as the network takes them, cut to what images in 0..1 can be.

    Deviation: ZeroQ calibrates on inputs of any value. No image has them, and ranges are the wider for it.
    """
    door: Any = network.preprocessor
    return door(door.undo(inputs).clamp(0, 1))


def calibration_inputs(
    calibrate: Any, network: Network, task: ImageTask, budget: str, seed: int
) -> tuple[Tensor, list[str]]:
    """(inputs (N, C, H, W) as the network takes them, what is to be said of them)."""
    generator = Streams(seed)("calibration")
    if calibrate in STATISTICAL:
        norms = () if calibrate == "noise" else dissect(network, torch.rand(2, *task.shape)).batch_norms
        if norms:
            size, steps = (FEW, FEW_STEPS) if calibrate == "dfq" else (BATCH, STEPS)
            with long_step("distilling a batch of inputs"):
                batch = distilled_batch(network, norms, task.shape, size, generator, steps)
            return as_images(network, batch.inputs), [
                f"a batch was distilled: BatchNorm's loss fell from {batch.first:.3g} to {batch.last:.3g}"
            ]
        if calibrate == "zeroq":
            raise StudentError(
                "--calibrate zeroq matches BatchNorm's statistics, and this network has none. Calibrate with a method "
                "that needs none, such as noise, or with images"
            )
        why = ["the network has no BatchNorm: all ranges come from noise"] if calibrate == "dfq" else []
        return as_images(network, torch.randn(BATCH, *task.shape, generator=generator)), why
    if isinstance(calibrate, str) and calibrate in method_names() and not Path(calibrate).exists():
        images = _of_a_method(calibrate, network, task, budget, seed)
    else:
        images = images_for(calibrate, task)
    chosen: Any = columns.evenly(images, INPUTS)
    prepared = network.preprocessor(chosen.float() / 255)
    assert isinstance(prepared, Tensor)
    return prepared, [f"{len(chosen)} images calibrated it"]


def _of_a_method(name: str, network: Network, task: ImageTask, budget: str, seed: int) -> Tensor:
    """uint8 (N, C, H, W): what a run of the method keeps, with the network as its teacher and half of it as student."""
    teacher = Teacher.from_module(network.module, task)
    with generator_kept(), tempfile.TemporaryDirectory() as folder:
        preset = "small" if "small" in find_method(name).presets else "default"
        run = distill(teacher, "shrink:0.5", name, budget, Path(folder) / "run", seed, preset=preset)
        return images_for(run, task)


def _write(ready: Ready, task: ImageTask, path: Path, per: Per, runtime: Runtime) -> int:
    draft = temporary_name(path).with_suffix(f".{runtime}")  # torch.export.save asks for it
    try:
        if runtime == "onnx":
            write_int8(ready, task, draft, per)
        else:
            write_pt2(ready, task, draft, per)
        draft.replace(path)
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be written ({reason(fault)})") from None
    finally:
        draft.unlink(missing_ok=True)
    return path.stat().st_size


def _agreement(network: Network, path: Path, runtime: Runtime, inputs: Tensor) -> float:
    """Share of the inputs, as images in 0..1, of which both say the same."""
    door: Any = network.preprocessor
    ask, images = load_int8(path, runtime), door.undo(inputs).clamp(0, 1)
    with torch.no_grad():
        ours = torch.cat([network(part).value for part in images.split(128)])
        theirs = torch.cat([ask(part) for part in images.split(128)])
    return agreement(ours, theirs)
