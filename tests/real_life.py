"""Networks as people have them, tiny: how they are written, not what they learnt. Images of 3 x 8 x 8, 4 classes."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from sansdata.models.copying import unwrapped
from sansdata.tasks import ImageTask

TASK = ImageTask(shape=(3, 8, 8), classes=4, mean=(0.5,) * 3, std=(0.25,) * 3)


class Head(nn.Module):
    """Features through `change`, then a linear layer."""

    def __init__(self, norm: nn.Module | None = None, change: Callable[[Tensor], Tensor] = lambda x: x.mean((2, 3))):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 4, 3, padding=1, stride=2), norm or nn.BatchNorm2d(4)
        self.change = change
        with torch.no_grad():
            width = change(torch.zeros(2, 4, 4, 4)).shape[1]
        self.head = nn.Linear(width, 4)

    def features(self, x: Tensor) -> Tensor:
        return self.change(torch.relu(self.norm(self.stem(x))))

    def forward(self, x: Tensor) -> Any:
        return self.head(self.features(x))


def flattened(x: Tensor) -> Tensor:
    return x.view(x.size(0), -1)


def covariance(x: Tensor) -> Tensor:
    """Nearly singular, as of features that say the same: positive in float32, and in bf16 no longer."""
    rows = x.flatten(2).repeat(1, 2, 1)
    both = rows @ rows.transpose(1, 2) / rows.shape[2]
    return both + 1e-4 * torch.eye(both.shape[1], dtype=both.dtype)


def cholesky(x: Tensor) -> Tensor:
    return torch.linalg.cholesky(covariance(x)).flatten(1)


def eigen(x: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(covariance(x).float())


def spectrum(x: Tensor) -> Tensor:
    return torch.fft.rfft2(x).abs().flatten(1)


def warped(x: Tensor) -> Tensor:
    grid = F.affine_grid(torch.eye(2, 3).expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False).mean((2, 3))


def one_type(x: Tensor) -> Tensor:
    """What is added must be of the type of what it is added to."""
    return torch.zeros(len(x), 4).index_add(1, torch.arange(4), x.mean((2, 3)))


class Frozen(nn.Module):
    """As torchvision.ops.misc.FrozenBatchNorm2d, detectron2's and DETR's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.1), ("running_var", 1.1)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        return x * scale.view(1, -1, 1, 1) + (self.bias - self.running_mean * scale).view(1, -1, 1, 1)


class Volume(nn.Module):
    """Images as clips of one frame: convolutions and BatchNorm of three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv3d(3, 4, (1, 3, 3)), nn.BatchNorm3d(4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.conv(x[:, :, None]))).mean((2, 3, 4)))


class Rows(nn.Module):
    """BatchNorm behind linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Twice(Head):
    """One BatchNorm that runs twice, as in networks with shared stages."""

    def features(self, x: Tensor) -> Tensor:
        return self.norm(torch.relu(self.norm(self.stem(x)))).mean((2, 3))


class Patches(nn.Module):
    """A transformer of one block on patches, with a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 8, 4, stride=4), nn.Parameter(torch.zeros(1, 1, 8))
        self.block, self.head = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.patch(x).flatten(2).transpose(1, 2)
        return self.head(self.block(torch.cat([self.token.expand(len(x), -1, -1), rows], 1))[:, 0])


class Returns(Head):
    """Logits beside something else."""

    def __init__(
        self, pack: Callable[[Tensor, Tensor], Any], change: Callable[[Tensor], Tensor] = lambda x: x.mean((2, 3))
    ):
        super().__init__(change=change)
        self.pack = pack

    def forward(self, x: Tensor) -> Any:
        features = self.features(x)
        return self.pack(self.head(features), features)


Named = namedtuple("Named", ["logits", "aux_logits"])


class Inside(Head):
    """Normalises inside, and is fed with 0..1."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x - 0.5) / 0.25)


class Scaled(Head):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / self.temperature


def with_buffer_outside_the_state() -> nn.Module:
    module = Scaled()
    module.register_buffer("temperature", torch.tensor(1.5), persistent=False)
    return module


def tied() -> nn.Module:
    module = Head(change=flattened)
    module.again = nn.Linear(64, 4)
    module.again.weight = module.head.weight
    return module


def by_name(norm: nn.Module) -> nn.Module:
    """Calls its BatchNorm with a named argument."""

    class ByName(Head):
        def features(self, x: Tensor) -> Tensor:
            return self.norm(input=self.stem(x)).mean((2, 3))

    return ByName(norm)


def weight_normed(make: Callable[[nn.Module], nn.Module]) -> nn.Module:
    module = Head()
    module.head = make(module.head)
    module(torch.zeros(2, 3, 8, 8))  # the old kind keeps the result of this pass
    return module


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4))


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return (weight + weight.flip(0)) / 2


def parametrised() -> nn.Module:
    module = Head()
    parametrize.register_parametrization(module.head, "weight", Symmetric())
    return module


def made_for_inference() -> nn.Module:
    with torch.inference_mode():
        return Head().eval()


def compiled_inside() -> nn.Module:
    module = Head()
    module.stem = torch.compile(module.stem, backend="eager")  # type: ignore[assignment]
    return module


def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(Head().eval(), {nn.Linear})


def without_gradient(module: nn.Module) -> nn.Module:
    class Blind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        @torch.no_grad()
        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x)

    return Blind()


def seen(module: nn.Module) -> nn.Module:
    """Its statistics have seen a few batches, so that its answers differ."""
    with torch.no_grad():
        for _ in range(3):
            unwrapped(module).train()(torch.randn(16, 3, 8, 8))
    return module.eval()


@dataclass(frozen=True)
class Row:
    """make: the module. left_off: what a run leaves off. norms: layers with statistics that can be matched. refused: a
    part of the one error, its mend. answers: the task's field. warned: a part of a warning of `check`. auto: a part of
    what `--method auto` says."""

    make: Callable[[], nn.Module]
    left_off: tuple[str, ...] = ()
    norms: int | None = None
    refused: str = ""
    answers: int | str | None = None
    warned: str = ""
    auto: str = ""
    task: Mapping[str, Any] = field(default_factory=dict)

    @property
    def job(self) -> ImageTask:
        return TASK.model_copy(update={"answers": self.answers, **self.task})


PLAIN, FLOAT = ("plain memory layout",), ("in float32",)

TEACHERS: dict[str, Row] = {
    "view behind a map": Row(lambda: Head(change=flattened), PLAIN, 1),
    "cholesky pooling": Row(lambda: Head(change=cholesky), FLOAT, 1),
    "eigenvalues": Row(lambda: Head(change=eigen), norms=1),
    "spectrum": Row(lambda: Head(change=spectrum), norms=1),
    "spatial transformer": Row(lambda: Head(change=warped), norms=1),
    "one type only": Row(lambda: Head(change=one_type), FLOAT, 1),
    "view and cholesky": Row(
        lambda: Head(change=lambda x: torch.cat([flattened(x), cholesky(x)], 1)), PLAIN + FLOAT, 1
    ),
    "SyncBatchNorm": Row(lambda: Head(nn.SyncBatchNorm(4)), norms=1),
    "FrozenBatchNorm": Row(lambda: Head(Frozen(4)), norms=1, auto="fm"),
    "tracked InstanceNorm": Row(lambda: Head(nn.InstanceNorm2d(4, track_running_stats=True)), norms=1, auto="fm"),
    "InstanceNorm": Row(lambda: Head(nn.InstanceNorm2d(4)), norms=0, auto="dafl"),
    "GroupNorm": Row(lambda: Head(nn.GroupNorm(2, 4)), norms=0, auto="dafl"),
    "BatchNorm1d": Row(Rows, norms=1, auto="fm"),
    "BatchNorm3d": Row(Volume, norms=1, auto="fm"),
    "BatchNorm that runs twice": Row(Twice, norms=0, auto="dafl", warned="run several times"),
    "BatchNorm called by name": Row(lambda: by_name(nn.BatchNorm2d(4)), norms=1, auto="fm"),
    "transformer of patches": Row(Patches, norms=0, auto="dafl"),
    "logits and features": Row(lambda: Returns(lambda y, h: (y, h), flattened), PLAIN),
    "features and logits": Row(lambda: Returns(lambda y, h: (h, y), cholesky), FLOAT),
    "embedding of size K and logits": Row(lambda: Returns(lambda y, h: (h, y)), refused="answers: 0, or answers: 1"),
    "the same, named": Row(lambda: Returns(lambda y, h: (h, y)), answers=1),
    "several exits": Row(lambda: Returns(lambda y, h: [h, 2 * h, y]), refused="answers: 0, or answers: 2"),
    "several exits, named": Row(lambda: Returns(lambda y, h: [h, 2 * h, y]), answers=2),
    "a place that is not there": Row(lambda: Returns(lambda y, h: (h, y)), answers=7, refused="0: [8, 4], 1: [8, 4]"),
    "dict": Row(lambda: Returns(lambda y, h: {"features": h, "logits": y})),
    "dict of other names": Row(lambda: Returns(lambda y, h: {"cls": y}), refused="answers: cls"),
    "dict of other names, named": Row(lambda: Returns(lambda y, h: {"cls": y}), answers="cls"),
    "ModelOutput": Row(lambda: Returns(lambda y, h: OrderedDict(loss=None, logits=y, hidden_states=(h,)))),
    "named tuple": Row(lambda: Returns(lambda y, h: Named(y, 2 * y))),
    "namespace": Row(lambda: Returns(lambda y, h: SimpleNamespace(logits=y))),
    "only scores": Row(lambda: without_gradient(Head()), auto="disguide", warned="no gradient"),
    "buffer outside the state": Row(with_buffer_outside_the_state, norms=1),
    "old weight_norm": Row(lambda: weight_normed(nn.utils.weight_norm)),
    "spectral_norm": Row(lambda: weight_normed(nn.utils.spectral_norm)),
    "quantised": Row(quantised, refused="dynamically quantised"),
    "extra state": Row(lambda: WithState(), norms=1),
    "half": Row(lambda: Head().half(), norms=1),
    "double": Row(lambda: Head().double(), norms=1),
    "compiled": Row(lambda: torch.compile(Head()), norms=1),
    "compiled inside": Row(compiled_inside, norms=1),
    "made in inference mode": Row(made_for_inference),
    "parallel": Row(lambda: nn.DataParallel(Head()), norms=1),
    "TorchScript": Row(lambda: torch.jit.trace(Head().eval(), torch.zeros(2, 3, 8, 8)), refused="it was made from"),
    "lazy": Row(lazy, refused="run the module once"),
}

STUDENTS: dict[str, Row] = {
    "view behind a map": Row(lambda: Head(change=flattened), PLAIN),
    "cholesky pooling": Row(lambda: Head(change=cholesky), FLOAT),
    "old weight_norm": Row(lambda: weight_normed(nn.utils.weight_norm)),
    "weight_norm": Row(lambda: weight_normed(parametrizations.weight_norm)),
    "old spectral_norm": Row(lambda: weight_normed(nn.utils.spectral_norm)),
    "spectral_norm": Row(lambda: weight_normed(parametrizations.spectral_norm)),
    "parametrised": Row(parametrised),
    "lazy": Row(lazy),
    "half": Row(lambda: Head().half()),
    "double": Row(lambda: Head().double()),
    "tied": Row(tied, PLAIN),
    "buffer outside the state": Row(with_buffer_outside_the_state),
    "BatchNorm3d": Row(Volume),
    "SyncBatchNorm": Row(lambda: Head(nn.SyncBatchNorm(4))),
    "compiled": Row(lambda: torch.compile(Head())),
    "compiled inside": Row(compiled_inside),
    "parallel": Row(lambda: nn.DataParallel(Head())),
    "transformer of patches": Row(Patches),
    "logits and features": Row(lambda: Returns(lambda y, h: (y, h), cholesky), FLOAT),
    "several exits": Row(lambda: Returns(lambda y, h: [h, 2 * h, y]), refused="answers: 0, or answers: 2"),
    "no gradient": Row(lambda: without_gradient(Head()), refused="no gradient flows from the student's answers"),
    "TorchScript": Row(lambda: torch.jit.trace(Head().eval(), torch.zeros(2, 3, 8, 8)), refused="it was made from"),
    "extra state": Row(lambda: WithState(), refused="get_extra_state"),
}


class WithState(Head):
    def get_extra_state(self) -> dict[str, int]:
        return {"epoch": 3}

    def set_extra_state(self, state: Any) -> None: ...
