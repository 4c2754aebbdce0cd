"""ReLUs as stairs: their values, their coarse gradients, and the networks that can have them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sansdata.compress.quant_relu import BOUNDS, DECAYS, SLOWER, START, bound_resolutions, quantize_relus, stairs
from sansdata.compress.rebuild import rebuild
from sansdata.errors import StudentError
from sansdata.models.build import architecture_of, build
from sansdata.runtime import Runtime
from sansdata.tasks import load_task
from sansdata.training.transfer import TransferSettings

CIFAR = load_task("cifar10")
IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bits", range(1, 9))
def test_a_stair_has_so_many_values_and_ends_where_it_should(bits: int) -> None:
    steps, width = 2**bits - 1, 0.25
    x = torch.linspace(-1, width * (steps + 2), 20_000)
    y = stairs(x, torch.tensor(width), bits)
    assert torch.equal(y.unique(), width * torch.arange(steps + 1))
    assert torch.equal(y[x <= 0], torch.zeros(int((x <= 0).sum())))
    inside = (x > 0) & (x <= width * (steps - 1))
    assert torch.equal(y[inside], width * (x[inside] / width).ceil())
    assert bool((y[x > width * steps] == width * steps).all())


@pytest.mark.parametrize("bits", range(1, 9))
def test_the_start_is_the_best_for_half_a_gaussian(bits: int) -> None:
    """By rounding to the nearest, on even quantiles."""
    x = torch.distributions.Normal(0.0, 1.0).icdf(torch.linspace(0.5, 1, 200_002)[1:-1])

    def error(width: float) -> float:
        return float(((x / width).round().clamp(0, 2**bits - 1) * width - x).double().square().mean())

    assert error(START[bits]) < min(error(0.96 * START[bits]), error(1.04 * START[bits]))


def one_relu(bits: int) -> Any:
    module = nn.Sequential(nn.ReLU())
    quantize_relus(module, IMAGES, bits)
    return module


def test_the_gradients_are_the_coarse_ones() -> None:
    module = one_relu(2)
    a = float(module.resolutions)
    x = torch.tensor([[-1.0, 0.0, 0.5 * a, 3 * a, 3.1 * a]], requires_grad=True)
    slope = torch.tensor([[100.0, 100.0, 2.0, 3.0, 5.0]])
    module(x).backward(slope)
    assert x.grad is not None
    assert torch.equal(x.grad, slope * torch.tensor([0, 0, 1, 1, 0]))
    assert module.resolutions.grad.tolist() == pytest.approx([SLOWER * (2 * (2.0 + 3.0) + 3 * 5.0)])
    module.resolutions.grad = None
    module(x).backward(1e5 * slope)
    assert module.resolutions.grad.tolist() == [1]


class Functional(nn.Module):
    """Each way to say ReLU, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.head = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(x))
        if x.shape[-1] > 2:
            x = F.relu(x - 0.1)
        x = torch.relu(self.relu(x - 0.1)).relu()
        return self.head(F.relu(input=x).mean((2, 3)))


def test_every_relu_is_found_however_it_is_called() -> None:
    module = Functional()
    assert quantize_relus(module, IMAGES, 1) == 6
    assert isinstance(module, Functional)
    seen: list[Tensor] = []
    module.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    module(IMAGES)
    module.resolutions.data[-1] = 3.0
    module(IMAGES)
    assert float(seen[0].max()) <= START[1] + 1e-6
    assert float(seen[1].max()) > START[1]


@pytest.mark.parametrize("name", ["resnet8", "lenet5", "wrn-16-1"])
def test_a_network_of_the_zoo_is_rebuilt_from_its_description(name: str) -> None:
    architecture = architecture_of(name, CIFAR)
    module = build(architecture).eval()
    places = quantize_relus(module, IMAGES, 4)
    again = rebuild({"kind": "quant-relu", "bits": 4, "places": places, "of": architecture}).eval()
    again.load_state_dict(module.state_dict())
    copied = copy.deepcopy(module)
    with torch.no_grad():
        assert torch.equal(module(IMAGES), again(IMAGES))
        assert torch.equal(module(IMAGES), copied(IMAGES))
        assert not torch.equal(module(IMAGES), build(architecture).eval()(IMAGES))
    assert quantize_relus(again, IMAGES, 4) == places
    with pytest.raises(StudentError, match="4 bits already"):
        quantize_relus(again, IMAGES, 2)


@pytest.mark.parametrize("act", [nn.GELU(), nn.SiLU(), nn.ReLU6(), nn.Tanh(), nn.Hardswish(), nn.PReLU()])
def test_other_activations_are_refused_with_the_mend(act: nn.Module) -> None:
    with pytest.raises(StudentError, match="--bits w4 puts the weights alone"):
        quantize_relus(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), act), IMAGES, 4)


def test_a_network_without_relu_is_refused() -> None:
    with pytest.raises(StudentError, match="no ReLU runs"):
        quantize_relus(nn.Sequential(nn.Conv2d(3, 4, 3)), IMAGES, 4)


@pytest.mark.parametrize(("bits", "places"), [(0, 1), (9, 1), (4, 0), (4, 10**9), ("4", 1), (4, None)])
def test_a_description_that_cannot_be_is_refused(bits: Any, places: Any) -> None:
    of = architecture_of("resnet8", CIFAR)
    with pytest.raises(StudentError, match="few bits"):
        rebuild({"kind": "quant-relu", "bits": bits, "places": places, "of": of})


def test_a_description_within_itself_is_refused() -> None:
    of = architecture_of("resnet8", CIFAR)
    nested: Any = of
    for _ in range(2):
        nested = {"kind": "quant-relu", "bits": 4, "places": 7, "of": nested}
    with pytest.raises(StudentError, match="few bits"):
        rebuild(nested)
    with pytest.raises(StudentError, match="needs 'of'"):
        rebuild({"kind": "quant-relu", "bits": 4, "places": 7})


def test_a_resolution_decays_less_and_stays_within_its_bounds() -> None:
    module, runtime = one_relu(4), Runtime()
    optimizer = TransferSettings(lr=1.0, weight_decay=1e-2).make_optimizer(module)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [1e-2, DECAYS * 1e-2]
    bound_resolutions(module, runtime)
    for slope, end in ((100.0, BOUNDS[0]), (-100.0, BOUNDS[1])):
        for _ in range(3):
            module.resolutions.grad = torch.full_like(module.resolutions, slope)
            runtime.step(optimizer)
        assert module.resolutions.tolist() == pytest.approx([end])
