"""A teacher whose weights are shared out: among the processes of a run, or over the devices that one process sees."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .. import columns
from ..contracts import Access
from ..errors import ConfigError, SansdataError, TeacherError
from ..kinds.index import input_kind
from ..models.device import device_of
from ..models.modes import fixed
from ..models.sharded import by_deepspeed, held, over_devices, over_processes
from ..runtime import Runtime
from ..settings import Shards
from .base import Teacher, fingerprint
from .writers.base import GENERATES
from .writers.causal import Causal
from .writers.journalled import Journalled

TRIED = 4
"""Inputs that a teacher is asked about before and after."""
CLOSE = 1e-2
"""Of its largest answer: what another device, or sums in another order, may change."""


@dataclass(frozen=True)
class Shares:
    """What is known of a whole teacher, of which this process holds a part. fingerprint, parameters: of the whole.
    held: a fingerprint of the part."""

    fingerprint: str
    parameters: int
    held: str


def share_out(teacher: Teacher, shards: Shards, runtime: Runtime) -> list[str]:
    """Lays the teacher and its helpers out as `shards` says; gives what there is to say of it.

    Raises ConfigError where this run has not the processes for it, TeacherError for a teacher without weights here or
    one that answers otherwise afterwards, MissingLibraryError.
    """
    if shards in ("processes", "deepspeed") and runtime.world == 1:
        raise ConfigError(
            f"teacher_shards={shards} gives each process of a run a share of the teacher, and this is one process: "
            "start several with torchrun --nproc-per-node N -m sansdata distill ..., or take teacher_shards=devices"
        )
    if shards == "devices" and runtime.world > 1:
        raise ConfigError(
            f"teacher_shards=devices lays the teacher over all devices, and each of {runtime.world} processes would: "
            "start one, or take teacher_shards=processes"
        )
    return [_share_out(member, shards, runtime) for member in teacher.members]


def _share_out(teacher: Teacher, shards: Shards, runtime: Runtime) -> str:
    writer = teacher.capabilities.get(GENERATES)
    if isinstance(writer, Journalled):
        writer = writer.writer
    if isinstance(writer, Causal):
        if shards != "devices":
            raise TeacherError(
                f"'{teacher.source}' writes, in each process in its own time: teacher_shards={shards} is for teachers "
                "that all processes ask at once. Take teacher_shards=devices"
            )
        writer.model = over_devices(writer.model, runtime.device)
        return f"'{teacher.source}' is laid over devices"
    if not any(True for _ in teacher.module.parameters()):
        raise TeacherError(f"teacher_shards={shards}: '{teacher.source}' has no weights here that could be shared out")
    whole = fingerprint(teacher.module), teacher.parameters  # its own, without its helpers'
    before = _answers(teacher, runtime)
    most = Access.WEIGHTS
    if shards == "processes":
        module = over_processes(teacher.module, runtime.device, _read_by_methods(teacher))
    elif shards == "devices":
        module = over_devices(teacher.module, runtime.device)
    else:
        module, most = by_deepspeed(teacher.module), Access.SCORES
    teacher.share_out(module, Shares(*whole, fingerprint(module)), most)
    off = float((_answers(teacher, runtime) - before).abs().max() / before.abs().max().clamp_min(1e-12))
    if not off <= CLOSE:
        raise TeacherError(
            f"teacher_shards={shards}: '{teacher.source}' answers otherwise when it is shared out (by {off:.0%} of its "
            "largest answer): parts of it may be called in another way than by their forward"
        )
    here = sum(held(parameter).numel() for parameter in module.parameters())
    return f"'{teacher.source}' is shared out: {here:,} of its {whole[1]:,} parameters are in this process"


def _read_by_methods(teacher: Teacher) -> Sequence[nn.Module]:
    """The layer of the answers, whose weights several methods look at."""
    if teacher.access < Access.WEIGHTS or teacher.inside.head is None:
        return ()
    return (teacher.module.get_submodule(teacher.inside.head),)


def _answers(teacher: Teacher, runtime: Runtime) -> Tensor:
    """The same questions in every process, and each answer where it was asked."""
    drawn = input_kind(teacher.task).draw(TRIED, torch.Generator().manual_seed(0))
    at = device_of(teacher.module) if teacher.shares is None else runtime.device
    with torch.no_grad(), fixed(teacher.module):
        return teacher.network(columns.to(drawn, at)).value.float().cpu()


@contextlib.contextmanager
def asked_by_the_first(teacher: Teacher, runtime: Runtime) -> Iterator[bool]:
    """Whether this is the first process, which alone has something to do here and may ask the teacher. Processes that
    hold a share of the teacher answer meanwhile, until the first has done; the others go on at once.
    """
    first = runtime.rank == 0
    if not teacher.asked_jointly:
        yield first
        return
    if not first:
        _answer(teacher, runtime)
        yield False
        return
    hooks = [
        member.module.register_forward_pre_hook(_announce(number, runtime), prepend=True, with_kwargs=True)
        for number, member in enumerate(teacher.members)
    ]
    try:
        yield True
    finally:
        for hook in hooks:
            hook.remove()
        runtime.from_rank_0(None)


def _announce(number: int, runtime: Runtime) -> Any:
    def announce(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        if torch.is_grad_enabled():
            raise SansdataError("only answers of a teacher that is shared out can be had after the last step")
        runtime.from_rank_0([number, len(next(iter((*inputs, *named.values()))))])

    return announce


def _answer(teacher: Teacher, runtime: Runtime) -> None:
    """Takes part in what the first process asks; the questions themselves are its own business."""
    while True:
        asked: Any = runtime.from_rank_0(None, patient=True)
        if asked is None:
            return
        number, count = asked
        member = teacher.members[number]
        drawn = input_kind(member.task).draw(count, torch.Generator().manual_seed(0))
        with torch.no_grad(), fixed(member.module):
            runtime.forward(member.network, runtime.place(drawn))
