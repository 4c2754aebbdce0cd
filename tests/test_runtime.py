"""What a runtime does to weights after a step, and for how long it remembers them."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from tiny import Tiny
from typer.testing import CliRunner

from sansdata import runtime
from sansdata.cli.main import app
from sansdata.rounding import full_precision
from sansdata.runtime import Runtime


def stepped(runtime: Runtime, weight: torch.nn.Parameter) -> None:
    optimiser = torch.optim.SGD([weight], 1.0)
    weight.grad = torch.ones_like(weight)
    runtime.step(optimiser)


def test_weights_are_put_back_after_every_step_and_others_are_not() -> None:
    runtime, bounded, free = Runtime(), torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(3))
    runtime.keep(bounded, lambda value: value.clamp_(-0.5, 0.5))
    stepped(runtime, bounded)
    stepped(runtime, free)
    assert bounded.tolist() == [-0.5] * 3
    assert free.tolist() == [-1.0] * 3


def test_what_is_put_back_does_not_hold_a_network_that_is_gone() -> None:
    runtime, weight = Runtime(), torch.nn.Parameter(torch.zeros(3))
    runtime.keep(weight, lambda value: value)
    gone = weakref.ref(weight)
    del weight
    gc.collect()
    assert gone() is None


def test_nothing_of_a_pool_stays_on_a_processor_apart() -> None:
    assert Runtime().room == 0


def test_nothing_is_rounded_while_full_precision_is_asked_for() -> None:
    runtime = Runtime(precision="bf16")
    product = torch.nn.Linear(4, 4)

    def kind() -> torch.dtype:
        with runtime.autocast():
            return product(torch.ones(2, 4)).dtype

    with full_precision():
        assert kind() == torch.float32
    assert kind() == torch.bfloat16


def test_a_recurrent_network_that_is_asked_gives_a_gradient_on_an_accelerator_too() -> None:
    """cuDNN's layers refuse it in eval mode, as a teacher or a student that only answers is."""
    runtime, network = Runtime(), torch.nn.Sequential(torch.nn.GRU(2, 2)).eval()
    runtime.device = torch.device("cuda")
    usual = torch.backends.cudnn.enabled
    with runtime._recurrence(network):
        assert not torch.backends.cudnn.enabled
    with torch.no_grad(), runtime._recurrence(network):
        assert torch.backends.cudnn.enabled == usual
    with runtime._recurrence(network.train()):
        assert torch.backends.cudnn.enabled == usual


def test_only_the_command_changes_how_its_process_keeps_memory(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(runtime, "keep_freed_memory", asked.append)
    runtime.make_runtime("cpu")
    assert asked == []
    config = tiny.config(tiny.settings("noise", {"transfer": {"batch": 8}}), "memory.yaml")
    ended = CliRunner().invoke(app, ["distill", "--config", str(config), "--dry-run"])
    assert ended.exit_code == 0, ended.output
    assert asked == ["cpu"]
