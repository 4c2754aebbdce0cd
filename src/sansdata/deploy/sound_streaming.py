"""A recurrent student at work on a sound as it comes: some samples at a time, with the state that is carried over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import StudentError
from ..kinds.inputs.log_mel import LogMel
from ..kinds.inputs.waveform import LEVELS
from ..models.copying import private_copy
from ..models.sound_nets import MelGRU, Memory
from ..network import Network
from ..tasks import Task

STATE = Memory._fields
"""Names of what is carried over, as arguments of an exported step."""


class SoundStep(nn.Module):
    """Some frames of a stream with the state as arguments, for export: (samples (B, window + (T - 1) hop) in -1..1
    under T frames, mask (B, T) of those that hold sound, the state) -> (logits (B, K) of all that was heard, the
    state)."""

    def __init__(self, student: nn.Module, task: Task) -> None:
        """student: a mel-gru; task: with its preprocessing. Raises StudentError for another network, or one whose
        preprocessing looks at the whole sound."""
        super().__init__()
        if not isinstance(student, MelGRU):
            raise StudentError(
                f"{type(student).__name__}: no state to carry from one piece of a sound to the next; a stream needs a "
                "student mel-gru"
            )
        copied, door = private_copy(student, StudentError).cpu().float().eval(), Network.of(student, task).preprocessor
        assert isinstance(copied, MelGRU)
        assert isinstance(door, LogMel)
        if door.scale != "none":
            raise StudentError(f"preprocessing: the scale '{door.scale}' looks at the whole sound, which a stream does "
                               "not know; teach the student with scale: none")  # fmt: skip
        self.module, self.door = copied, door

    def samples(self, frames: int) -> int:
        """Under so many frames that follow each other."""
        return self.door.window + (frames - 1) * self.door.hop

    def forward(self, samples: Tensor, mask: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        power = self.door.power(samples.unfold(1, self.door.window, self.door.hop))
        logits, after = self.module.follow(self.door.scaled(power, mask), mask, Memory(*state))
        return logits, *after


class SoundStream:
    """Called with the samples that come next, int16 (N,) or float32 (N,) in -1..1, it gives the logits (K,) of what it
    has heard since `restart`; a frame is heard once all samples under it are there. `finish` hears the last ones."""

    def __init__(self, student: nn.Module, task: Task) -> None:
        """As for SoundStep."""
        self.step, self.longest = SoundStep(student, task), task.inputs.length
        self.restart()

    def restart(self) -> None:
        """A new sound begins."""
        self.sound, self.length, self.frames = torch.zeros(self.longest), 0, 0
        self.state = tuple(self.step.module.blank(1))
        self.logits = self.step.module.head(self.state[2])[0].detach().numpy()

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Raises StudentError for samples beyond the length of the task."""
        before, self.length = self.length, self.length + len(samples)
        if self.length > self.longest:
            raise StudentError(f"a sound of more than the {self.longest:,} samples that its network knows")
        plain = samples.astype(np.float32) / (LEVELS if samples.dtype == np.int16 else 1)
        self.sound[before : self.length] = torch.from_numpy(plain)
        door = self.step.door
        there = (self.length - 1 - (door.window - door.window // 2)) // door.hop + 1
        return self._follow(max(0, there) // 2 * 2)

    def finish(self) -> np.ndarray:
        """The logits of the whole sound, behind which is silence."""
        return self._follow(-(-self.length // self.step.door.hop))

    @torch.no_grad()
    def _follow(self, until: int) -> np.ndarray:
        """With all frames before number `until`."""
        if until > self.frames:
            mask = torch.ones(1, until - self.frames, dtype=torch.bool)
            logits, *state = self.step(self.under(until)[None], mask, *self.state)
            self.state, self.logits, self.frames = tuple(state), logits[0].numpy(), until
        return self.logits

    def under(self, until: int) -> Tensor:
        """The samples under the frames from the next to the one before `until`. Frame f lies around sample f * hop; the
        sound is mirrored at its beginning, and at its end where it is as long as the task, as its network knows it."""
        door = self.step.door
        first = self.frames * door.hop - door.window // 2
        places = torch.arange(first, first + self.step.samples(until - self.frames)).abs()
        return self.sound[torch.where(places < self.longest, places, 2 * (self.longest - 1) - places)]


def export_sound_step(student: nn.Module, task: Task, frames: int, path: Path) -> list[str]:
    """Writes `SoundStep` for pieces of `frames`, an even number, as ONNX; gives the names of its arguments. Its outputs
    are 'logits', then 'next_frames' and so on. Raises StudentError."""
    step = SoundStep(student, task).eval()
    if frames < 2 or frames % 2:
        raise StudentError(f"pieces of {frames} frames: a piece has an even number of them, since two make one step")
    names = ["samples", "mask", *STATE]
    example = (torch.zeros(1, step.samples(frames)), torch.ones(1, frames, dtype=torch.bool), *step.module.blank(1))
    torch.onnx.export(
        step, example, path, dynamo=True, verbose=False, external_data=False, input_names=names,
        output_names=["logits", *(f"next_{name}" for name in STATE)],
    )  # fmt: skip
    return names
