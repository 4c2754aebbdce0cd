"""Rows as bins, and back."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from sansdata.kinds.inputs.table import Table
from sansdata.kinds.inputs.table_bins import TableBins, fit_bins
from sansdata.tasks import Column
from sansdata.testing.worlds import make_autoencoder, make_table_task

NUMBER, WHOLE = Column(name="n", range=(0, 80)), Column(name="w", range=(0, 80), whole=True)


def test_even_bins_cover_the_range() -> None:
    bins = fit_bins(NUMBER, torch.rand(100) * 30, 8)
    assert bins == tuple((10.0 * place, 10.0 * place + 10) for place in range(8))


def test_few_whole_numbers_have_a_bin_each() -> None:
    assert fit_bins(WHOLE, torch.tensor([3.0, 1, 4, 1]), 4) == ((1.0, 1.0), (3.0, 3.0), (4.0, 4.0))


@pytest.mark.parametrize("point", [0.0, 40.0])
def test_a_value_at_which_most_rows_are_has_a_bin_of_its_own(point: float) -> None:
    """As capital gains have it: 0 for nearly all, and amounts of every size."""
    others = torch.cat([torch.linspace(1, 39, 30), torch.linspace(50, 80, 10)])
    bins = fit_bins(NUMBER, torch.cat([torch.full((60,), point), others]), 5)
    assert (point, point) in bins
    assert len(bins) <= 6
    assert all(low <= high for low, high in bins)
    lows = [low for low, _ in bins]
    assert lows == sorted(set(lows))
    inside = [sum(low <= value <= high for value in others.tolist()) for low, high in bins if low < high]
    assert min(inside) >= 5, "what lies beyond is cut where as many rows lie in each bin"


def test_bins_come_back_as_the_bins_that_they_were() -> None:
    """Through values: numbers inside their bin, whole ones whole, missing ones missing."""
    coded: TableBins = make_autoencoder().bins
    draw = torch.Generator().manual_seed(0)
    codes = torch.stack([torch.randint(size, (500,), generator=draw) for size in coded.sizes], 1)
    colour = torch.randint(3, (500,), generator=draw)
    rows, labels = coded.rows(codes, colour, draw)
    assert torch.equal(coded.codes(rows, labels), codes)
    assert torch.equal(rows["categories"][:, 0], colour)
    assert torch.equal(rows["missing"][:, 2], codes[:, 2] == 2), "the last bin of a column that may be missing"
    counts = rows["numbers"][:, 1]
    assert torch.equal(counts, counts.round())
    assert counts[codes[:, 1] == 0].unique().tolist() == [0, 1, 2, 3]
    assert counts[codes[:, 1] == 1].unique().tolist() == [4, 5, 6, 7, 8, 9]
    sizes = rows["numbers"][codes[:, 0] == 1, 0]
    assert sizes.unique().tolist() == [0.0]


def test_the_value_before_a_point_of_its_own_is_drawn_too() -> None:
    """The bin that ends there is followed by none that begins there."""
    values = torch.cat([torch.arange(20.0, 40), torch.full((60,), 40.0)])
    bins = fit_bins(WHOLE, values, 3)
    assert bins[-2:] == ((29.5, 39.0), (40.0, 40.0))
    coded = dataclasses.replace(make_autoencoder().bins, bins={"w": bins})
    drawn = [coded._inside(WHOLE, torch.full((400,), place), torch.Generator().manual_seed(0)) for place in range(3)]
    assert [one.unique().tolist() for one in drawn] == [list(range(20, 30)), list(range(30, 40)), [40]]


def test_values_are_spread_evenly_inside_a_bin() -> None:
    coded = make_autoencoder().bins
    codes = torch.zeros(4000, len(coded.sizes), dtype=torch.int64)
    rows, _ = coded.rows(codes, codes[:, 0], torch.Generator().manual_seed(0))
    shares = torch.histc(rows["numbers"][:, 0], 4, -2.0, 0.0) / 4000
    assert torch.allclose(shares, torch.full((4,), 0.25), atol=0.03)


def test_real_rows_have_codes_and_one_hot_columns() -> None:
    coded, table = make_autoencoder().bins, Table(make_table_task().inputs)
    rows = table.draw(200, torch.Generator().manual_seed(0))
    codes = coded.codes(rows, torch.zeros(200, dtype=torch.int64))
    assert bool((codes >= 0).all())
    assert bool((codes < torch.tensor(coded.sizes)).all())
    hot = coded.one_hot(codes)
    assert torch.equal(hot.sum(1), torch.full((200,), float(len(coded.sizes))))
    assert [head.shape[1] for head in coded.heads(hot)] == list(coded.sizes)
    assert coded.names == ("size", "count", "doubt", "shape", "class")
