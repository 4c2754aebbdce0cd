"""Few bits: against NumPy in float64, and what calibration promises."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tiny import make_module, make_task
from torch import nn

from sansdata.compress.calibrate import best_range, calibrate
from sansdata.compress.quantize import Quantized, fake_quantize, layers_of, quantize, quantized_parts, weight_scale
from sansdata.compress.rebuild import rebuild
from sansdata.errors import StudentError

SHAPE = (1, 8, 8)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inputs(count: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, *SHAPE, generator=rng(seed))


def nearest(x: np.ndarray, grid: np.ndarray) -> np.ndarray:
    return grid[np.abs(x[:, None] - grid[None]).argmin(1)]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_every_value_goes_to_the_nearest_of_the_grid(bits: int) -> None:
    x = torch.randn(500, generator=rng(), dtype=torch.float64)
    scale, zero, levels = 0.37, 2 ** (bits - 1) - 1, 2**bits - 1
    got = fake_quantize(x, torch.tensor(scale).double(), torch.tensor(float(zero)).double(), 0, levels).numpy()
    assert np.abs(got - nearest(x.numpy(), scale * (np.arange(levels + 1) - zero))).max() < 1e-7


def test_rounding_passes_gradients_through_inside_the_grid_only() -> None:
    x = torch.tensor([-9.0, -0.4, 0.3, 9.0], requires_grad=True)
    fake_quantize(x, torch.tensor(0.5), torch.tensor(0.0), -3, 3).sum().backward()
    assert torch.equal(x.grad, torch.tensor([0.0, 1.0, 1.0, 0.0]))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_a_channels_grid_has_the_least_error_of_those_tried(bits: int) -> None:
    weight = torch.randn(5, 3, 3, 3, generator=rng(bits), dtype=torch.float64)
    weight[2, 0, 0, 0] = 9.0  # an outlier: the whole range is a bad grid for the others
    got = weight_scale(weight, bits)
    assert got.shape == (5, 1, 1, 1)
    highest = 2 ** (bits - 1) - 1
    for row, scale in zip(weight.flatten(1).numpy(), got.flatten().numpy()):
        tried = [np.abs(row).max() / highest * share for share in np.arange(1, 41) / 40]
        levels = np.arange(-highest, highest + 1)
        errors = [((nearest(row, step * levels) - row) ** 2).sum() for step in tried]
        assert scale == pytest.approx(tried[int(np.argmin(errors))], rel=1e-6)


def test_a_range_leaves_out_what_is_rare_and_holds_zero() -> None:
    values = torch.cat([torch.rand(5000, generator=rng(), dtype=torch.float64), torch.tensor([40.0]).double()])
    low, high = best_range(values, 4)
    assert low == 0
    assert high < 40
    assert best_range(torch.tensor([1.0, 2.0]), 8)[0] == 0
    errors = {}
    for top in (high, 40.0):
        grid = np.linspace(0, top, 16)
        errors[top] = ((nearest(values.numpy(), grid) - values.numpy()) ** 2).mean()
    assert errors[high] < errors[40.0]


def test_at_32_bits_the_network_is_the_original() -> None:
    module = make_module()
    same = quantize(module, SHAPE, 32, 32)
    assert [type(part) for part in same.modules()] == [type(part) for part in module.modules()]
    assert torch.equal(same(inputs()), module(inputs()))


def test_the_given_network_stays_as_it_was() -> None:
    module, before = make_module(), make_module().state_dict()
    small = quantize(module, SHAPE, 4, 4)
    calibrate(small, module, inputs())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in [*module.modules(), *small.modules()])
    assert list(quantized_parts(module)) == []


def test_weights_lie_on_few_values_and_the_ends_on_more() -> None:
    module = make_module()
    small = quantize(module, SHAPE, 3, 3)
    parts = dict(quantized_parts(small))
    assert list(layers_of(module, SHAPE)) == list(parts)
    counts = {path: max(len(row.unique()) for row in part.layer.weight.flatten(1)) for path, part in parts.items()}
    first, *middle, last = counts
    assert all(counts[path] <= 7 for path in middle)
    assert counts[first] > 7
    assert counts[last] > 7
    assert [part.inputs for part in parts.values()] == [8, *[3] * len(middle), 8]


def test_more_bits_are_nearer_and_eight_keep_the_classes() -> None:
    module, seen, asked = make_module(), inputs(256, 1), inputs(256, 2)
    wanted, errors = module(asked).detach(), {}
    for bits in (2, 4, 8):
        small = quantize(module, SHAPE, bits, bits)
        calibrate(small, module, seen)
        errors[bits] = float((small(asked).detach() - wanted).square().mean())
    assert errors[8] < 0.2 * errors[4] < 0.2 * errors[2]
    assert (small(asked).argmax(1) == wanted.argmax(1)).float().mean() > 0.97


def test_each_layer_gives_the_mean_it_had_in_float() -> None:
    module, seen = make_module(), inputs(128)
    small = quantize(module, SHAPE, 3, 3)
    calibrate(small, module, seen)
    plain = copy.deepcopy(small)
    for _, part in quantized_parts(plain):
        part.correction.zero_()

    def shifts(network: nn.Module) -> list[float]:
        found: dict[str, list[torch.Tensor]] = {}
        handles = [
            owner.get_submodule(path).register_forward_hook(
                lambda _, __, output, path=path: found.setdefault(path, []).append(output.flatten(2).mean((0, 2)))
            )
            for owner in (module, network)
            for path, part in quantized_parts(network)
            if isinstance(part.layer, nn.Conv2d)
        ]
        module(seen)
        network(seen)
        for handle in handles:
            handle.remove()
        return [float((one - other).abs().mean()) for one, other in found.values()]

    assert max(shifts(small)) < 1e-5
    assert max(shifts(plain)) > 1e-2


def test_calibration_on_other_images_gives_another_network() -> None:
    module = make_module()
    outputs = []
    for scale in (1.0, 30.0):
        small = quantize(module, SHAPE, 4, 4)
        calibrate(small, module, scale * inputs())
        outputs.append(small(inputs(32, 3)))
    wanted = module(inputs(32, 3))
    errors = [float((one - wanted).square().mean()) for one in outputs]
    assert errors[0] < 0.5 * errors[1]


def test_it_can_be_trained_through_its_bits() -> None:
    module = make_module()
    small = quantize(module, SHAPE, 4, 4)
    calibrate(small, module, inputs())
    small.train()
    small(inputs()).square().mean().backward()
    part = dict(quantized_parts(small))["layer1.0.conv1"]
    assert part.layer.parametrizations.weight.original.grad.abs().sum() > 0


def test_a_quantized_architecture_is_built_again() -> None:
    task = make_task()
    of = {"kind": "zoo", "name": "resnet8", "args": {"channels": 1, "classes": task.classes, "scale": 1.0}}
    module = make_module()
    small = quantize(module, SHAPE, 4, 6)
    calibrate(small, module, inputs())
    architecture = {"kind": "quantized", "weights": 4, "inputs": 6, "shape": [1, 8, 8], "classes": 4, "of": of}
    again = rebuild(architecture).eval()
    again.load_state_dict(small.state_dict())
    assert torch.equal(again(inputs()), small(inputs()))
    with pytest.raises(StudentError, match="at 2 to 8 or 32 bits"):
        rebuild(architecture | {"inputs": 1})


def test_a_network_without_layers_is_refused() -> None:
    with pytest.raises(StudentError, match="nothing to compress"):
        quantize(nn.Flatten(), SHAPE, 4, 4)


def test_padding_stays_zero() -> None:
    part = Quantized(nn.Conv2d(1, 1, 3), 32, 4)
    for low, high in ((-1.3, 2.9), (0.2, 1.0), (-3.0, -1.0)):
        part.set_range(low, high)
        assert part.on_grid(torch.zeros(1)) == 0
