"""A student on a film as it comes: the same as on the whole, from its file too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import WORLDS

from sansdata.deploy.streaming import Step, Stream, export_step
from sansdata.errors import StudentError
from sansdata.network import Network

WORLD = WORLDS["clips"]
FILM = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 1), dtype=np.uint8)


def whole(frames: np.ndarray) -> np.ndarray:
    """(T, H, W, 1) by the module, asked about all of the film at once."""
    clip = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float().div(255)
    with torch.no_grad():
        answers = Network.of(WORLD.module(), WORLD.task)(clip).value
    return answers.softmax(1)[0, 1:].permute(1, 2, 3, 0).numpy()


def test_frame_by_frame_gives_what_the_whole_film_gives() -> None:
    stream = Stream(WORLD.module(), WORLD.task)
    first = np.stack([stream(frame) for frame in FILM])
    assert np.allclose(first, whole(FILM), atol=1e-5)
    assert not np.allclose(stream(FILM[0]), first[0], atol=1e-4)
    stream.restart()
    assert np.array_equal(stream(FILM[0]), first[0])


def test_a_burn_in_is_the_film_mirrored_before_its_beginning() -> None:
    stream = Stream(WORLD.module(), WORLD.task)
    mirrored = np.concatenate([FILM[1:4][::-1], FILM])
    assert np.allclose(stream.film(FILM, burn_in=3), whole(mirrored)[3:], atol=1e-5)
    assert np.allclose(stream.film(FILM, burn_in=0), whole(FILM), atol=1e-5)


def test_a_network_without_a_state_is_refused() -> None:
    with pytest.raises(StudentError, match="no state to carry"):
        Stream(WORLDS["masks"].module(), WORLDS["masks"].task)


def test_one_step_leaves_as_a_file_that_carries_the_state(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    names = export_step(WORLD.module(), WORLD.task, (8, 8), tmp_path / "step.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "step.onnx"), providers=["CPUExecutionProvider"])
    state = [part.numpy() for part in Step(WORLD.module(), WORLD.task).blank((8, 8))]
    shares = []
    for frame in FILM:
        given = [frame.transpose(2, 0, 1)[None].astype(np.float32) / 255, *state]
        logits, *state = session.run(None, dict(zip(names, given)))
        shares.append(torch.from_numpy(logits).softmax(1)[0, 1:].permute(1, 2, 0).numpy())
    assert np.allclose(np.stack(shares), whole(FILM), atol=1e-4)
