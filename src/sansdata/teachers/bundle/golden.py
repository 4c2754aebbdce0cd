"""The golden test: inputs as they travel, with the answers that the whole network gave to them where the bundle was
made. It goes through the door, so that another mean or another order of columns fails it too. Texts stand in it as ids:
another tokenizer is seen by the hash of its file, and not here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ... import columns
from ...columns import Inputs
from ...decoding.arrays import read_arrays
from ...errors import BundleError, DataError, first_line
from ...files import open_regular
from ...kinds.index import input_kind
from ...models.modes import in_mode
from ...network import Network
from ...tasks import Task
from . import layout
from .schema import GoldenTest

COUNT, SEED = 8, 20_019
TOLERANCE = 1e-4
ANSWERS, INPUT = "answers", "input"


def golden_arrays(network: Network, task: Task) -> tuple[GoldenTest, dict[str, np.ndarray]]:
    """(how the test is made, its inputs and answers as arrays of a file): seeded noise, and where the kind has them
    inputs at the ends of what it allows."""
    kind = input_kind(task)
    drawn = kind.draw(COUNT, torch.Generator().manual_seed(SEED))
    if (edges := kind.edges()) is not None:
        drawn = columns.join([drawn, edges])
    arrays = {name: value.numpy() for name, value in _named(drawn).items()}
    arrays[ANSWERS] = _answers(network, drawn).numpy()
    return GoldenTest(seed=SEED, count=columns.count(drawn), tolerance=TOLERANCE), arrays


def worst_difference(network: Network, task: Task, folder: Path, test: GoldenTest) -> float:
    """How far an answer of the network lies from the recorded one at most, in units of the largest answer (1 where
    that is smaller). Raises BundleError beyond the tolerance, or for a file that holds no such test."""
    path = folder / layout.GOLDEN
    inputs, expected = _read(path, task, test)
    try:
        answers = _answers(network, inputs)
    except Exception as fault:  # a network may raise anything on inputs that somebody else made
        raise BundleError(f"{path}: the network cannot answer these inputs ({first_line(fault)})", "golden") from None
    if answers.shape != expected.shape:
        raise BundleError(
            f"{path}: answers of shape {list(expected.shape)} are recorded, the network gives {list(answers.shape)}",
            "golden",
        )
    scale = max(1.0, float(expected.abs().nan_to_num().max()))
    worst = float((answers - expected).abs().max()) / scale
    if not worst <= test.tolerance:
        raise BundleError(
            f"{path}: the model does not answer as it did where the bundle was made: answers differ by {worst:.2g} of "
            f"the largest (at most {test.tolerance:g}). Its preprocessing or its weights are others", "golden",
        )  # fmt: skip
    return worst


def _answers(network: Network, inputs: Inputs) -> Tensor:
    with torch.no_grad(), in_mode(network.module, train=False):
        return network(inputs).value.detach().cpu().float()


def _named(inputs: Inputs) -> dict[str, Tensor]:
    return {INPUT: inputs} if isinstance(inputs, Tensor) else {f"{INPUT}.{name}": inputs[name] for name in inputs}


def _read(path: Path, task: Task, test: GoldenTest) -> tuple[Inputs, Tensor]:
    """(inputs of the kind and number that are expected, the recorded answers)."""
    try:
        with open_regular(path, layout.MOST[layout.GOLDEN]) as file:
            arrays = read_arrays(file, str(path), layout.MOST[layout.GOLDEN])
    except (OSError, DataError) as fault:
        raise BundleError(f"{path}: {first_line(fault)}", "golden") from None
    like = input_kind(task).draw(1, torch.Generator().manual_seed(0))
    for name, one in _named(like).items():
        came = arrays.get(name)
        if came is None or came.shape != (test.count, *one.shape[1:]) or came.dtype != one.numpy().dtype:
            shown = "nothing" if came is None else f"{came.dtype} {list(came.shape)}"
            raise BundleError(f"{path}: '{name}' must be {one.numpy().dtype} {[test.count, *one.shape[1:]]}, and is "
                              f"{shown}", "golden")  # fmt: skip
    expected = arrays.get(ANSWERS)
    if expected is None or expected.dtype != np.float32 or len(expected) != test.count or set(arrays) != {
        *_named(like), ANSWERS
    }:  # fmt: skip
        raise BundleError(f"{path}: expected {test.count} answers in float32, and nothing beside them", "golden")
    tensors = {name: torch.from_numpy(arrays[name].copy()) for name in _named(like)}
    inputs: Inputs = tensors[INPUT] if isinstance(like, Tensor) else {name: tensors[f"{INPUT}.{name}"] for name in like}
    return inputs, torch.from_numpy(expected.copy())
