"""Networks of masks: any size, the size of the image, rebuilt at another width, and shrunk where they are not ours."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sansdata.compress.rebuild import rebuild
from sansdata.compress.shrink import shrink
from sansdata.errors import StudentError
from sansdata.models.build import architecture_of, build
from sansdata.models.segmentation_nets import _unpooled
from sansdata.models.zoo import MASK_ZOO
from sansdata.tasks import load_task

TASK = load_task({"kind": "segmentation", "shape": [3, 20, 28], "classes": 5})


@pytest.mark.parametrize("name", MASK_ZOO)
@pytest.mark.parametrize("size", [(8, 8), (20, 28), (33, 17)])
def test_a_mask_is_as_large_as_its_image(name: str, size: tuple[int, int]) -> None:
    with torch.no_grad():
        assert build(architecture_of(name, TASK)).eval()(torch.zeros(2, 3, *size)).shape == (2, 5, *size)


@pytest.mark.parametrize("name", MASK_ZOO)
def test_every_parameter_has_a_say(name: str) -> None:
    module = build(architecture_of(name, TASK))
    module(torch.randn(2, *TASK.shape)).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in module.parameters())


def test_a_network_of_classes_is_no_network_of_masks() -> None:
    with pytest.raises(StudentError, match="does not give masks"):
        architecture_of("resnet8", TASK)
    with pytest.raises(StudentError, match="does not give classes"):
        architecture_of("unet", load_task("cifar10"))


def test_unpooling_puts_maxima_back_where_they_were() -> None:
    x = torch.randn(2, 3, 6, 8)
    pooled, places = nn.functional.max_pool2d(x, 2, return_indices=True)
    assert torch.equal(_unpooled(pooled, x, pooled), nn.functional.max_unpool2d(pooled, places, 2))


class Foreign(nn.Module):
    """As libraries write them: transposed convolutions, a sum across, a dictionary of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, 2, 1)
        self.up, self.norm = nn.ConvTranspose2d(32, 16, 2, 2), nn.BatchNorm2d(16)
        self.head = nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        fine = self.stem(x).relu()
        return {"out": self.head(self.norm(self.up(self.down(fine).relu())) + fine)}


def test_any_convolutional_network_is_shrunk_transposed_convolutions_too() -> None:
    student, _ = shrink(Foreign(), 0.5, TASK)
    assert student.up.weight.shape == (16, 8, 2, 2)  # type: ignore[union-attr]
    assert student(torch.zeros(2, *TASK.shape))["out"].shape == (2, 5, 20, 28)


def test_a_zoo_network_is_shrunk_to_another_scale() -> None:
    architecture = architecture_of("deeplab", TASK)
    student, smaller = shrink(build(architecture), 0.5, TASK, architecture)
    assert smaller is not None
    again = rebuild(smaller)
    assert [p.shape for p in again.parameters()] == [p.shape for p in student.parameters()]
    assert sum(p.numel() for p in student.parameters()) < 0.3 * sum(p.numel() for p in build(architecture).parameters())
