"""The small tools that many rooms use, at their ends."""

from __future__ import annotations

import math
from datetime import datetime

import pytest
import torch
from torch import nn

from sansdata.arithmetic import ceil_div, cosine, most
from sansdata.errors import first_line
from sansdata.files import utc_now
from sansdata.models.device import device_of


@pytest.mark.parametrize(("count", "size"), [(0, 3), (1, 3), (3, 3), (4, 3), (10**15 + 1, 10)])
def test_groups_hold_everything_and_none_is_spare(count: int, size: int) -> None:
    groups = ceil_div(count, size)
    assert groups * size >= count > (groups - 1) * size


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 1000])
def test_the_most_that_is_affordable_is_the_last_that_is(count: int) -> None:
    assert most(lambda number: number <= count, 10**6) == count
    assert 500 <= most(lambda number: True, 500) < 1000


def test_a_cosine_falls_from_one_to_nought() -> None:
    assert [cosine(done) for done in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    assert cosine(3, 12) == 0.5 * (1 + math.cos(math.pi * 3 / 12))


def test_a_fault_is_said_in_one_line() -> None:
    assert first_line(ValueError("\n  a shape is wrong\n  a long trace")) == "ValueError: a shape is wrong"
    assert first_line(KeyError()) == "KeyError"
    assert len(first_line(ValueError("x" * 1000))) == 300


def test_the_time_says_its_zone() -> None:
    offset = datetime.fromisoformat(utc_now()).utcoffset()
    assert offset is not None
    assert offset.total_seconds() == 0


def test_a_module_without_parameters_is_on_the_cpu() -> None:
    assert device_of(nn.ReLU()) == torch.device("cpu")
    assert device_of(nn.Linear(2, 2, device="meta")) == torch.device("meta")
