"""Which weights fine-tuning frees, and what its loop leaves alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny import make_module, make_task
from torch import nn

from sansdata.datasets.labelled import KindSet
from sansdata.errors import DivergedError, StudentError
from sansdata.finetuning.loop import Synthetic, fidelity, fine_tune
from sansdata.finetuning.settings import FineTuneSettings
from sansdata.finetuning.stages import renew_last_layer, stages
from sansdata.network import Network

TASK = make_task()


def test_of_a_residual_network_the_last_block_is_its_last_residual_block() -> None:
    head, block = stages(Network.of(make_module(), TASK), TASK)
    assert set(head) == {"linear.weight", "linear.bias"}
    own = {name.split(".conv")[0].split(".bn")[0].split(".shortcut")[0] for name in block} - {
        "linear.weight",
        "linear.bias",
    }
    assert len(own) == 1
    assert own.pop().startswith("layer3.")


def test_of_a_flat_network_it_is_the_layers_before_the_last() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))
    head, block = stages(Network.of(flat.eval(), TASK), TASK)
    assert set(head) == {"5.weight", "5.bias"}
    assert set(block) == {"3.weight", "3.bias", "4.weight", "4.bias", "5.weight", "5.bias"}
    with pytest.raises(StudentError, match="no layer of the student has weights"):
        stages(Network.of(nn.Flatten(), TASK), TASK)


@pytest.fixture
def cases() -> KindSet:
    images = torch.randint(0, 256, (24, 1, 8, 8), dtype=torch.uint8)
    return KindSet(TASK, images, np.arange(24) % 4, (), "drawn")


def test_statistics_and_freedom_are_as_they_were(cases: KindSet) -> None:
    module = make_module()
    module.conv1.weight.requires_grad_(False)  # type: ignore[union-attr]
    before = {name: value.clone() for name, value in module.named_buffers()}
    fine_tune(Network.of(module, TASK), TASK, cases, cases, None, FineTuneSettings(epochs=1, synthetic=0))
    assert all(torch.equal(value, before[name]) for name, value in module.named_buffers())
    assert not module.conv1.weight.requires_grad  # type: ignore[union-attr]
    assert module.linear.weight.requires_grad  # type: ignore[union-attr]
    assert all(value.grad is None for value in module.parameters())


def test_a_strong_anchor_holds_and_a_weak_one_lets_go(cases: KindSet) -> None:
    moved = []
    for anchor in (0.0, 1e4):
        module = make_module()
        start = module.linear.weight.detach().clone()  # type: ignore[union-attr,operator]
        fine_tune(
            Network.of(module, TASK), TASK, cases, cases, None,
            FineTuneSettings(epochs=3, anchor=anchor, head_lr=0.01, synthetic=0),
        )  # fmt: skip
        moved.append(float((module.linear.weight - start).detach().norm()))  # type: ignore[union-attr,operator]
    assert moved[1] < moved[0] / 2


@pytest.mark.parametrize("free", ["head", "block", "all"])
def test_no_more_is_free_than_was_asked_for(cases: KindSet, free: Any) -> None:
    module = make_module()
    network, start = Network.of(module, TASK), {n: value.detach().clone() for n, value in module.named_parameters()}
    head, block = stages(network, TASK)
    settings = FineTuneSettings(epochs=3, free=free, head_lr=0.01, block_lr=0.01, synthetic=0, anchor=0)
    done = fine_tune(network, TASK, cases, cases, None, settings)
    assert [stage.name for stage in done] == (["head"] if free == "head" else ["head", free])
    assert all(stage.kept > 0 for stage in done)
    moved = {name for name, value in module.named_parameters() if not torch.equal(value, start[name])}
    assert moved == set({"head": head, "block": block, "all": start}[free])


def test_a_fresh_last_layer_is_drawn_by_the_seed_and_nothing_else_is(cases: KindSet) -> None:
    old = make_module().state_dict()
    drawn = []
    for seed in (0, 0, 1):
        network = Network.of(make_module(), TASK)
        renew_last_layer(network, TASK, seed)
        own = network.module.state_dict()
        assert all(torch.equal(value, old[name]) for name, value in own.items() if not name.startswith("linear."))
        drawn.append(own["linear.weight"])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], old["linear.weight"])
    with torch.random.fork_rng():
        torch.manual_seed(5)
        before = torch.random.get_rng_state()
        renew_last_layer(Network.of(make_module(), TASK), TASK, 0)
        assert torch.equal(before, torch.random.get_rng_state())


def test_a_last_layer_that_cannot_be_drawn_anew_is_refused(cases: KindSet) -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.by = nn.Parameter(torch.ones(4))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs * self.by

    network = Network.of(nn.Sequential(nn.Flatten(), nn.Linear(64, 4), Scale()), TASK)
    with pytest.raises(StudentError, match="'2' is a Scale"):
        fine_tune(network, TASK, cases, cases, None, FineTuneSettings(last_layer="fresh", synthetic=0))


def test_weights_that_made_nothing_better_are_not_kept(cases: KindSet) -> None:
    module = make_module()
    start = {name: value.clone() for name, value in module.state_dict().items()}
    turned = KindSet(TASK, cases.packed, (cases.labels + 1) % 4, (), "turned")
    settings = FineTuneSettings(epochs=2, head_lr=0.5, block_lr=0.5, synthetic=0)
    done = fine_tune(Network.of(module, TASK), TASK, cases, turned, None, settings)
    for stage in done:
        assert stage.losses[stage.kept] == min(stage.losses)
    if all(stage.kept == 0 for stage in done):
        assert all(torch.equal(value, start[name]) for name, value in module.state_dict().items())


def test_synthetic_inputs_keep_the_old_answers(cases: KindSet) -> None:
    shares = []
    for weight in (0.0, 20.0):
        network = Network.of(make_module(), TASK)
        packed = torch.randint(0, 256, (200, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            made = Synthetic(packed, network(packed.float().div(255)).value)
        assert fidelity(network, TASK, made) == 1
        settings = FineTuneSettings(epochs=5, patience=5, head_lr=0.05, synthetic=weight, anchor=0)
        fine_tune(network, TASK, cases, cases, made, settings)
        shares.append(fidelity(network, TASK, made))
    assert shares[1] > shares[0]


def test_a_loss_that_is_not_finite_ends_it(cases: KindSet) -> None:
    module = make_module()
    module.linear.bias.data[0] = float("nan")  # type: ignore[union-attr,index]
    with pytest.raises(DivergedError, match="fine-tuning of the head"):
        fine_tune(Network.of(module, TASK), TASK, cases, cases, None, FineTuneSettings(synthetic=0))
