"""What goes into a checkpoint comes back bitwise: values, types, layouts."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor

from sansdata.engine.checkpoint import safetensors_parts
from sansdata.engine.encode import decode, encode
from sansdata.errors import ResumeError

quick = settings(max_examples=50, deadline=None)
CPU = torch.device("cpu")


def through_a_file(state: object) -> object:
    """As a checkpoint does it: tensors through safetensors, the rest through JSON text."""
    tensors: dict[str, Tensor] = {}
    tree = json.loads(json.dumps(encode(state, "part", tensors, CPU)))
    return decode(tree, load(save(tensors)), CPU)


def same(a: object, b: object) -> bool:
    """Equal in type, value, dtype, layout and bits; NaN equals itself."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and a.shape == b.shape and a.stride() == b.stride() and (
            a.contiguous().view(torch.uint8).tolist() == b.contiguous().view(torch.uint8).tolist() if a.ndim else
            a.view(1).view(torch.uint8).tolist() == b.view(1).view(torch.uint8).tolist())  # fmt: skip
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        assert isinstance(b, dict)
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        assert isinstance(b, (list, tuple))
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))  # type: ignore[arg-type]


DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.uint8, torch.int64, torch.bool]


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    dtype = draw(st.sampled_from(DTYPES))
    numbers = draw(st.integers(0, 2**31))
    count = int(np.prod(shape)) if shape else 1
    made = torch.randint(-9, 9, (count,), generator=torch.Generator().manual_seed(numbers)).view(shape).to(dtype)
    if made.ndim == 4 and min(shape) > 1 and draw(st.booleans()):
        made = made.to(memory_format=torch.channels_last)
    return made


plain = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6)
keys = st.text(max_size=4) | st.sampled_from(["a", "b", "a.b", "$tensor", "$items", "$tuple", "1"]) | st.integers(0, 3)
states = st.recursive(
    plain | tensors(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@quick
@given(st.dictionaries(keys, states, max_size=5))
def test_any_state_comes_back_as_it_was(state):
    assert same(through_a_file(state), state)


def test_names_that_meet_in_one_path_keep_their_own_tensors():
    state = {"a.b": torch.ones(1), "a": {"b": torch.zeros(1)}, 1: torch.full((1,), 2.0), "1": torch.full((1,), 3.0)}
    assert same(through_a_file(state), state)


def test_the_layout_of_channels_last_weights_survives():
    weight = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
    back = through_a_file({"w": weight})
    assert isinstance(back, dict)
    assert back["w"].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(back["w"], weight)


def test_a_view_is_saved_alone_and_not_with_what_it_looks_into():
    held: dict[str, Tensor] = {}
    encode({"v": torch.zeros(1000)[:3]}, "p", held, CPU)
    *_, last = safetensors_parts(held)
    assert len(last) == 12


def test_what_lay_on_the_cpu_beside_a_device_goes_back_there():
    """A pool, say, whose places are drawn and joined on the CPU. 'meta' stands for an accelerator."""
    device, tensors = torch.device("meta"), {}
    tree = encode({"pool": torch.ones(2, 1, 4, 4)}, "part", tensors, device)
    assert decode(tree, tensors, device)["pool"].device == CPU
    on_device = encode({"weight": torch.ones(2)}, "part", tensors, CPU)
    assert decode(on_device, tensors, device)["weight"].device == device


@pytest.mark.parametrize("made", ["sgd", "adam"])
def test_an_optimiser_goes_on_bitwise(made):
    def steps(weight: torch.nn.Parameter, optimizer: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            (weight.sin() * 3).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    def pair() -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
        weight = torch.nn.Parameter(torch.linspace(0, 1, 5))
        kinds = {"sgd": lambda: torch.optim.SGD([weight], 0.1, 0.9), "adam": lambda: torch.optim.Adam([weight], 0.1)}
        return weight, kinds[made]()

    straight, optimizer = pair()
    steps(straight, optimizer, 7)
    first, optimizer = pair()
    steps(first, optimizer, 3)
    saved = through_a_file({"w": first.detach(), "o": optimizer.state_dict()})
    assert isinstance(saved, dict)
    second, optimizer = pair()
    second.data.copy_(saved["w"])
    optimizer.load_state_dict(saved["o"])
    steps(second, optimizer, 4)
    assert torch.equal(second, straight)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", np.float32(1), np.zeros(2), 1j, {(1, 2): 3}])
def test_what_a_checkpoint_cannot_keep_is_refused_when_saving_and_named(value):
    with pytest.raises(TypeError, match=r"part\.here"):
        encode({"here": value}, "part", {}, CPU)


def test_a_missing_tensor_is_named():
    with pytest.raises(ResumeError, match=r"part\.w"):
        decode({"w": {"$tensor": "part.w"}}, {}, CPU)
