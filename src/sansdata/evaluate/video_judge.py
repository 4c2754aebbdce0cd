"""Judging masks of films without human labels, by a model of pictures and sentences (EchoDFKD, with EchoCLIP).

The model stands behind `Judge`; `echo_clip` is the adapter to the published one, which has terms of its own and is not
fetched here.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import MissingLibraryError

CLOSED, OPEN = "THE MITRAL VALVE IS CLOSED", "THE MITRAL VALVE IS OPEN"
WALL, NOTHING, VENTRICLE = "WALL", "NOTHING", "LEFT VENTRICLE"
MASKED = 127 / 255
"""Probability above which a pixel is blacked out."""
REACH = 2
"""Pixels by which a mask is dilated: a square of 5x5."""


class Judge(Protocol):
    """Pictures and sentences in one space; every embedding has length 1."""

    def pictures(self, frames: np.ndarray) -> np.ndarray:
        """uint8 (T, H, W, C) -> float (T, D)."""
        ...

    def sentences(self, sentences: Sequence[str]) -> np.ndarray:
        """float (len, D)."""
        ...


def phase(judge: Judge, frames: np.ndarray) -> np.ndarray:
    """(T,) a curve of the beat that needs no mask: the running sum of how much more closed than open the valve looks,
    standardised. It rises while the ventricle empties: its peaks are the ends of emptying.

    Deviation: the paper sums the difference as it is; its mean is taken out here, for a judge that leans to one of the
    two sentences would make a ramp of the sum, in which no beat stands out.
    """
    closed, open_ = (judge.pictures(frames) @ judge.sentences([CLOSED, OPEN]).T).T
    running = np.cumsum((closed - open_) - (closed - open_).mean())
    return (running - running.mean()) / max(float(running.std()), 1e-12)


def mask_score(judge: Judge, frames: np.ndarray, shares: np.ndarray) -> float:
    """How well masks cover the ventricle and nothing else: with the mask blacked out the wall is still seen; with the
    mask dilated, nothing is, least of all a ventricle. shares: probabilities (T, H, W).

    Deviation: the released script returns the frames undilated both times; here the dilation has its effect.
    """
    masks = shares > MASKED
    tight = judge.pictures(blacked_out(frames, masks)) @ judge.sentences([WALL]).T
    wide = judge.pictures(blacked_out(frames, dilated(masks))) @ judge.sentences([NOTHING, VENTRICLE]).T
    return float(tight.mean() + wide[:, 0].mean() - wide[:, 1].mean())


def blacked_out(frames: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """uint8 (T, H, W, C): frames with 0 where masks (T, H, W) are true."""
    return np.where(masks[..., None], np.uint8(0), frames)


def dilated(masks: np.ndarray) -> np.ndarray:
    """bool (T, H, W): true within REACH pixels, in a square."""
    from scipy.ndimage import binary_dilation

    side = 2 * REACH + 1
    return binary_dilation(masks, np.ones((1, side, side), bool))


def echo_clip(weights: Path) -> Judge:
    """EchoCLIP from a local folder of open_clip's (mkaichristensen/echo-clip). Raises MissingLibraryError without
    open_clip."""
    try:
        open_clip = import_module("open_clip")
    except ImportError as fault:
        raise MissingLibraryError(f"EchoCLIP needs open_clip ({fault}): pip install open_clip_torch") from None
    import torch
    from PIL import Image

    model, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{weights}")
    tokenise = open_clip.get_tokenizer(f"local-dir:{weights}")
    model.eval()

    class EchoClip:
        @torch.no_grad()
        def pictures(self, frames: np.ndarray) -> np.ndarray:
            coloured = np.repeat(frames, 3, axis=3) if frames.shape[3] == 1 else frames
            batch = torch.stack([prepare(Image.fromarray(frame)) for frame in coloured])
            return _unit(model.encode_image(batch).numpy())

        @torch.no_grad()
        def sentences(self, sentences: Sequence[str]) -> np.ndarray:
            return _unit(model.encode_text(tokenise(list(sentences))).numpy())

    return EchoClip()


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
