"""The generator, and its enlarging convolutions against the two plain operations they stand for."""

import pytest
import torch
import torch.nn.functional as F

from sansdata.models.generators import EnlargingConv2d, UpsamplingGenerator


@pytest.mark.parametrize("size", [(8, 12), (7, 11)], ids=["doubled", "not doubled"])
def test_an_enlarging_convolution_is_interpolation_then_convolution(size):
    layer = EnlargingConv2d(3, 5, 3, padding=1).double()
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    other = x.detach().clone().requires_grad_()
    mine, plain = layer(x, size), F.conv2d(F.interpolate(other, size), layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(mine, plain)
    upstream = torch.randn_like(mine)
    got = torch.autograd.grad(mine, [x, layer.weight, layer.bias], upstream)
    expected = torch.autograd.grad(plain, [other, layer.weight, layer.bias], upstream)
    for g, e in zip(got, expected):
        torch.testing.assert_close(g, e)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 30, 17)])
@pytest.mark.parametrize("range", ["unit", "standard", "learned"])
def test_images_have_the_shape_asked_for_and_the_range_of_their_kind(shape, range):
    images = UpsamplingGenerator(16, shape, 8, range)(torch.randn(32, 16))
    assert images.shape == (32, *shape)
    if range == "unit":
        assert images.min() > 0
        assert images.max() < 1
    else:
        torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(shape[0]), atol=1e-4, rtol=0)
