"""EchoDFKD: where its clips come from, what the student is shown of their masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import WORLDS

from sansdata.engine.session import Session
from sansdata.errors import MethodError
from sansdata.methods.auto import choose_method
from sansdata.methods.echo_dfkd import EchoDFKD, _hard, pieces
from sansdata.methods.index import method_config
from sansdata.runtime import Runtime

WORLD = WORLDS["clips"]


def session(**options: Any) -> Session:
    small = {"pool": 6, "clips_per_move": 3, "steps_per_round": 2, "transfer": {"batch": 3}}
    config = method_config("echo-dfkd", "default", small | options)
    return Session(EchoDFKD, config, WORLD.teacher(), WORLD.student(), WORLD.task, Runtime(), 0, 8)


def pooled(one: Session) -> torch.Tensor:
    one.advance(2)
    clips = one.method.pool.packed()  # type: ignore[attr-defined]
    assert isinstance(clips, torch.Tensor)
    return clips.int()


def test_the_pool_is_filled_before_the_first_step_and_each_clip_is_labelled_once() -> None:
    one = session()
    kinds = [one.move()[0] for _ in range(5)]
    assert kinds == ["acquire", "acquire", "transfer", "transfer", "acquire"]
    assert one.context.counters["teacher_forwards"] == one.context.counters["samples"] == 9
    assert one.method.pool.logits.dtype == torch.uint8  # type: ignore[attr-defined]


def test_films_move_still_ones_do_not_and_noise_has_no_two_frames_alike() -> None:
    changes = {}
    for source in ("phantom", "still", "noise"):
        clips = pooled(session(source=source))
        changes[source] = float((clips[:, :, 1:] - clips[:, :, :-1]).abs().float().mean())
    assert changes["still"] == 0
    assert 0 < changes["phantom"] < changes["noise"]


def test_hard_masks_are_the_soft_ones_cut_at_one_half() -> None:
    answers = []
    for hard in (False, True):
        one = session(hard=hard)
        one.advance(3)
        assert one.last_batch is not None
        answers.append(one.last_batch.answers().value)
    assert torch.equal(answers[0].argmax(1), answers[1].argmax(1))
    assert answers[1].softmax(1).amax(1).min() > 0.9999
    assert answers[0].softmax(1).amax(1).min() < 0.99


def test_hard_masks_of_three_classes_are_sure_of_the_likeliest() -> None:
    """Kept answers are logarithms of shares, none of them above nought."""
    soft = torch.tensor([[0.2, 0.3, 0.5], [0.9, 0.05, 0.05]]).log()[:, :, None, None]
    hard = _hard(soft).softmax(1)[:, :, 0, 0]
    assert torch.allclose(hard, torch.tensor([[0.0, 0, 1], [1, 0, 0]]), atol=1e-4)


def test_a_dice_term_comes_beside_the_cross_entropy() -> None:
    one = session(dice=0.5)
    one.advance(2)
    _, losses = one.move()
    assert set(losses.values()) == {"match", "dice"}
    assert 0 < float(losses.values()["dice"]) < 1


def test_films_of_a_file_are_taken_in_pieces_that_follow_each_other(tmp_path: Path) -> None:
    films = np.arange(2 * 9, dtype=np.uint8).reshape(2, 9, 1, 1, 1) * np.ones((1, 1, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "films.npz", clips=films)
    clips = pooled(session(clips=str(tmp_path / "films.npz")))
    assert ((clips[:, :, 1:] - clips[:, :, :-1]) == 1).all()
    starts = {int(clip[0, 0, 0, 0]) % 9 for clip in clips}
    assert len(starts) > 1
    assert max(starts) <= 5
    drawn = pieces(torch.from_numpy(films).permute(0, 4, 1, 2, 3), 50, 9, torch.Generator().manual_seed(0))
    assert {int(clip[0, 0, 0, 0]) for clip in drawn} == {0, 9}


@pytest.mark.parametrize(
    ("films", "words"),
    [
        (np.zeros((2, 3, 8, 8, 1), np.uint8), "the task takes 4 frames"),
        (np.zeros((2, 9, 8, 7, 1), np.uint8), "the task takes 4 frames"),
        (np.zeros((2, 9, 8, 8), np.uint8), "expected clips as uint8"),
    ],
)
def test_films_of_another_size_are_refused(tmp_path: Path, films: np.ndarray, words: str) -> None:
    np.savez(tmp_path / "films.npz", clips=films)
    with pytest.raises(MethodError, match=words):
        session(clips=str(tmp_path / "films.npz"))


def test_auto_takes_dfad_for_masks_of_a_teacher_with_statistics_and_noise_for_clips() -> None:
    of_masks = choose_method(WORLDS["masks"].teacher(), on_cpu=True)
    assert (of_masks.method, of_masks.preset) == ("dfad", "segmentation")
    assert choose_method(WORLD.teacher(), on_cpu=True).method == "noise"
