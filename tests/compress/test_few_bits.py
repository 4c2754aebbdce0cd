"""A network seen at few bits: what runs, what learns, what leaves."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from sansdata.compress.few_bits import released, view, views
from sansdata.compress.grids import snap
from sansdata.errors import StudentError

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.b, self.head = nn.Conv2d(4, 5, 3), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.norm(self.a(x)).relu()).mean((2, 3)))


def net(make: type[nn.Module] = Net) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def test_every_layer_but_the_one_that_answers() -> None:
    module = net()
    assert view(module, IMAGES, 2) == ["a", "b"]
    assert [len(part.weight.unique()) for part in (module.a, module.b)] == [3, 3]
    assert len(module.head.weight.unique()) == module.head.weight.numel()
    assert view(net(), IMAGES, 2, last=True) == ["a", "b", "head"]


def test_the_gradient_is_taken_on_the_grid_and_applied_to_the_float_weight() -> None:
    module, plain = net(), net()
    before = plain.a.weight.detach().clone()
    view(module, IMAGES, 4)
    for part in (plain.a, plain.b):
        part.weight.data = snap(part.weight.data, 4).values
    for one in (module, plain):
        one(IMAGES).square().sum().backward()
    original = module.a.parametrizations.weight.original
    assert torch.equal(original.grad, plain.a.weight.grad)
    torch.optim.SGD(module.parameters(), lr=0.1).step()
    alone = nn.Parameter(before)
    alone.grad = plain.a.weight.grad
    torch.optim.SGD([alone], lr=0.1).step()  # the same kernel: others round the product first
    assert torch.equal(original, alone)
    assert torch.equal(module.a.weight, snap(original, 4).values)


def test_other_weights_are_seen_on_the_grid_too_with_gradients_of_any_order() -> None:
    """What `retain` does: the student at the weights that a step would give, differentiated through that step."""
    module = net()
    view(module, IMAGES, 1)
    names = dict(module.named_parameters())
    slopes = torch.autograd.grad(module(IMAGES).square().sum(), list(names.values()), create_graph=True)
    ahead = {name: p - 0.1 * slope for (name, p), slope in zip(names.items(), slopes)}
    output = functional_call(module, ahead, (IMAGES,))
    plain = net()
    moved = {name.replace("parametrizations.weight.original", "weight"): p.detach() for name, p in ahead.items()}
    moved |= {f"{name}.weight": snap(moved[f"{name}.weight"], 1).values for name in "ab"}
    assert torch.allclose(output, functional_call(plain, moved, (IMAGES,)))
    second = torch.autograd.grad(output.sum(), module.a.parametrizations.weight.original)[0]
    assert torch.isfinite(second).all()
    assert second.any()


def test_what_is_released_is_plain_and_leaves_the_student_as_it_was() -> None:
    module = net()
    view(module, IMAGES, 2)
    copied = copy.deepcopy(module)
    plain = released(module)
    assert plain.state_dict().keys() == net().state_dict().keys()
    assert not list(views(plain))
    assert torch.equal(plain.a.weight, module.a.weight)  # type: ignore[union-attr]
    assert type(plain.a) is nn.Conv2d
    for one in (module, copied):
        assert torch.equal(plain.eval()(IMAGES), one.eval()(IMAGES))
    assert released(plain) is plain


def test_a_network_at_few_bits_already_or_without_layers_is_refused() -> None:
    module = net()
    view(module, IMAGES, 2)
    with pytest.raises(StudentError, match="at few bits already"):
        view(module, IMAGES, 4)
    single = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    with pytest.raises(StudentError, match=r"bits\.last=true"):
        view(single, IMAGES, 4)
    assert view(single, IMAGES, 4, last=True) == ["1"]


class Shared(nn.Module):
    """Two layers with one weight, and one whose weight is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (
            nn.Linear(8, 8),
            nn.Linear(8, 8),
            nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)),
        )
        self.d, self.head = nn.Linear(8, 8), nn.Linear(8, 2)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.d(self.c(self.b(self.a(x)))).mean((1, 2)))


def test_weights_that_several_share_or_that_are_computed_stay_in_float() -> None:
    assert view(net(Shared), IMAGES, 4) == ["d"]
