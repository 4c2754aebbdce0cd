"""Inputs that enter behind the words, in networks of ours and in one of transformers' kind."""

from __future__ import annotations

import pytest
import torch
from tiny import make_tokens_task
from torch import Tensor, nn

from sansdata.errors import TeacherError
from sansdata.kinds.index import input_kind
from sansdata.models.build import architecture_of, build
from sansdata.models.entry import layer_of_words
from sansdata.models.zoo import ZOO_OF
from sansdata.network import Network

TASK = make_tokens_task()
EVERY = pytest.mark.parametrize("name", ZOO_OF["tokens"])


class Renamed(nn.Module):
    """Reads positions too, through a layer of the same sort, before the words."""

    def __init__(self) -> None:
        super().__init__()
        self.positions, self.words = nn.Embedding(40, 8), nn.Embedding(40, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        places = torch.arange(input_ids.shape[1])[None].expand_as(input_ids)
        states = self.positions(places) + self.words(input_ids.view(input_ids.shape))
        return self.head((states * attention_mask[..., None]).sum(1))


def network_of(name: str) -> Network:
    torch.manual_seed(0)
    if name == "renamed":
        return Network.of(Renamed().eval(), TASK.seen_through({"names": ["input_ids", "attention_mask"]}))
    return Network.of(build(architecture_of(name, TASK)).eval(), TASK)


def draw(seed: int = 0) -> dict[str, Tensor]:
    return input_kind(TASK).draw(6, torch.Generator().manual_seed(seed))  # type: ignore[return-value]


@pytest.mark.parametrize("name", [*ZOO_OF["tokens"], "renamed"])
def test_the_words_own_vectors_change_nothing(name: str) -> None:
    network, inputs = network_of(name), draw()
    layer = layer_of_words(network.module, network.preprocessor(inputs), inputs["tokens"])
    assert layer is not None
    known = network(inputs).logits
    vectors = layer(inputs["tokens"]).detach()
    assert torch.equal(network({**inputs, "vectors": vectors}).logits, known)
    choices = torch.stack([inputs["tokens"], draw(1)["tokens"]], 2)
    shares = torch.tensor([1.0, 0.0]).expand(choices.shape)
    assert torch.allclose(network({**inputs, "choices": choices, "shares": shares}).logits, known, atol=1e-6)
    assert not torch.allclose(network({**inputs, "vectors": -vectors}).logits, known, atol=1e-3)


@EVERY
def test_gradients_reach_vectors_shares_and_the_students_own_words(name: str) -> None:
    network, inputs = network_of(name), draw()
    choices = torch.stack([draw(seed)["tokens"] for seed in (1, 2, 3)], 2)
    shares = torch.full(choices.shape, 1 / 3, requires_grad=True)
    network({**inputs, "choices": choices, "shares": shares}).logits.square().sum().backward()
    assert shares.grad is not None
    assert shares.grad[inputs["mask"]].abs().sum() > 0
    assert network.module.get_submodule("embedding").weight.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_what_cannot_enter_is_one_error() -> None:
    network, inputs = network_of("bag"), draw()
    with pytest.raises(TeacherError, match="cannot enter"):
        network({**inputs, "vectors": torch.zeros(6, 12, 3)})
    with pytest.raises(TeacherError, match="no layer of words"):
        Network.of(Votes(), TASK)({**inputs, "vectors": torch.zeros(6, 12, 3)})
    assert not network.module.get_submodule("embedding")._forward_hooks


class Votes(nn.Module):
    """Has no layer of words."""

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return nn.functional.one_hot(tokens % 4, 4).float().sum(1)


def test_what_is_stored_is_the_text_alone() -> None:
    kind, inputs = input_kind(TASK), draw()
    packed = kind.pack({**inputs, "vectors": torch.zeros(6, 12, 3)})
    assert set(packed) == {"tokens", "mask"}
