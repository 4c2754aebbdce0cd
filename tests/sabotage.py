"""What can go wrong, on purpose. Functions here change sansdata in the process that calls them."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sansdata import runtime
from sansdata.contracts import Batch, Losses
from sansdata.engine import finish, loop, run
from sansdata.engine.checkpoint import Checkpoints
from sansdata.engine.session import Session
from sansdata.figures import Finding
from sansdata.methods import index
from sansdata.methods.noise import Noise
from sansdata.runtime import Runtime
from sansdata.teachers.base import Teacher


def stop_after_move(number: int, sent: int = signal.SIGTERM) -> None:
    """The process sends itself a signal in the move after which `number` are made."""
    wrap(Session, "move", lambda self, result: signal.raise_signal(sent) if self.moves == number else None)


def slow_moves(seconds: float) -> None:
    wrap(Session, "move", lambda self, result: time.sleep(seconds))


def mark_moves(file: str) -> None:
    """The number of moves made, in a file."""
    wrap(Session, "move", lambda self, result: Path(file).write_text(str(self.moves)))


def dear_moves(queries: int) -> None:
    """Each move of the run, not of its rehearsal, asks the teacher so many times more."""
    make = loop.timed_move

    def dear(session: Session) -> Any:
        made = make(session)
        session.context.counters.add("teacher_forwards", queries)
        return made

    loop.timed_move = dear


def pause_in_save(marker: str, seconds: float) -> None:
    """Between the writing of a checkpoint's files and its name, once: touches the marker and sleeps."""
    commit = Checkpoints._commit

    def slow(self: Checkpoints, work: Path, final: Path) -> None:
        if not os.path.exists(marker):
            Path(marker).touch()
            time.sleep(seconds)
        commit(self, work, final)

    Checkpoints._commit = slow


def wrap(owner: type, name: str, after: Callable[[Any, Any], Any]) -> None:
    """Calls `after(self, result)` when the method returns."""
    original = getattr(owner, name)

    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        after(self, result)
        return result

    setattr(owner, name, wrapped)


def pause_in_preparing(marker: str) -> None:
    """The teacher is never read."""
    run.prepare = _paused(marker)


def pause_in_scoring(marker: str) -> None:
    """All steps are made; the probes never are."""
    finish.make_probes = _paused(marker)


def _paused(marker: str) -> Callable[..., Any]:
    def wait(*_: Any, **__: Any) -> None:
        Path(marker).touch()
        time.sleep(600)

    return wait


def endless_move(number: int, marker: str) -> None:
    """The move after which `number` are made asks the student again and again, a quarter of a second each time."""
    move = Session.move

    def watched(self: Session) -> Any:
        if self.moves == number - 1 and self.last_batch is not None:
            Path(marker).touch()
            for _ in range(400):
                with torch.no_grad():
                    self.context.student_outputs(self.last_batch.inputs)
                time.sleep(0.25)
        return move(self)

    Session.move = watched


def impatient(seconds: float) -> None:
    """With processes that do not answer."""
    runtime.PATIENCE = runtime.LEAVING = seconds


def end_in_a_pass_of_the_second(number: int) -> None:
    """The second process ends where it would ask the teacher for the `number`th time."""
    ask, asked = Teacher.__call__, []

    def last(self: Teacher, *args: Any, **kwargs: Any) -> Any:
        asked.append(1)
        if self.runtime.rank == 1 and len(asked) == number:
            os._exit(9)
        return ask(self, *args, **kwargs)

    Teacher.__call__ = last


held: list[Any] = []


def no_shared_memory_of_deepspeed() -> None:
    """Its kernel for sums on one processor ends the process of release 0.19.8 under torch 2.13. And what transformers
    imports is held as long as the process lives."""
    held.append(importlib.import_module("conftest").torchvision_operators())
    backend = importlib.import_module("deepspeed.comm.torch").TorchBackend

    def summed(self: Any, tensor: Tensor, op: Any, group: Any = None) -> Any:
        return torch.distributed.all_reduce(tensor, op=self._reduce_op(op), group=group)

    backend.inference_all_reduce = summed


def memory_refused(number: int) -> None:
    """By torch, in the move after which `number` are made."""

    def ask(self: Session, _: Any) -> None:
        if self.moves == number:
            torch.empty(2**52)

    wrap(Session, "move", ask)


def disk_full(place: str, name: str) -> None:
    """Whenever `name` of the module sansdata.`place` is called."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    owner: Any = importlib.import_module(f"sansdata.{place}")
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    setattr(owner, last, refuse)


def terminal_closed() -> None:
    """Nobody reads what is printed: every write fails."""
    reader, writer = os.pipe()
    os.close(reader)
    for number in (1, 2):
        os.dup2(writer, number)


def no_room_to_print() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def streams_closed() -> None:
    """As after `>&- 2>&-`."""
    for number in (0, 1, 2):
        os.close(number)
    sys.stdin = sys.stdout = sys.stderr = None  # type: ignore[assignment]


def in_no_folder() -> None:
    folder = Path("gone")
    folder.mkdir()
    os.chdir(folder)
    Path("../gone").rmdir()


def broken(place: str, name: str) -> None:
    """A mistake of ours."""
    setattr(importlib.import_module(f"sansdata.{place}"), name, lambda *_, **__: 1 // 0)


# -- numbers that are none


def nan_in_term(term: str, from_move: int) -> None:
    """`kind/name` as metrics.jsonl calls it; the term is nan from that move on."""
    kind, name = term.split("/")
    add, state = Losses.add, {"session": None, "kind": ""}
    move = Session.move

    def watched(self: Session) -> Any:
        state["session"], state["kind"] = self, self.method.next_move()
        return move(self)

    def poisoned(self: Losses, term: str, weight: float, value: Callable[[], Tensor]) -> None:
        session = state["session"]
        hit = session is not None and session.moves >= from_move and state["kind"] == kind and term == name
        add(self, term, weight, (lambda: value() * float("nan")) if hit else value)

    Session.move, Losses.add = watched, poisoned


def nan_in_gradient(from_step: int) -> None:
    """In the student's gradient, at the step after `from_step` were made."""
    step = Runtime.step
    session: list[Session] = []
    init = Session.__init__

    def noted(self: Session, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        session.append(self)

    def poisoned(self: Runtime, optimizer: torch.optim.Optimizer, clip: float | None = None) -> None:
        owner = session[-1]
        if optimizer is owner.optimizer and owner.context.progress.steps >= from_step:
            for group in optimizer.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        p.grad.fill_(float("nan"))
        step(self, optimizer, clip)

    Session.__init__, Runtime.step = noted, poisoned


def nan_in_teacher(from_step: int) -> None:
    """In what the teacher answers, once so many student steps were made."""

    def spoil(outputs: Any) -> None:
        outputs.value = outputs.value * float("nan")

    _answer(from_step, spoil)


def teacher_raises(from_step: int) -> None:
    def fail(outputs: Any) -> None:
        raise RuntimeError("the teacher's own code broke")

    _answer(from_step, fail)


def teacher_is_slow(seconds: float, from_step: int = 0) -> None:
    _answer(from_step, lambda outputs: time.sleep(seconds))


def teacher_changes_itself(from_step: int) -> None:
    def change(teacher: Teacher) -> None:
        next(teacher.module.buffers()).data.add_(1)  # .data: unseen by autograd

    _answer(from_step, lambda outputs: None, change)


def _answer(from_step: int, then: Callable[[Any], Any], with_teacher: Callable[[Teacher], None] | None = None) -> None:
    steps = [0]
    wrap(Session, "_transfer", lambda self, result: steps.__setitem__(0, self.context.progress.steps))
    call = Teacher.__call__

    def answered(self: Teacher, *args: Any, **kwargs: Any) -> Any:
        outputs = call(self, *args, **kwargs)
        if steps[0] >= from_step:
            then(outputs)
            if with_teacher is not None:
                with_teacher(self)
        return outputs

    Teacher.__call__ = answered


def nan_in_noise(from_move: int) -> None:
    """In everything drawn for a move from that one on."""
    move, moves = Session.move, [0]

    def watched(self: Session) -> Any:
        moves[0] = self.moves
        return move(self)

    def poisoned(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def drawn(*args: Any, **kwargs: Any) -> Tensor:
            values = draw(*args, **kwargs)
            return values * float("nan") if moves[0] >= from_move else values

        return drawn

    Session.move = watched
    torch.randn, torch.rand = poisoned(torch.randn), poisoned(torch.rand)


# -- methods from elsewhere


class ReadsData(Noise):
    """Opens a file that was not declared, once, at the third batch. `path` is set by `third_party`."""

    path = ""
    swallow = False
    drawn = 0

    def transfer_batch(self) -> Batch:
        self.drawn += 1
        if self.drawn == 3:
            try:
                with open(self.path, "rb") as file:
                    file.read()
            except Exception:
                if not self.swallow:
                    raise
        return super().transfer_batch()


class Swallows(ReadsData):
    """The same, and hides that it was caught."""

    swallow = True


class Scans(ReadsData):
    """Reads through a reader that Python's own hook cannot see."""

    def transfer_batch(self) -> Batch:
        from safetensors import safe_open

        self.drawn += 1
        if self.drawn == 3:
            with safe_open(self.path, "pt") as file:
                next(iter(file.keys()))
        return Noise.transfer_batch(self)


class LeavesOpen(ReadsData):
    """Reads through the C library, of which no event tells, and leaves the file open."""

    def transfer_batch(self) -> Batch:
        self.drawn += 1
        if self.drawn == 3:
            libc = ctypes.CDLL(None)
            libc.read(libc.open(self.path.encode(), os.O_RDONLY), ctypes.create_string_buffer(100), 100)
        return Noise.transfer_batch(self)


class ReadsInTheEnd(Noise):
    """Reads after the last step, while the samples are described, and hides that it was caught."""

    path = ""

    def findings(self) -> list[Finding]:
        with contextlib.suppress(Exception), open(self.path, "rb") as file:
            file.read()
        return super().findings()


def third_party(name: str, cls: str, path: str = "") -> None:
    """Registers what this module has by the name `cls`, which need not be there, as a method of another package."""
    if path:
        globals()[cls].path = path

    def found(group: str) -> tuple[EntryPoint, ...]:
        return (EntryPoint(name, f"sabotage:{cls}", group),)

    index.entry_points = found  # type: ignore[assignment]


def missing(package: str) -> None:
    """As if it were not installed."""
    find = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *more: None if name == package else find(name, *more)


def no_report() -> None:
    """Leaves the report out, which takes longer than a tiny run and has tests of its own."""
    from sansdata import api

    api.write_report = lambda directory: directory / "report.html"  # type: ignore[assignment]
