"""A student on a sound as it comes: the same as on the whole, from its file too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import WORLDS

from sansdata.deploy.sound_streaming import STATE, SoundStep, SoundStream, export_sound_step
from sansdata.errors import StudentError
from sansdata.models.build import architecture_of, build
from sansdata.models.sound_nets import MelGRU
from sansdata.network import Network
from sansdata.tasks import Task

WORLD = WORLDS["sounds"]
TASK = WORLD.task.seen_through({**WORLD.task.own_preprocessing, "scale": "none"})
LENGTH = TASK.inputs.length
SOUND = (9000 * np.random.default_rng(0).standard_normal(LENGTH)).clip(-32768, 32767).astype(np.int16)


def student(task: Task = TASK) -> MelGRU:
    """Statistics of BatchNorm and all else are no longer those of its birth."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build(architecture_of("mel-gru", task))
        assert isinstance(module, MelGRU)
        module.norm.running_mean.normal_()  # type: ignore[union-attr]
        module.norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return module.eval()


def whole(samples: np.ndarray) -> np.ndarray:
    """By the network, asked about the whole clip at once."""
    waveform = torch.zeros(1, LENGTH)
    waveform[0, : len(samples)] = torch.from_numpy(samples.astype(np.float32)) / 32768
    with torch.no_grad():
        answers = Network.of(student(), TASK)({"waveform": waveform, "length": torch.tensor([len(samples)])}).value
    return answers[0].numpy()


@pytest.mark.parametrize("length", [LENGTH, LENGTH - 1, 777, 96, 30, 1])
@pytest.mark.parametrize("piece", [1000, 250, 64, 13])
def test_piece_by_piece_gives_what_the_whole_clip_gives(length: int, piece: int) -> None:
    stream = SoundStream(student(), TASK)
    for start in range(0, length, piece):
        stream(SOUND[:length][start : start + piece])
    assert np.allclose(stream.finish(), whole(SOUND[:length]), atol=1e-5)
    stream.restart()
    stream(SOUND[:length].astype(np.float32) / 32768)
    assert np.allclose(stream.finish(), whole(SOUND[:length]), atol=1e-5), "in one piece, of floats"


def test_what_it_says_before_the_end_needs_nothing_of_what_comes() -> None:
    one, other = SoundStream(student(), TASK), SoundStream(student(), TASK)
    first = one(SOUND[:600])
    assert np.array_equal(first, other(SOUND[:600]))
    assert not np.allclose(one(SOUND[600:]), first, atol=1e-4)
    assert not np.array_equal(other(-SOUND[600:800]), first), "two frames more are heard"
    with pytest.raises(StudentError, match="more than the 1,024 samples"):
        one(SOUND[:1])


def test_networks_that_cannot_follow_are_refused() -> None:
    with pytest.raises(StudentError, match="no state to carry"):
        SoundStream(WORLD.module(), TASK)
    with pytest.raises(StudentError, match="'clip' looks at the whole sound"):
        SoundStream(student(WORLD.task), WORLD.task)
    with pytest.raises(StudentError, match="an even number"):
        export_sound_step(student(), TASK, 3, Path("step.onnx"))


def test_one_step_leaves_as_a_file_that_carries_the_state(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    names = export_sound_step(student(), TASK, 4, tmp_path / "step.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "step.onnx"), providers=["CPUExecutionProvider"])
    stream, length = SoundStream(student(), TASK), 777
    stream.sound[:length] = torch.from_numpy(SOUND[:length].astype(np.float32) / 32768)
    state = [part.numpy() for part in SoundStep(student(), TASK).module.blank(1)]
    frames = -(-length // stream.step.door.hop)
    assert frames % 4, "the last piece is not full"
    logits = np.zeros((1, 4))
    for first in range(0, frames, 4):
        stream.frames = first
        samples, mask = stream.under(first + 4)[None].numpy(), first + np.arange(4)[None] < frames
        logits, *state = session.run(None, dict(zip(names, [samples, mask, *state])))
    assert [one.name for one in session.get_outputs()] == ["logits", *(f"next_{name}" for name in STATE)]
    assert np.allclose(logits[0], whole(SOUND[:length]), atol=1e-4)
