"""DFND's choice of images and its noise matrix."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import make_pool, make_student, make_task, make_teacher

from sansdata.engine.session import Session
from sansdata.methods.dfnd import DFND, NoiseAdaptation
from sansdata.methods.index import method_config
from sansdata.runtime import Runtime


def make_session(**options: Any) -> Session:
    config = method_config("dfnd", "default", {"scan_moves": 3, "keep": 0.25, "transfer": {"batch": 8}} | options)
    return Session(DFND, config, make_teacher(), make_student(), make_task(), Runtime(), 7, 20, pool=make_pool())


def test_the_surest_images_are_kept() -> None:
    session = make_session(view="none")
    session.advance(6)
    sure = session.context.teacher(make_pool().at(torch.arange(48))).logits.softmax(1).amax(1)
    method: Any = session.method
    kept = method.selection["ids"]
    assert len(kept) == 12
    assert set(kept.tolist()) == set(sure.topk(12).indices.tolist())
    assert session.last_batch is not None
    chosen = make_pool().at(kept)
    assert all(any(torch.equal(one, other) for other in chosen) for one in session.last_batch.images)


def test_the_matrix_against_a_double_loop() -> None:
    matrix = NoiseAdaptation(5, 0.8).double()
    with torch.no_grad():
        matrix.off_diagonal.copy_(torch.randn(5, 5, generator=torch.Generator().manual_seed(0)))
    free = matrix.off_diagonal.detach()
    logits = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    said = matrix(logits)
    for b in range(3):
        for noisy in range(5):
            total = 0.0
            for true in range(5):
                others = sum(free[true, k].exp() for k in range(5) if k != true)
                q = 0.8 if noisy == true else 0.2 * free[true, noisy].exp() / others
                total += logits[b].softmax(0)[true] * q
            assert said[b, noisy].item() == pytest.approx(float(total.log()), abs=1e-5)
    assert torch.allclose(matrix.transitions().sum(1), torch.ones(5, dtype=torch.float64), atol=1e-6)


def test_the_matrix_learns_with_the_student_and_is_not_in_its_file() -> None:
    session = make_session()
    session.advance(8)
    matrix: Any = session.trained.get_submodule("noise-adaptation")
    assert matrix.off_diagonal.abs().sum() > 0
    assert not any("off_diagonal" in name for name in session.student.state_dict())


def test_without_the_noise_term_the_student_stands_alone() -> None:
    session = make_session(noisy=0.0)
    assert session.trained is session.student
    session.advance(5)
