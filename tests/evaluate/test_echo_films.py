"""A film's figures: a network that is right has perfect ones, the model of sentences is asked as published."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from sansdata.datasets.echo import EchoFilm
from sansdata.evaluate import video_judge
from sansdata.evaluate.echo_films import measure
from sansdata.synthesis.echo_phantom import HOSPITAL, films

FRAMES = 64


@pytest.fixture(scope="module")
def several() -> list[EchoFilm]:
    made = films(6, FRAMES, 48, HOSPITAL, torch.Generator().manual_seed(0))
    inner = range(8, FRAMES - 8)
    return [
        EchoFilm(
            made.clips[film].permute(1, 2, 3, 0).numpy(), range(FRAMES), made.masks[film].bool().numpy(),
            [at for one, at in made.ed if one == film and at in inner],
            [at for one, at in made.es if one == film and at in inner], float(made.ejection_fractions[film]), 50.0,
        )
        for film in range(6)
    ]  # fmt: skip


def test_the_true_masks_have_nearly_perfect_figures(several: list[EchoFilm]) -> None:
    by_frames = {film.frames.tobytes(): film.masks.astype(np.float64) for film in several}
    figures = measure(lambda frames: by_frames[frames.tobytes()], several)
    assert figures.dice == 1
    assert figures.brier == 0
    assert figures.afd_ed < 1.5
    assert figures.afd_es < 1
    assert figures.afd_es_guided < 1
    assert figures.undetected <= 1 / 6  # a beat of 56 frames whose ends lie at those of the film
    assert figures.by_area.r > 0.97
    assert figures.by_discs.error < 6
    assert {one.name for one in figures.figures()} >= {"dice", "afd_ed", "afd_es", "ef_r_area", "ef_error_discs"}


def test_masks_that_stand_still_find_no_beat(several: list[EchoFilm]) -> None:
    figures = measure(lambda frames: np.repeat(several[0].masks[:1], len(frames), 0).astype(np.float64), several)
    assert figures.undetected == 1
    assert figures.afd_ed == figures.afd_es == 15
    assert figures.by_area.r == 0


class Brightness:
    """A judge that reads one number of a picture: its mean; every sentence is a direction of its own."""

    def pictures(self, frames: np.ndarray) -> np.ndarray:
        mean = frames.reshape(len(frames), -1).mean(1) / 255
        return np.stack([mean, 1 - mean], 1)

    def sentences(self, sentences: Sequence[str]) -> np.ndarray:
        bright = {video_judge.CLOSED, video_judge.WALL, video_judge.VENTRICLE}
        return np.array([[1.0, 0.0] if one in bright else [0.0, 1.0] for one in sentences])


def test_the_phase_is_the_running_sum_of_how_much_more_closed_than_open() -> None:
    levels = np.array([10, 200, 200, 10, 10, 200], np.uint8)
    frames = np.repeat(levels, 16).reshape(6, 4, 4, 1)
    curve = video_judge.phase(Brightness(), frames)
    assert curve.mean() == pytest.approx(0, abs=1e-9)
    assert curve.std() == pytest.approx(1)
    assert int(curve.argmax()) == 2  # behind the last of the closed frames


def test_a_mask_is_scored_tight_for_the_wall_and_dilated_for_what_is_left() -> None:
    frames, shares = np.full((2, 20, 20, 1), 255, np.uint8), np.zeros((2, 20, 20))
    shares[:, 8:12, 8:12] = 1
    tight, wide = 1 - 16 / 400, 1 - 64 / 400
    assert video_judge.mask_score(Brightness(), frames, shares) == pytest.approx(tight + (1 - wide) - wide)
    assert video_judge.dilated(shares > 0.5).sum() == 2 * 64
