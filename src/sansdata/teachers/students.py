"""From what a user writes to a student: the spec of a network of its own, or of one that is made of its teacher."""

from __future__ import annotations

import torch
from torch import nn

from ..compress.shrink import shrink
from ..contracts import Access
from ..errors import StudentError, first_line
from ..kinds.index import input_kind
from ..models.copying import without_shape
from ..models.modes import in_mode
from ..models.recogniser import Recogniser, with_fewer_layers
from ..network import Network
from ..tasks import Task
from .autoencoder.students import LATENTS, before_decoder
from .base import Teacher
from .denoiser import LORA, LORA_OF, ONE_STEP, adapted, in_one_step
from .specs import Model, resolve
from .whisper import architecture_of as recogniser_architecture


def load_student(spec: str | nn.Module, teacher: Teacher, task: Task) -> Model:
    """The student that `spec` names, or a module as it is. Random weights come from torch's global generator.

    It has the preprocessing of its own file, else the teacher's where that can be had without the teacher, else the
    task's. Raises StudentError, or TeacherError where a file cannot be read.
    """
    taught = task
    if teacher.network.preprocessor.passes_on:
        taught = task.seen_through(teacher.task.own_preprocessing)
    elif task.own_preprocessing == teacher.task.own_preprocessing:  # the job was read off the teacher
        taught = task.seen_through({})
    if isinstance(spec, nn.Module):
        return Model(materialised(spec, taught), None, "a module in Python", None, taught)
    if spec == ONE_STEP:
        module, architecture = in_one_step(teacher.module, teacher.architecture)
        return Model(module, architecture, f"{spec} of {teacher.source}", None, taught)
    if spec.startswith(LATENTS):
        module, architecture = before_decoder(spec, teacher)
        return Model(module, architecture, f"{spec} of {teacher.source}", None, taught)
    if spec.startswith((LORA, LORA_OF)):
        module, architecture = adapted(spec, teacher.module, teacher.architecture)
        return Model(module, architecture, f"{spec} of {teacher.source}", None, taught)
    if spec.startswith("layers:"):
        return _fewer_layers(spec, teacher, taught)
    if spec.startswith("shrink:"):
        ratio = _ratio(spec)
        if teacher.most < Access.WEIGHTS:
            raise StudentError(f"'{spec}': the teacher is no network that could be shrunk. Name a student (--student).")
        module, architecture = shrink(teacher.module, ratio, taught, teacher.architecture)
        return Model(module, architecture, f"{spec} of {teacher.source}", None, taught)
    model = resolve(spec, taught, pretrained=False)
    model.module.requires_grad_(True).train()
    return model


def _fewer_layers(spec: str, teacher: Teacher, task: Task) -> Model:
    """'layers:D', or 'layers:E-D' with fewer layers of the encoder too: begun from layers of the teacher."""
    numbers = spec.removeprefix("layers:").split("-")
    if teacher.most < Access.WEIGHTS or not isinstance(teacher.module, Recogniser):
        raise StudentError(f"'{spec[:40]}': the teacher is no recogniser of encoder and decoder. Name a student.")
    if not 1 <= len(numbers) <= 2 or not all(number.isdecimal() for number in numbers):
        raise StudentError(f"'{spec[:40]}': give layers:2 for two layers of the decoder, or layers:4-2")
    layers, decoder_layers = [None, *map(int, numbers)][-2:]
    try:
        module = with_fewer_layers(teacher.module, int(decoder_layers or 0), layers)
    except ValueError as fault:
        raise StudentError(f"'{spec[:40]}': {fault}") from None
    note = "the student starts from layers of the teacher, evenly spread; the last is the last"
    return Model(module, recogniser_architecture(module), f"{spec} of {teacher.source}", None, task, (note,))


def materialised(module: nn.Module, task: Task) -> nn.Module:
    """`module`, in which a lazy layer takes its shape from the first inputs that it sees. Raises StudentError."""
    if name := without_shape(module):
        inputs = input_kind(task).draw(2, torch.Generator().manual_seed(0))
        try:
            with torch.no_grad(), in_mode(module, train=False):
                Network.of(module, task)(inputs)
        except Exception as fault:
            raise StudentError(
                f"the student's '{name}' has no shape yet (a lazy layer), and a pass on "
                f"{input_kind(task).describe()} does not give it one ({first_line(fault)})"
            ) from None
    return module


def _ratio(spec: str) -> float:
    text = spec.removeprefix("shrink:")
    try:
        ratio = float(text)
    except ValueError:
        ratio = 0.0
    if not 0 < ratio <= 1:
        raise StudentError(
            f"'{spec[:100]}': shrink needs a ratio above 0 and at most 1, for instance shrink:0.5; got '{text[:40]}'"
        )
    return ratio
