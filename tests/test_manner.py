"""One place decides how modules are run: what they cannot stand is left off, and nothing else."""

from __future__ import annotations

import pytest
import torch
from real_life import TASK, Head, cholesky, flattened, one_type, seen
from torch import Tensor, nn

from sansdata.manner import suited
from sansdata.models.modes import borrowed
from sansdata.network import Network
from sansdata.runtime import Runtime


def settled(module: nn.Module, precision: str = "bf16") -> tuple[Runtime, list[str]]:
    return suited(Runtime("cpu", precision), {"the net": Network.of(module, TASK)}, TASK)


PLAIN = torch.contiguous_format


@pytest.mark.parametrize(
    ("change", "precision", "layout"),
    [
        (lambda x: x.mean((2, 3)), "bf16", torch.channels_last),
        (flattened, "bf16", PLAIN),
        (one_type, "fp32", torch.channels_last),
        (lambda x: torch.cat([flattened(x), cholesky(x)], 1), "fp32", PLAIN),
    ],
)
@pytest.mark.parametrize("learns", [False, True])
def test_what_does_not_work_is_left_off(change, precision: str, layout: torch.memory_format, learns: bool) -> None:
    module = seen(Head(change=change)).requires_grad_(learns)
    before, generator = {name: value.clone() for name, value in module.state_dict().items()}, torch.get_rng_state()
    runtime, left_off = settled(module)
    assert torch.equal(generator, torch.get_rng_state())
    assert (runtime.precision, runtime.layout) == (precision, layout)
    assert len(left_off) == int((precision, layout) != ("bf16", torch.channels_last))
    assert all("the net fails (" in line for line in left_off)
    inputs = runtime.place(torch.rand(2, 3, 8, 8))
    assert bool(torch.isfinite(runtime.forward(Network.of(module, TASK), inputs).value).all())
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in before.items())
    assert not module.training


def test_answers_that_bf16_changes_are_given_in_float32() -> None:
    class Fine(nn.Module):
        """A small difference of large numbers."""

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(192, 4)

        def forward(self, x: Tensor) -> Tensor:
            answers = self.linear(x.flatten(1))
            return (answers + 1e4) - 1e4

    runtime, left_off = settled(Fine().eval().requires_grad_(False))
    assert runtime.precision == "fp32"
    assert "otherwise than in float32" in left_off[0]


def test_a_layout_fails_in_the_backward_pass_alone() -> None:
    class Backward(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx, slope: Tensor) -> Tensor:
            assert slope.dtype == torch.float32, "only float32 here"
            return slope

    module = Head(change=lambda x: Backward.apply(x).mean((2, 3))).eval()
    runtime, left_off = settled(module)
    assert runtime.precision == "fp32"
    assert "only float32 here" in left_off[0]


def test_a_network_that_never_works_is_no_business_of_the_runtime() -> None:
    def broken(x: Tensor) -> Tensor:
        if len(x) == 2 and x.shape[2] == 4 and ready:
            raise ValueError("never")
        return x.mean((2, 3))

    ready = False
    module = Head(change=broken)
    ready = True
    runtime, left_off = settled(module)
    assert (runtime.precision, runtime.layout, left_off) == ("fp32", PLAIN, [])


def test_no_backward_pass_at_all_costs_nothing() -> None:
    module = Head(change=lambda x: x.detach().mean((2, 3))).eval().requires_grad_(False)
    runtime, left_off = settled(module)
    assert (runtime.precision, runtime.layout, left_off) == ("bf16", torch.channels_last, [])


def test_borrowed_modules_are_given_back() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 4)).train()
    module[0].weight.requires_grad_(False)
    module.double()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    held = {id(value): value.data_ptr() for value in (*module.parameters(), *module.buffers())}
    strides = [value.stride() for value in module.parameters()]
    with borrowed(module) as lent:
        Runtime().place(lent.float())(torch.rand(2, 3, 8, 8))
        lent[1].running_mean.add_(1)
    assert {id(value): value.data_ptr() for value in (*module.parameters(), *module.buffers())} == held
    assert [value.stride() for value in module.parameters()] == strides
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in before.items())
    assert all(part.training for part in module.modules())
    assert [p.requires_grad for p in module.parameters()] == [False, True, True, True, True, True]
