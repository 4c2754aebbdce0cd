"""Pool, reservoir and slot: what is kept, in which order, and that a save gives it back."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sansdata.decoding.pixels import pack, unpack
from sansdata.memory import FeatureBank, Pool, Reservoir, Slot

quick = settings(max_examples=30, deadline=None)
sizes = st.lists(st.integers(1, 9), min_size=1, max_size=8)


def numbered(start: int, count: int) -> torch.Tensor:
    """Images whose only pixel is their number, as quantised."""
    return (torch.arange(start, start + count) % 256).float().view(-1, 1, 1, 1) / 255


def fill(pool: Pool, batches: list[int], logits: bool = False) -> None:
    for size in batches:
        ids = torch.arange(pool.added, pool.added + size)
        pool.add(numbered(pool.added, size), ids, ids.float().view(-1, 1).repeat(1, 3) if logits else None)


def numbers_in_order(pool: Pool) -> list[int]:
    """The targets from the oldest to the newest, as `added` says they lie."""
    assert pool.targets is not None
    first = max(0, pool.added - pool.capacity)
    return [int(pool.targets[i % pool.capacity]) for i in range(first, pool.added)]


@quick
@given(sizes, st.integers(1, 20))
def test_a_pool_holds_the_newest_in_ring_order_and_never_more_than_its_capacity(batches, capacity):
    pool = Pool(capacity)
    fill(pool, batches)
    total = sum(batches)
    assert len(pool) == min(total, capacity)
    assert numbers_in_order(pool) == list(range(max(0, total - capacity), total))
    assert pool.inputs is not None
    assert pool.targets is not None
    assert len(pool.inputs) == capacity
    kept = pool.inputs[: len(pool)].flatten().tolist()
    assert kept == [t % 256 for t in pool.targets[: len(pool)].tolist()]  # an image and its label move together


@quick
@given(sizes, sizes, st.integers(1, 20), st.booleans())
def test_a_loaded_pool_goes_on_as_the_saved_one(before, after, capacity, logits):
    one, two = Pool(capacity), Pool(capacity)
    fill(one, before, logits)
    saved = {
        name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in one.state_dict().items()
    }
    two.load_state_dict(saved)
    fill(one, after, logits)
    fill(two, after, logits)
    drawn = [pool.sample(7, torch.Generator().manual_seed(3)) for pool in (one, two)]
    assert torch.equal(drawn[0].inputs, drawn[1].inputs)
    assert drawn[0].targets is not None
    assert drawn[1].targets is not None
    assert torch.equal(drawn[0].targets, drawn[1].targets)
    assert numbers_in_order(one) == numbers_in_order(two)
    if logits:
        assert torch.equal(drawn[0].extras["logits"], drawn[1].extras["logits"])
        assert torch.equal(drawn[0].extras["logits"][:, 0].long(), drawn[0].targets)


def test_a_pool_that_began_is_saved_without_its_empty_room():
    pool = Pool(1000)
    fill(pool, [3])
    assert len(pool.state_dict()["images"]) == 3


def test_an_empty_pool_can_be_saved_and_not_sampled():
    pool = Pool(4)
    other = Pool(4)
    other.load_state_dict(pool.state_dict())
    assert len(other) == 0
    with pytest.raises(RuntimeError, match="acquire"):
        other.sample(1, torch.Generator())


def test_a_pool_is_drawn_from_evenly():
    pool = Pool(10)
    fill(pool, [10])
    targets = pool.sample(20_000, torch.Generator().manual_seed(0)).targets
    assert targets is not None
    counts = np.bincount(targets.numpy(), minlength=10)
    assert counts.min() > 1800  # 2000 expected, standard deviation 42
    assert counts.max() < 2200


@quick
@given(st.lists(st.floats(-2, 3, width=32), min_size=1, max_size=40))
def test_quantising_clamps_rounds_and_is_its_own_fixed_point(values):
    images = torch.tensor(values).view(1, 1, 1, -1)
    stored = pack(images)
    assert stored.dtype == torch.uint8
    back = unpack(stored)
    assert (back - images.clamp(0, 1)).abs().max() <= 0.5 / 255 + 1e-6
    assert torch.equal(pack(back), stored)


def test_every_grey_level_survives():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(pack(unpack(levels)), levels)


def test_quantising_leaves_the_image_alone():
    images = torch.rand(2, 1, 4, 4, requires_grad=True)
    before = images.detach().clone()
    pack(images)
    assert torch.equal(images.detach(), before)


@quick
@given(sizes, st.integers(1, 12), st.integers(0, 1000))
def test_a_reservoir_keeps_at_most_its_capacity_of_what_was_offered(batches, capacity, seed):
    reservoir, generator = Reservoir(capacity), torch.Generator().manual_seed(seed)
    total = 0
    for size in batches:
        reservoir.offer(numbered(total, size), generator)
        total += size
    assert reservoir.offered == total
    assert reservoir.packed is not None
    kept = reservoir.packed.flatten().tolist()
    assert len(kept) == min(total, capacity)
    assert len(set(kept)) == len(kept)  # without repeats
    assert max(kept) < total


def test_a_reservoir_is_even_over_everything_offered():
    """Each of 40 offered in uneven batches stays with probability 10/40; 2,000 trials, sd of a count 19.4."""
    counts = np.zeros(40)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2000):
        reservoir = Reservoir(10)
        for start, size in ((0, 3), (3, 12), (15, 1), (16, 24)):
            reservoir.offer(numbered(start, size), generator)
        assert reservoir.packed is not None
        counts[reservoir.packed.flatten().numpy()] += 1
    assert abs(counts - 500).max() < 5 * 19.4


def test_a_loaded_reservoir_goes_on_as_the_saved_one():
    one, two = Reservoir(4), Reservoir(4)
    one.offer(numbered(0, 9), torch.Generator().manual_seed(1))
    state = one.state_dict()
    two.load_state_dict({"images": state["images"].clone(), "offered": state["offered"]})
    for reservoir in (one, two):
        reservoir.offer(numbered(9, 30), torch.Generator().manual_seed(2))
    assert one.packed is not None
    assert two.packed is not None
    assert torch.equal(one.packed, two.packed)


def test_a_slot_gives_back_what_it_was_given_and_shares_no_names():
    slot = Slot(a=1, b=None)
    saved = slot.state_dict()
    slot["a"] = 2
    assert saved == {"a": 1, "b": None}
    slot.load_state_dict(saved)
    assert (slot["a"], slot["b"]) == (1, None)


# -- the bank of features


def rows_of(bank: FeatureBank) -> list[int]:
    return sorted(int(row[0]) for row in bank.rows[: len(bank)])


@quick
@given(sizes, st.integers(1, 20))
def test_a_bank_holds_the_newest_features(batches, capacity):
    bank, total = FeatureBank(capacity, 2), 0
    for size in batches:
        bank.add(torch.arange(total, total + size).float()[:, None].repeat(1, 2))
        total += size
    assert rows_of(bank) == list(range(max(0, total - capacity), total))


def test_a_batch_larger_than_the_bank_leaves_its_end():
    bank = FeatureBank(4, 1)
    bank.add(torch.arange(3.0)[:, None])
    bank.add(torch.arange(10.0)[:, None])
    assert rows_of(bank) == [6, 7, 8, 9]


@pytest.mark.parametrize(("held", "count", "given_back"), [(0, 5, 0), (3, 5, 3), (9, 5, 5), (9, 0, 0)])
def test_a_bank_gives_each_row_at_most_once_and_by_its_seed(held, count, given_back):
    bank = FeatureBank(9, 1)
    bank.add(torch.arange(float(held))[:, None])
    drawn = [bank.sample(count, torch.Generator().manual_seed(seed)).flatten().tolist() for seed in (0, 0, 1)]
    assert len(drawn[0]) == len(set(drawn[0])) == given_back
    assert drawn[0] == drawn[1]
    assert given_back < 3 or drawn[0] != drawn[2]


def test_a_loaded_bank_goes_on_as_the_saved_one():
    one, two = FeatureBank(5, 2), FeatureBank(5, 2)
    one.add(torch.rand(7, 2))
    two.load_state_dict({name: copy.deepcopy(value) for name, value in one.state_dict().items()})
    more = torch.rand(3, 2)
    one.add(more)
    two.add(more)
    assert one.added == two.added == 10
    assert torch.equal(one.rows, two.rows)


def test_more_at_once_than_there_is_room_for_writes_each_place_once():
    """Where writing runs in parallel, a place that is named twice holds either of both."""
    pool, places = Pool(4), []
    write = torch.Tensor.__setitem__

    class Watched(torch.Tensor):
        def __setitem__(self, place, value):
            places.append(place)
            write(self, place, value)

    fill(pool, [2])
    assert pool.targets is not None
    pool.targets = pool.targets.as_subclass(Watched)
    fill(pool, [10])
    assert [len(set(place.tolist())) == len(place) == 4 for place in places] == [True]
    assert numbers_in_order(pool) == [8, 9, 10, 11]


def test_masks_and_layouts_are_kept_as_bytes_and_come_back_after_a_resume() -> None:
    pool = Pool(4)
    masks = torch.randint(0, 256, (6, 1, 5, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    layouts = (masks[:, 0] % 3).to(torch.uint8)
    pool.add(torch.rand(6, 1, 5, 5), layouts, masks)
    other = Pool(4)
    other.load_state_dict(pool.state_dict())
    for one in (pool, other):
        batch = one.sample(30, torch.Generator().manual_seed(1))
        assert batch.targets is not None
        assert batch.targets.dtype == batch.extras["logits"].dtype == torch.uint8
        assert torch.equal(batch.extras["logits"][:, 0] % 3, batch.targets)
        kept = {mask.numpy().tobytes() for mask in batch.extras["logits"]}
        assert kept == {mask.numpy().tobytes() for mask in masks[2:]}


@pytest.mark.parametrize("batches", [[3], [3, 4], [9]])
def test_a_pool_on_another_device_takes_and_gives_what_it_would_have(batches: list[int]) -> None:
    """`meta` stands for an accelerator: it holds no values, so that only places and shapes can be asked of it."""
    far, near = Pool(6), Pool(6)
    fill(far, batches)
    fill(near, batches)
    far.settle(torch.device("meta"), 5)
    assert far.inputs is not None
    assert far.inputs.device.type == "cpu"  # type: ignore[union-attr]
    far.settle(torch.device("meta"), 10**6)
    assert far.inputs.device.type == "meta"  # type: ignore[union-attr]
    fill(far, [2])
    fill(near, [2])
    drawn = [pool.sample(5, torch.Generator().manual_seed(1)) for pool in (far, near)]
    assert drawn[0].inputs.shape == drawn[1].inputs.shape
    assert torch.equal(drawn[0].targets, drawn[1].targets)
