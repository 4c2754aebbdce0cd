"""A recurrent student at work on a film as it comes: a frame at a time, with the state that is carried over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import StudentError
from ..models.conv_lstm import RecurrentSegmenter, State
from ..models.copying import private_copy
from ..network import Network
from ..tasks import Task

BURN_IN = 8
"""Frames by which a film is continued backwards, mirrored: from a state of nothing the first frames are the weakest."""


class Stream:
    """Called with a frame uint8 (H, W, C), it gives the probabilities of every class but the first, float32
    (H, W, K - 1), with all it has seen since `restart`."""

    def __init__(self, student: nn.Module, task: Task) -> None:
        """student: of models.conv_lstm; task: with its preprocessing. Raises StudentError for another network."""
        self.network = Network.of(recurrent(student), task)
        self.restart()

    def restart(self) -> None:
        """A new film begins."""
        self.state: State | None = None

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        return self.frames(frame[None])[0]

    @torch.no_grad()
    def frames(self, frames: np.ndarray) -> np.ndarray:
        """Several frames that follow each other, (T, H, W, C) -> (T, H, W, K - 1)."""
        clip = torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2)[None].float().div(255)
        module = self.network.module
        assert isinstance(module, RecurrentSegmenter)
        answers, self.state = module.follow(self.network.preprocessor(clip), self.state)  # type: ignore[arg-type]
        shares = self.network.outputs.read(answers).softmax(1)
        return shares[0, 1:].permute(1, 2, 3, 0).numpy()

    def film(self, frames: np.ndarray, burn_in: int = BURN_IN) -> np.ndarray:
        """A whole film (T, H, W, C) from its beginning; the first frames, mirrored, come before it as its burn-in."""
        self.restart()
        before = frames[1 : burn_in + 1][::-1]
        if len(before):
            self.frames(before)
        return self.frames(frames)


def recurrent(student: nn.Module) -> RecurrentSegmenter:
    """A private copy, in eval mode. Raises StudentError for a network without a state to carry."""
    if not isinstance(student, RecurrentSegmenter):
        raise StudentError(
            f"{type(student).__name__}: no state to carry from frame to frame; a stream needs a student convlstm-BxL"
        )
    copied = private_copy(student, StudentError).cpu().float().eval()
    assert isinstance(copied, RecurrentSegmenter)
    return copied


class Step(nn.Module):
    """One frame of a stream with the state as arguments, for export: (frame (B, C, H, W) in 0..1, h and c of each cell
    in order) -> (logits (B, K, H, W), h and c of each cell)."""

    def __init__(self, student: nn.Module, task: Task) -> None:
        super().__init__()
        self.student = recurrent(student)
        self.network = Network.of(self.student, task)

    def blank(self, size: tuple[int, int], count: int = 1) -> list[Tensor]:
        """The state at the beginning of a film of `size` (H, W)."""
        clip = torch.zeros(count, self.student.channels, 1, *size)
        with torch.no_grad():
            _, state = self.student.follow(clip, None)
        return [torch.zeros_like(part) for cell in state for part in cell]

    def forward(self, frame: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        before = list(zip(state[::2], state[1::2]))
        prepared = self.network.preprocessor(frame[:, :, None])
        assert isinstance(prepared, Tensor)
        answers, after = self.student.follow(prepared, before)
        return self.network.outputs.read(answers[:, :, 0]), *(part for cell in after for part in cell)


def export_step(student: nn.Module, task: Task, size: tuple[int, int], path: Path) -> list[str]:
    """Writes `Step` for frames of `size` as ONNX; gives the names of its arguments: 'frame', then 'h0', 'c0' and so on.
    Its outputs are 'masks', then 'next_h0', 'next_c0' and so on."""
    step = Step(student, task).eval()
    state = step.blank(size)
    of_state = [f"{part}{place}" for place in range(len(state) // 2) for part in "hc"]
    frame = torch.zeros(1, step.student.channels, *size)
    torch.onnx.export(
        step, (frame, *state), path, dynamo=True, verbose=False, external_data=False,
        input_names=["frame", *of_state], output_names=["masks", *(f"next_{name}" for name in of_state)],
    )  # fmt: skip
    return ["frame", *of_state]
