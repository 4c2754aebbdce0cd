"""Recurrent networks of masks: clips (B, C, T, H, W) -> logits (B, K, T, H, W), and frame by frame with carried state.

EchoDFKD's student (Petit et al., WACV 2025, arXiv 2409.07566; code GregoirePetit/ConvLSTM-Segmentation).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = list[tuple[Tensor, Tensor]]
"""Of each cell in order: (h, c), each (B, W, H', W')."""


class ConvLSTM(nn.Module):
    """A cell with one 3x3 convolution for its four gates, no peepholes: I maps of a frame -> h of W maps."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.inputs, self.width = inputs, width
        self.gates = nn.Conv2d(inputs + width, 4 * width, 3, padding=1)

    def forward(
        self, x: Tensor, length: int, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x: frames (length * B, I, H, W), moment after moment, as the h that come back. state: that of the frame
        before, None for zeros. The inputs' share of the gates is computed for all frames at once, the state's frame by
        frame: the same sum as of both side by side."""
        of_input, of_state = (
            part.contiguous(memory_format=torch.channels_last)
            for part in self.gates.weight.split([self.inputs, self.width], dim=1)
        )
        from_input = F.conv2d(x, of_input, self.gates.bias, padding=1).unflatten(0, (length, -1)).unbind(0)
        blank = torch.zeros_like(from_input[0][:, : self.width])
        h, c = state or (blank, blank)
        several = []
        for moment in from_input:
            gates = moment + F.conv2d(h, of_state, padding=1)
            i, f, o, g = gates.chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            several.append(h)
        return torch.cat(several), (h, c)


def over_frames(change: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`change`, of images (N, C, H, W), of every frame of x (B, C, T, H, W)."""
    images = x.transpose(1, 2).flatten(0, 1)
    return change(images).unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)


class FrameByFrame(nn.Module):
    """A network of images asked about every frame of a clip by itself."""

    def __init__(self, of_image: nn.Module) -> None:
        super().__init__()
        self.of_image = of_image

    @property
    def head(self) -> nn.Module:
        return cast(nn.Module, self.of_image.head)

    def forward(self, x: Tensor) -> Tensor:
        return over_frames(self.of_image, x)


class RecurrentSegmenter(nn.Module):
    """Blocks of ConvLSTM cells, each followed by BatchNorm per frame; the map halves between blocks, and comes back by
    nearest neighbours, a convolution and BatchNorm for each.

    skips: joins the maps of equal size across by concatenation, as a U-Net does. The published network has none, and no
    activation in the way back. forgets: the state is zero at every frame: the ablation of the recurrence.
    Two classes have one map of logits, for the second.
    """

    def __init__(
        self, channels: int, classes: int, width: int, blocks: int, layers: int, skips: bool = False,
        forgets: bool = False,
    ) -> None:  # fmt: skip
        """width: of the first block, doubled per block. layers: cells of a block."""
        super().__init__()
        self.channels, self.skips, self.forgets = channels, skips, forgets
        widths = [width * 2**place for place in range(blocks)]
        arrive = [channels, *widths[:-1]]
        self.cells = nn.ModuleList(
            nn.ModuleList(ConvLSTM(inputs if layer == 0 else wide, wide) for layer in range(layers))
            for inputs, wide in zip(arrive, widths)
        )
        self.norms = nn.ModuleList(nn.ModuleList(nn.BatchNorm2d(wide) for _ in range(layers)) for wide in widths)
        back = list(zip(widths[:0:-1], widths[-2::-1]))
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(wide + (narrow if skips else 0), narrow, 3, padding=1), nn.BatchNorm2d(narrow))
            for wide, narrow in back
        )
        self.head = nn.Conv2d(width, 1 if classes == 2 else classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        if not self.forgets:
            return self.follow(x, None)[0]
        return over_frames(lambda frames: self.follow(frames[:, :, None], None)[0][:, :, 0], x)

    def follow(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """(logits of the frames x (B, C, T, H, W), state behind the last), from `state` behind the frames before, None
        at the beginning. A film in pieces gives what the whole gives."""
        length = x.shape[2]
        # Time before batch, so that the frames of a moment lie side by side; channels last: a third off a step's time.
        x = x.permute(2, 0, 1, 3, 4).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        kept: list[Tensor] = []
        after: State = []
        for place, (cells, norms) in enumerate(zip(self.cells, self.norms)):
            if place:
                x = F.max_pool2d(x, 2, ceil_mode=True)
            for cell, norm in zip(cast(Sequence[ConvLSTM], cells), cast(Sequence[nn.BatchNorm2d], norms)):
                x, new = cell(x, length, state[len(after)] if state else None)
                after.append(new)
                x = norm(x)
            kept.append(x)
        for step, across in zip(self.up, kept[-2::-1]):
            x = F.interpolate(x, across.shape[2:])
            x = step(torch.cat([x, across], 1) if self.skips else x)
        return self.head(x).unflatten(0, (length, -1)).permute(1, 2, 0, 3, 4), after
