"""A student that answers through its teacher's classifier (SimKD, Chen et al., CVPR 2022; KD3): its own network, a
projector behind its last feature map, and a copy of the teacher's last layer in the place of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import StudentError
from .device import device_of
from .modes import fixed
from .taps import execution_order


@dataclass(frozen=True)
class Ending:
    """How a classifier ends. stage: path of the part whose output (B, D, H, W) is averaged into the head's input.

    width, size: D and (H, W), for inputs of the shape with which it was found. rectified: the negative values become 0
    in between, by a function that is no module of its own.
    """

    stage: str
    head: str
    width: int
    size: tuple[int, int]
    rectified: bool = False

    def read(self, output: Tensor) -> Tensor:
        """The map (B, D, H, W) that is averaged, of the stage's output."""
        return F.relu(output) if self.rectified else output


class Projector(nn.Module):
    """(B, C, H, W) -> (B, D, H, W): 1x1, 3x3, 1x1 convolutions with BatchNorm and ReLU, D/factor channels within."""

    def __init__(self, inputs: int, outputs: int, factor: int) -> None:
        super().__init__()
        inner = max(1, outputs // factor)
        self.body = nn.Sequential(
            nn.Conv2d(inputs, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(),
            nn.Conv2d(inner, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(),
            nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class ProjectedStage(nn.Module):
    """A stage, and the projector behind it.

    rectified: the stage's negative values become 0 in between. pooled: (H, W) to which its map is averaged before the
    projector; None leaves it.
    """

    def __init__(
        self, stage: nn.Module, projector: Projector, rectified: bool = False, pooled: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.stage, self.projector, self.rectified = stage, projector, rectified
        self.pooled = None if pooled is None else (pooled[0], pooled[1])

    def forward(self, x: Tensor) -> Tensor:
        features = self.stage(x)
        features = F.relu(features) if self.rectified else features
        return self.projector(features if self.pooled is None else F.adaptive_avg_pool2d(features, self.pooled))


def ending(module: nn.Module, shape: tuple[int, int, int]) -> Ending | None:
    """How `module` ends, found by running it; None where no linear layer reads the mean of a feature map.

    shape: (C, H, W) of what the module takes.
    """
    device = device_of(module)
    inputs = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    read: dict[str, Tensor] = {}

    def note(path: str):
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            read[path] = inputs[0]

        return hook

    heads = [(path, part) for path, part in module.named_modules() if path and isinstance(part, nn.Linear)]
    handles = [part.register_forward_pre_hook(note(path)) for path, part in heads]
    try:
        with fixed(module):
            ran = execution_order(module, inputs, lambda part: True)
    finally:
        for handle in handles:
            handle.remove()
    if not read:
        return None
    head = list(read)[-1]
    features = read[head]
    for path, output in reversed(ran):
        if not isinstance(output, Tensor) or output.ndim != 4:
            continue
        for rectified in (False, True):
            if _is_mean(features, F.relu(output) if rectified else output):
                return Ending(path, head, features.shape[1], (output.shape[2], output.shape[3]), rectified)
    return None


def _is_mean(features: Tensor, maps: Tensor) -> bool:
    """Whether features (B, D) are the means of maps (B, D, H, W) over all positions."""
    same = maps.shape[:2] == features.shape
    return same and torch.allclose(maps.mean((2, 3)), features, rtol=1e-4, atol=1e-5)


def share_classifier(
    student: nn.Module, of: Ending, classifier: nn.Linear, factor: int, teachers: tuple[int, int]
) -> dict[str, Any]:
    """Puts a projector and a frozen copy of `classifier` (D -> K) into `student`, in place; gives the sizes.

    teachers: (H, W) of the teacher's map; a student's that is larger is averaged to it before it is projected (SimKD).
    """
    args: dict[str, Any] = {
        "stage": of.stage, "head": of.head, "width": of.width, "features": classifier.in_features, "factor": factor,
        "rectified": of.rectified,
    }  # fmt: skip
    pooled = [min(own, theirs) for own, theirs in zip(of.size, teachers)]
    if tuple(pooled) != of.size:
        args["pooled"] = pooled
    insert(student, classifier.out_features, **args)
    head = student.get_submodule(of.head)
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.copy_(classifier.weight)
        if head.bias is not None:
            head.bias.copy_(classifier.bias if classifier.bias is not None else torch.zeros_like(head.bias))
    head.requires_grad_(False)
    return args


def insert(
    student: nn.Module, classes: int, stage: str, head: str, width: int, features: int, factor: int,
    rectified: bool = False, pooled: Sequence[int] | None = None,
) -> None:  # fmt: skip
    """The parts alone, with random weights: what a file of such a student is read into. Raises StudentError."""
    try:
        last = student.get_submodule(stage)
        _set(student, stage, ProjectedStage(last, Projector(width, features, factor), rectified, pooled))
        _set(student, head, nn.Linear(features, classes))
    except (AttributeError, TypeError) as fault:
        raise StudentError(f"a projector cannot be put behind '{stage}' of this student ({fault})") from None


def _set(root: nn.Module, path: str, part: nn.Module) -> None:
    owner, _, name = path.rpartition(".")
    parent = root.get_submodule(owner)
    if name not in parent._modules:
        raise AttributeError(f"there is no part '{path}'")
    setattr(parent, name, part)
