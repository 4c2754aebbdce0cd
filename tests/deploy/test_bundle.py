"""A model with all it needs around it, whatever it is asked with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sansdata.deploy.bundle import Deployable
from sansdata.deploy.parity import compare
from sansdata.kinds.base import OutputKind
from sansdata.kinds.inputs.image import Images
from sansdata.tasks import ImageTask

TASK = ImageTask(shape=(1, 4, 4), classes=3, mean=(0.5,), std=(0.5,))


class OneColumn(Images):
    """Images as a column with a name, as a kind of a third party may have them."""

    def draw(self, count, generator, source="", door=None):
        return {"images": torch.rand(count, *self.spec.shape, generator=generator)}

    def unpack(self, packed):
        return {"images": super().unpack(packed["images"])}

    def pack(self, inputs):
        return {"images": super().pack(inputs["images"])}

    def preprocessor(self, described):
        return lambda inputs: {"pixels": (inputs["images"] - 0.5) / 0.5}


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(pixels.flatten(1))


def test_one_column_with_a_name_is_a_column(monkeypatch) -> None:
    for room in ("deploy.bundle", "network"):
        monkeypatch.setattr(f"sansdata.{room}.input_kind", lambda task: OneColumn(task.inputs))
    module = Named()
    model, images = Deployable(module, TASK), torch.rand(2, 1, 4, 4)
    assert torch.allclose(model(images), module((images - 0.5) / 0.5))


def test_answers_without_classes_are_compared_by_their_distance_alone(monkeypatch) -> None:
    class Measures:
        same = OutputKind.same

    monkeypatch.setattr("sansdata.deploy.parity.output_kind", lambda task: Measures())
    flip = lambda x: torch.tensor([[1e-7, 0.0, 0.0]]).expand(len(x), 3)  # noqa: E731
    other = lambda x: torch.tensor([[0.0, 1e-7, 0.0]]).expand(len(x), 3)  # noqa: E731
    found = compare(flip, other, TASK, 1e-5)
    assert found.passed
    assert found.argmax_agreement is None
    monkeypatch.undo()
    assert not compare(flip, other, TASK, 1e-5).passed


def test_results_of_a_pass_are_copied() -> None:
    module = nn.Sequential(nn.Flatten(), nn.utils.weight_norm(nn.Linear(16, 3)))
    images = torch.rand(2, 1, 4, 4)
    expected = module((images - 0.5) / 0.5)
    assert torch.allclose(Deployable(module, TASK)(images), expected)
    assert module[1].weight.requires_grad
