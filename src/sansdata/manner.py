"""In which manner the networks of a job can be run: layout and precision are left off where one of them fails.

The only place that decides it: a run, `check`, `evaluate`, `compress` and `federate` all ask here.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from . import columns
from .columns import Inputs
from .errors import first_line
from .kinds.index import input_kind
from .models.modes import buffers_kept, in_mode
from .network import Network
from .runtime import Runtime
from .tasks import Task

TRIED = 2
"""Inputs on which it is found out what networks can stand; BatchNorm cannot be taught on one."""
ROUGH = 0.1
"""Of the largest answer: what bf16 may change in a trained network's answers. Deep networks stay within 0.03."""


def suited(runtime: Runtime, networks: Mapping[str, Network], task: Task) -> tuple[Runtime, list[str]]:
    """`runtime`, or one in the plain layout, in float32, or both, where a network works in no other; and what was left
    off, in a sentence each.

    networks: by what they are called; those whose parameters ask for gradients are tried as they train. The modules
    are moved; modes, buffers and torch's generator are as before. Where nothing works the plainest is given: who asks
    next will hear what is wrong.
    """
    inputs, why = input_kind(task).draw(TRIED, torch.Generator().manual_seed(0)), ""
    manners = _manners(runtime)
    with torch.random.fork_rng(devices=[runtime.device] if runtime.device.type == "cuda" else []):
        for backward in (True, False):  # a network without a backward pass can still be asked
            for manner in manners:
                trouble = _trouble(manner, networks, inputs, backward)
                if trouble is None:
                    return manner, _left_off(runtime, manner, why)
                why = why or trouble
    for network in networks.values():
        manners[-1].place(network.module)
    return manners[-1], []


def _manners(runtime: Runtime) -> list[Runtime]:
    """`runtime`, then with less and less of its own."""
    manners = []
    for precision in dict.fromkeys((runtime.precision, "fp32")):
        for layout in dict.fromkeys((runtime.layout, torch.contiguous_format)):
            manner = copy.copy(runtime)
            manner.precision, manner.layout = precision, layout
            manners.append(manner)
    return manners


def _left_off(runtime: Runtime, manner: Runtime, why: str) -> list[str]:
    left = []
    if manner.layout is not runtime.layout:
        left.append("in torch's plain memory layout, not channels-last")
    if manner.precision != runtime.precision:
        left.append(f"in float32, not {runtime.precision}")
    return [f"networks are run {' and '.join(left)}, in which {why}"] if left else []


def _trouble(manner: Runtime, networks: Mapping[str, Network], inputs: Inputs, backward: bool) -> str | None:
    """What goes wrong when they are run in this manner, in a sentence; None where nothing does."""
    for name, network in networks.items():
        manner.place(network.module)
        try:
            with buffers_kept(network.module):
                changed = _change(manner, network, inputs, backward)
        except Exception as fault:  # a foreign module may raise anything
            return f"{name} fails ({first_line(fault)})"
        if not changed <= ROUGH:  # nan too
            return f"{name} answers otherwise than in float32"
    return None


def _change(manner: Runtime, network: Network, inputs: Inputs, backward: bool) -> float:
    """How far bf16 moves a trained network's answers, as a share of the largest. Raises what a pass raises: in eval
    mode, and of one that is to learn in train mode."""
    module = network.module
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    sources = columns.each(_asking, manner.place(inputs)) if backward else manner.place(inputs)
    with in_mode(module, train=False), torch.set_grad_enabled(backward):
        answers = manner.forward(network, sources).value
        _take_slopes(answers, columns.parts(sources))
    if learning:
        with in_mode(module, train=True), torch.set_grad_enabled(backward):
            _take_slopes(manner.forward(network, manner.place(inputs)).value, learning)
    if learning or manner.precision == "fp32":
        return 0.0
    with in_mode(module, train=False), torch.no_grad():
        exact = network(manner.place(inputs)).value
    return float((answers.detach() - exact).abs().max() / exact.abs().max().clamp_min(1e-12))


def _asking(column: Tensor) -> Tensor:
    return column.clone().requires_grad_(True) if column.is_floating_point() else column


def _take_slopes(answers: Tensor, sources: Iterable[Tensor]) -> None:
    """Takes the gradients, and forgets them."""
    differentiable = [source for source in sources if source.requires_grad]
    if answers.requires_grad and differentiable:
        torch.autograd.grad(answers.float().square().sum(), differentiable, allow_unused=True)
