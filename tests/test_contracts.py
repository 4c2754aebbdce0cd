"""Losses, streams of randomness, counters and progress."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sansdata.contracts import Access, Counters, Losses, Progress
from sansdata.streams import Streams

quick = settings(max_examples=30, deadline=None)
names = st.text(min_size=1, max_size=12)
keys = st.tuples(st.integers(0, 2**62), names, st.integers(-1, 10**9), st.integers(0, 64))


def numbers(key: tuple[int, str, int, int], shared: bool = False) -> torch.Tensor:
    seed, name, move, rank = key
    streams = Streams(seed, rank)
    streams.begin(move)
    return torch.rand(4, generator=streams(name, shared))


# -- losses


@quick
@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=5))
def test_a_term_of_weight_nought_is_not_computed(weights):
    computed = []

    def term(i: int):
        def value() -> torch.Tensor:
            computed.append(i)
            return torch.tensor(float(i + 1))

        return value

    losses = Losses()
    for i, weight in enumerate(weights):
        losses.add(str(i), weight, term(i))
    assert computed == [i for i, weight in enumerate(weights) if weight != 0]
    if computed:
        assert losses.total().item() == pytest.approx(sum(w * (i + 1) for i, w in enumerate(weights)), abs=1e-4)


@quick
@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=9), st.data())
def test_weights_per_sample_average_the_per_sample_terms_only(values, data):
    weights = data.draw(st.lists(st.floats(0.125, 4, width=32), min_size=len(values), max_size=len(values)))
    losses = Losses()
    losses.add("each", 2.0, lambda: torch.tensor(values))
    losses.add("batch", 3.0, lambda: torch.tensor(7.0))
    mean = sum(w * v for w, v in zip(weights, values)) / sum(weights)
    assert losses.total(torch.tensor(weights)).item() == pytest.approx(2 * mean + 21, abs=1e-3)
    even = torch.full((len(values),), 0.3)
    assert losses.total(even).item() == pytest.approx(losses.total().item(), abs=1e-4)


def test_a_sample_of_weight_nought_teaches_nothing():
    logits = torch.zeros(3, requires_grad=True)
    losses = Losses()
    losses.add("l", 1, lambda: (logits - 1) ** 2)
    losses.total(torch.tensor([1.0, 0.0, 1.0])).backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [-1.0, 0.0, -1.0]


def test_losses_refuse_a_name_twice_and_a_total_of_nothing():
    losses = Losses()
    with pytest.raises(ValueError, match="without terms"):
        losses.total()
    losses.add("a", 1, lambda: torch.tensor(1.0))
    with pytest.raises(ValueError, match="'a' is added twice"):
        losses.add("a", 1, lambda: torch.tensor(1.0))


def test_values_are_before_the_weight_and_without_gradient():
    x = torch.ones(2, requires_grad=True)
    losses = Losses()
    losses.add("a", 5, lambda: 3 * x)
    assert losses.values()["a"].item() == 3
    assert not losses.values()["a"].requires_grad


# -- streams


@quick
@given(keys)
def test_one_key_gives_one_sequence(key):
    assert torch.equal(numbers(key), numbers(key))


@quick
@given(keys, keys)
def test_another_key_gives_other_numbers(a, b):
    same = a == b
    assert torch.equal(numbers(a), numbers(b)) == same


@quick
@given(keys, st.integers(1, 9))
def test_each_part_of_the_key_counts(key, step):
    seed, name, move, rank = key
    others = [(seed + step, name, move, rank), (seed, name + "x", move, rank), (seed, name, move + step, rank),
              (seed, name, move, rank + step)]  # fmt: skip
    mine = numbers(key)
    assert not any(torch.equal(mine, numbers(other)) for other in others)


@quick
@given(keys, st.integers(1, 9))
def test_a_shared_stream_is_the_same_on_every_rank_and_nobodys_own(key, step):
    seed, name, move, rank = key
    assert torch.equal(numbers(key, shared=True), numbers((seed, name, move, rank + step), shared=True))
    assert not torch.equal(numbers(key, shared=True), numbers(key))


def test_a_stream_goes_on_within_a_move_and_begins_anew_with_it():
    streams = Streams(7)
    streams.begin(3)
    first, second = (torch.rand(2, generator=streams("a")) for _ in range(2))
    assert not torch.equal(first, second)
    streams.begin(3)
    assert torch.equal(torch.rand(2, generator=streams("a")), first)


@quick
@given(keys)
def test_the_global_generator_is_never_touched(key):
    before = torch.random.get_rng_state()
    streams = Streams(key[0], key[3])
    streams.begin(key[2])
    torch.rand(3, generator=streams(key[1]))
    with streams.as_global(key[1]):
        torch.rand(5)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_as_global_seeds_initialisers_and_puts_back_even_after_a_fault():
    streams, before = Streams(1), torch.random.get_rng_state()
    drawn = []

    def initialise_and_fail() -> None:
        with streams.as_global("init"):
            drawn.append(torch.nn.Linear(3, 3).weight.detach().clone())
            raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            initialise_and_fail()
    assert torch.equal(*drawn)
    assert torch.equal(torch.random.get_rng_state(), before)


# -- the rest


def test_counters_add_and_survive_a_save():
    counters = Counters()
    counters.add("samples", 3)
    counters.add("samples", 4)
    assert (counters["samples"], counters["never"]) == (7, 0)
    saved = counters.state_dict()
    counters.add("samples", 1)
    other = Counters()
    other.load_state_dict(saved)
    assert other["samples"] == 7


@quick
@given(st.integers(0, 100), st.integers(0, 50))
def test_progress_stays_within_nought_and_one(steps, planned):
    assert 0 <= Progress(steps, planned).value <= 1


def test_access_includes_what_is_below():
    assert Access.LABELS < Access.SCORES < Access.GRADIENTS < Access.WEIGHTS
