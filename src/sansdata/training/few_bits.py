"""A student at few bits while it is trained, for any method, update and defence: its weights by a view of them, its
activations by a change of the network itself, before a method sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from .. import columns
from ..columns import Inputs
from ..compress.few_bits import view, views
from ..compress.quant_relu import AtFewBits, quantize_relus
from ..kinds.index import input_kind
from ..method import Context
from ..models.device import device_of
from ..network import Network
from ..settings import BitsSettings
from ..tasks import Task
from ..teachers.specs import Model


class FewBitStudent:
    """The weights of the student's own network, in place; what a method put beside it stays in float."""

    def __init__(self, settings: BitsSettings, context: Context) -> None:
        """Raises StudentError where no layer of the student can be at few bits."""
        if settings.weights is not None:
            prepared = _probe(context.network, context.task)
            view(context.network.module, prepared, settings.weights, settings.scale, settings.last)


def at_few_bits(student: Model, settings: BitsSettings) -> Model:
    """The student with its activations at the bits of the settings, in place; the weights come with a session. Raises
    StudentError where activations cannot be."""
    if settings.activations is None:
        return student
    bits, known = settings.activations, student.architecture
    places = quantize_relus(student.module, _probe(student.network, student.task), bits)
    if known is None or known.get("kind") == "quant-relu":
        return student
    return replace(student, architecture={"kind": "quant-relu", "bits": bits, "places": places, "of": known})


def described(student: nn.Module) -> dict[str, Any]:
    """What is at few bits, for a run's manifest: weights {path of a layer: bits}, and bits of the activations with the
    number of places, or None and 0."""
    stairs = [part for part in student.modules() if isinstance(part, AtFewBits)]
    return {
        "weights": {path: seen.bits for path, seen, _ in views(student)},
        "activations": stairs[0].activation_bits if stairs else None,
        "places": sum(len(part.resolutions) for part in stairs),
    }


def _probe(network: Network, task: Task) -> Inputs:
    """Two inputs as the network's module takes them, on its device."""
    inputs = input_kind(task).draw(2, torch.Generator().manual_seed(0))
    return network.preprocessor(columns.to(inputs, device_of(network.module)))
