"""The gradient of channel statistics is our own; and the BatchNorm prior built on it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sansdata.models.taps import forward
from sansdata.objectives.batch_stats import BatchStatistics, channel_statistics


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def reference(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)


@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (3, 2, 4, 5), (5, 4, 1, 3), (2, 3, 6, 6)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradient_equals_finite_differences(shape, layout):
    x = drawn(*shape).to(memory_format=layout).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: channel_statistics(v), (x,), eps=1e-6, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_gradient_in_working_precision_is_near_that_of_float64(dtype, bound, layout):
    x = (3 * drawn(16, 5, 8, 8, seed=1) + 2).to(dtype)
    weights = drawn(2, 5, seed=2)
    grads = []
    for value, statistics in ((x.to(memory_format=layout), channel_statistics), (x.double(), reference)):
        value = value.detach().requires_grad_()
        mean, var = statistics(value)
        ((mean * weights[0]).sum() + (var * weights[1]).sum()).backward()
        assert value.grad is not None
        grads.append(value.grad.double())
    assert (grads[0] - grads[1]).abs().max() <= bound * grads[1].abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_statistics_come_in_float32_at_least(dtype):
    mean, var = channel_statistics(drawn(4, 3, 8, 8).to(dtype))
    assert mean.dtype == var.dtype == torch.float32


def test_a_constant_channel_has_no_variance():
    x = torch.full((4, 2, 3, 3), 7.0, requires_grad=True)
    mean, var = channel_statistics(x)
    assert mean.tolist() == pytest.approx([7.0, 7.0])
    assert var.abs().max() < 1e-9
    var.sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


# -- the prior over a module


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.a = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)
        self.second, self.head = nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.a(self.first(x))).mean((2, 3)))


def learned(batch: Tensor) -> Net:
    """A net whose running statistics are exactly those of `batch`, with the biased variance."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Net().eval()
    x = batch
    for norm, before in ((net.first, lambda v: v), (net.second, lambda v: net.a(net.first(v)))):
        with torch.no_grad():
            mean, var = reference(before(x))
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)
    return net


def prior(net: Net, batch: Tensor, **how: float) -> tuple[BatchStatistics, Tensor]:
    statistics = BatchStatistics(net, ("first", "second"), **how)
    return statistics, statistics(forward(net, batch, statistics.taps).taps)


def test_distance_to_its_own_statistics_is_nought_and_grows_away_from_them():
    batch = drawn(32, 3, 6, 6, seed=3, dtype=torch.float32)
    net = learned(batch)
    assert prior(net, batch)[1].item() == pytest.approx(0, abs=1e-5)
    near, far = prior(net, batch + 0.1)[1].item(), prior(net, batch + 1)[1].item()
    assert 0.1 < near < far


def test_the_first_layer_has_a_multiplier_of_its_own():
    batch = drawn(8, 3, 6, 6, seed=4, dtype=torch.float32)
    net = learned(drawn(8, 3, 6, 6, seed=5, dtype=torch.float32))
    taps = forward(net, batch, ("first:input", "second:input")).taps
    both = BatchStatistics(net, ("first", "second"))(taps)
    first = BatchStatistics(net, ("first",))(taps)
    assert BatchStatistics(net, ("first", "second"), first=10)(taps).item() == pytest.approx(
        (both + 9 * first).item(), rel=1e-5
    )


def test_the_distance_teaches_pixels():
    batch = drawn(16, 3, 6, 6, seed=6, dtype=torch.float32)
    net = learned(drawn(16, 3, 6, 6, seed=7, dtype=torch.float32) * 2 + 1)
    pixels = batch.clone().requires_grad_()
    optimizer = torch.optim.Adam([pixels], lr=0.1)
    start = None
    for _ in range(60):
        distance = prior(net, pixels)[1]
        start = distance.item() if start is None else start
        optimizer.zero_grad()
        distance.backward()
        optimizer.step()
    assert start is not None
    assert prior(net, pixels)[1].item() < 0.2 * start


def test_momentum_mixes_in_what_is_remembered_and_scales_the_gradient():
    """FM: from round two on, 0.9 of the statistics is remembered, so a tenth of the gradient reaches the pixels."""
    net = learned(drawn(8, 3, 6, 6, seed=8, dtype=torch.float32))
    one, two = drawn(8, 3, 6, 6, seed=9, dtype=torch.float32), drawn(8, 3, 6, 6, seed=10, dtype=torch.float32) + 1
    statistics = BatchStatistics(net, ("first",), momentum=0.9)
    plain = BatchStatistics(net, ("first",))
    assert statistics({"first:input": one}).item() == plain({"first:input": one}).item()  # nothing remembered yet
    statistics.remember()
    mean, var = (0.9 * a + 0.1 * b for a, b in zip(reference(one), reference(two)))
    assert net.first.running_mean is not None
    assert net.first.running_var is not None
    wanted = (mean - net.first.running_mean).norm() + (var - net.first.running_var).norm()
    assert statistics({"first:input": two}).item() == pytest.approx(wanted.item(), rel=1e-5)
    # called again in the same round: only `remember` moves what is remembered
    assert statistics({"first:input": two}).item() == pytest.approx(wanted.item(), rel=1e-5)
    statistics.remember()
    again = 0.9 * mean + 0.1 * reference(two)[0]
    found = statistics.state_dict()["remembered"][0][0]
    assert torch.allclose(found, mean, atol=1e-5)
    assert not torch.allclose(found, again, atol=1e-3)


def test_what_is_remembered_survives_a_save():
    net = learned(drawn(8, 3, 6, 6, seed=8, dtype=torch.float32))
    x = drawn(8, 3, 6, 6, seed=11, dtype=torch.float32)
    one, two = BatchStatistics(net, ("first",), momentum=0.5), BatchStatistics(net, ("first",), momentum=0.5)
    two.load_state_dict(one.state_dict())  # nothing yet
    assert one({"first:input": x}).item() == two({"first:input": x}).item()
    one.remember()
    two.load_state_dict(one.state_dict())
    assert one({"first:input": x + 1}).item() == two({"first:input": x + 1}).item()
