"""Inputs that enter a network of texts behind its layer of words: what that layer gives is replaced, all else runs.

Such inputs travel with the ids that come nearest to them, as `tokens` and `mask`, so that they can be stored, shown and
answered like any text, and beside these with one of
- `vectors` (B, L, D): in the place of the words' own, for networks that share one table of words;
- `choices` (B, L, k) int64 and `shares` (B, L, k): a mean of k words at each place, of the words of whichever network
  it enters: teacher and student may differ in the width of their tables, not in the vocabulary.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..columns import Inputs
from ..errors import TeacherError

SPACE = "words"
"""What `Batch.space` calls the place."""


def enters_behind(inputs: Inputs) -> bool:
    """Whether these inputs carry more than ids."""
    return not isinstance(inputs, Tensor) and ("vectors" in inputs or "choices" in inputs)


@contextlib.contextmanager
def entering(module: nn.Module, inputs: Inputs) -> Iterator[None]:
    """Meanwhile the layer of `module` that reads the ids of `inputs` gives what the inputs say.

    Raises TeacherError where no such layer ran, or where its vectors are of another width.
    """
    assert not isinstance(inputs, Tensor)
    entered: list[nn.Module] = []

    def replace(layer: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if entered or not _reads(given, inputs["tokens"]):
            return None
        entered.append(layer)
        values = inputs["vectors"] if "vectors" in inputs else mixed(layer, inputs["choices"], inputs["shares"])
        if values.shape != output.shape:
            raise TeacherError(
                f"vectors of words of {list(values.shape)} cannot enter a network whose own are {list(output.shape)}"
            )
        return values

    layers = [part for part in module.get_submodule("").modules() if isinstance(part, nn.Embedding)]
    handles = [layer.register_forward_hook(replace) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if not entered:
        raise TeacherError("no layer of words (nn.Embedding) of the network reads the ids of the task")


def _reads(inputs: tuple[Any, ...], tokens: Tensor) -> bool:
    ids = next(iter(inputs), None)
    return isinstance(ids, Tensor) and (ids is tokens or (ids.shape == tokens.shape and torch.equal(ids, tokens)))


def mixed(layer: nn.Module, choices: Tensor, shares: Tensor) -> Tensor:
    """(B, L, D): the mean of the words `choices` (B, L, k) by `shares` (B, L, k), as the layer has them now."""
    return (layer.forward(choices.flatten(1)).view(*choices.shape, -1) * shares[..., None]).sum(2)


def layer_of_words(module: nn.Module, prepared: Inputs, tokens: Tensor) -> nn.Embedding | None:
    """The layer that reads the ids `tokens` (B, L) in a pass on `prepared`; None where there is none."""
    layers: list[nn.Embedding] = []

    def note(layer: nn.Embedding, inputs: tuple[Any, ...], _: Tensor) -> None:
        if _reads(inputs, tokens):
            layers.append(layer)

    handles = [part.register_forward_hook(note) for part in module.modules() if isinstance(part, nn.Embedding)]
    try:
        with torch.no_grad():
            module(**prepared)  # type: ignore[arg-type]
    finally:
        for handle in handles:
            handle.remove()
    return layers[0] if layers else None
