"""Drawings of a section: in which unit bars are written."""

from __future__ import annotations

import pytest

from sansdata.figures import Drawing, Unit
from sansdata.report.drawings import draw_all


@pytest.mark.parametrize(
    ("unit", "data", "per_cent"),
    [
        ("number", (0.0, 0.5), False),  # distances in pixels, all below one
        ("share", (-0.25, 0.5), True),  # changes of an accuracy
        ("", (0.25, 0.5), True),
        ("", (0.25, 1.5), False),
        ("", (0, 1), False),
    ],
)
def test_bars_are_written_in_their_unit_or_as_shares_where_they_can_be(
    unit: Unit, data: tuple[float, ...], per_cent: bool
) -> None:
    drawn = draw_all("key", [Drawing("bars of it", "bars", data, "what they say", ("a", "b"), unit)], "blue")
    assert ("%" in drawn["large"][0]["svg"].partition("<g")[2]) is per_cent
