"""Whatever happens to a checkpoint's files or to the process that writes them: what is loaded is whole, or nothing.

Rows 4, 5, 7, 8 and 9 of the reliability table. `make test` runs a part, `make test-long` all.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from checkpointing import checkpoints, loaded_step, save, state_at

FILES = ("rank-0.safetensors", "rank-0.json", "MANIFEST.json")
linux = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")

# -- files that were changed afterwards


def mutations(flips: int) -> dict[str, Callable[[Path, Path], tuple[str, ...]]]:
    """Name -> what damages the newest checkpoint (the older is given too) and tells which files it touched."""
    found: dict[str, Callable[[Path, Path], tuple[str, ...]]] = {}

    def add(name: str, touched: tuple[str, ...], act: Callable[[Path, Path], object]) -> None:
        def mutate(new: Path, old: Path) -> tuple[str, ...]:
            act(new, old)
            return touched

        found[name] = mutate

    def truncate(name: str, share: str) -> Callable[[Path, Path], object]:
        def act(new: Path, _: Path) -> None:
            size = (new / name).stat().st_size
            keep = {"0": 0, "1": 1, "8": 8, "quarter": size // 4, "half": size // 2, "all but one": size - 1}[share]
            os.truncate(new / name, keep)

        return act

    def flip(name: str, seed: int) -> Callable[[Path, Path], object]:
        def act(new: Path, _: Path) -> None:
            data = bytearray((new / name).read_bytes())
            numbers = random.Random(f"{name}/{seed}")
            data[numbers.randrange(len(data))] ^= 1 << numbers.randrange(8)
            (new / name).write_bytes(data)

        return act

    def swap(one: str, two: str) -> Callable[[Path, Path], object]:
        def act(new: Path, _: Path) -> None:
            (new / one).rename(new / "x")
            (new / two).rename(new / one)
            (new / "x").rename(new / two)

        return act

    for name in FILES:
        for share in ("0", "1", "8", "quarter", "half", "all but one"):
            add(f"{name} cut to {share}", (name,), truncate(name, share))
        for seed in range(flips):
            add(f"{name} bit {seed}", (name,), flip(name, seed))
        add(f"{name} removed", (name,), lambda new, _, name=name: (new / name).unlink())
        add(f"{name} emptied into a folder", (name,), lambda new, _, name=name: _as_folder(new / name))
        add(f"{name} grown", (name,), lambda new, _, name=name: _append(new / name))
        if name != "MANIFEST.json":
            add(f"{name} of the older one", (name,), lambda new, old, name=name: shutil.copy(old / name, new / name))
    for one, two in (FILES[:2], FILES[1:], (FILES[0], FILES[2])):
        add(f"{one} and {two} swapped", (one, two), swap(one, two))
    # the older manifest describes other files: one of those it names is then wrong
    add("manifest of the older one", FILES, lambda new, old: shutil.copy(old / FILES[2], new / FILES[2]))
    return found


def _as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _append(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"\0")


def check_mutation(folder: Path, mutate: Callable[[Path, Path], tuple[str, ...]]) -> None:
    """The damage is seen, named, and the older checkpoint is loaded instead."""
    old, new = save(folder, 1), save(folder, 2)
    touched = mutate(new, old)
    path, faults = checkpoints(folder).newest()
    assert path == old
    assert len(faults) == 1
    assert new.name in faults[0]
    assert any(name in faults[0] for name in touched), faults  # a changed manifest is one of two suspects
    assert loaded_step(folder) == 1


@pytest.mark.parametrize("name", mutations(3))
def test_a_damaged_file_is_found_named_and_passed_over(tmp_path, name):
    check_mutation(tmp_path, mutations(3)[name])


@pytest.mark.long
@pytest.mark.parametrize("name", mutations(100))
def test_a_damaged_file_is_found_named_and_passed_over_long(tmp_path, name):
    check_mutation(tmp_path, mutations(100)[name])


def test_two_damaged_checkpoints_are_both_named_and_nothing_is_loaded(tmp_path):
    for step in (1, 2):
        os.truncate(save(tmp_path, step) / "rank-0.safetensors", 9)
    path, faults = checkpoints(tmp_path).newest()
    assert path is None
    assert [fault.split(":")[0] for fault in faults] == ["step-000000002", "step-000000001"]


def test_after_a_fall_back_the_run_saves_on(tmp_path):
    save(tmp_path, 1)
    (save(tmp_path, 2) / "rank-0.json").write_text("{}")
    save(tmp_path, 2)  # the same step reached again
    assert loaded_step(tmp_path) == 2
    save(tmp_path, 3)
    assert loaded_step(tmp_path) == 3


# -- faults while a checkpoint is written: every system call of the save is a numbered point


class _File:
    """A file open for writing whose writes are points; killed in a write, it has written half."""

    def __init__(self, file: Any, point: Callable[..., None]) -> None:
        self._file, self._point = file, point

    def write(self, data: Any) -> int:
        def half() -> None:
            self._file.write(bytes(data)[: len(data) // 2])
            self._file.flush()

        self._point("write", half)
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@contextlib.contextmanager
def points(at_point: Callable[[int, str], None], after: bool = False) -> Iterator[list[str]]:
    """Numbers the calls by which a save changes the disk; `at_point(number, name)` is called before each.

    after: also a point behind each call. Gives the list of names so far.
    """
    seen: list[str] = []

    def point(name: str, first: Callable[[], None] | None = None) -> None:
        seen.append(name)
        try:
            at_point(len(seen) - 1, name)
        except _Halfway:
            if first is not None:
                first()
            os._exit(9)

    def watched(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def do(*args: Any, **kwargs: Any) -> Any:
            point(name)
            result = call(*args, **kwargs)
            if after:
                point(f"after {name}")
            return result

        return do

    real_open = builtins.open

    def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if "x" not in mode:  # as everything is written: under a name that is not there yet
            return real_open(file, mode, *args, **kwargs)
        point("open")
        return _File(real_open(file, mode, *args, **kwargs), point)

    before = {name: getattr(os, name) for name in ("fsync", "replace", "mkdir", "unlink", "rmdir")}
    builtins.open = opened  # type: ignore[assignment]
    for name, call in before.items():
        setattr(os, name, watched(name, call))
    try:
        yield seen
    finally:
        builtins.open = real_open
        for name, call in before.items():
            setattr(os, name, call)


class _Halfway(BaseException):
    """The process ends at this point."""


SITUATIONS = {"first save": [], "second save": [1], "later save, which prunes": [1, 2], "the same step again": [1, 3]}


def prepare(folder: Path, situation: str) -> tuple[int | None, int]:
    """Puts there what was saved before; gives the step that stands and the one that is saved next."""
    steps = SITUATIONS[situation]
    template = folder.with_name(f"template-{situation}")
    if not template.exists():
        template.mkdir()
        for step in steps:
            save(template, step)
    shutil.copytree(template, folder)
    return (steps[-1] if steps else None), 3


def killed_at(folder: Path, step: int, number: int) -> bool:
    """Saves in a child process that ends, without any clean-up, at a point. False where it came through."""
    child = os.fork()
    if child == 0:

        def end(now: int, _: str) -> None:
            if now == number:
                raise _Halfway

        with points(end, after=True):
            save(folder, step)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def recovers(folder: Path, before: int | None, step: int) -> int | None:
    """What is loaded after a crash: the older or the new one, whole. Then start-up sweeps, and saving goes on."""
    found = loaded_step(folder)
    assert found in (before, step), f"{found} was loaded; {before} stood and {step} was being saved"
    checkpoints(folder).sweep()
    assert list((folder / "checkpoints").glob(".tmp-*")) == []
    assert loaded_step(folder) == found
    save(folder, step + 1)
    assert loaded_step(folder) == step + 1
    return found


@linux
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_process_may_end_at_any_point_of_a_save(tmp_path, situation):
    outcomes = []
    for number in range(500):
        folder = tmp_path / str(number)
        before, step = prepare(folder, situation)
        killed = killed_at(folder, step, number)
        if not killed:
            break
        outcomes.append(recovers(folder, before, step))
        shutil.rmtree(folder)
    assert not killed
    assert len(outcomes) >= 12
    if before != step:
        assert {before, step} == set(outcomes)  # early points lose the new one, late ones have it
        assert outcomes == sorted(outcomes, key=lambda found: found == step)  # and there is one moment in between


def kill_randomly(folder: Path, seed: int) -> None:
    """SIGKILL to a process that saves in a loop."""
    numbers = random.Random(seed)
    save(folder, 1)
    child = os.fork()
    if child == 0:
        step = 2
        while True:
            save(folder, step)
            step += 1
    time.sleep(numbers.uniform(0, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found = loaded_step(folder)
    assert found is not None
    checkpoints(folder).sweep()
    assert list((folder / "checkpoints").glob(".tmp-*")) == []
    latest = int((folder / "checkpoints" / "LATEST").read_text().split("-")[1])
    assert found - 1 <= latest <= found
    save(folder, found + 1)
    assert loaded_step(folder) == found + 1


@linux
@pytest.mark.parametrize("seed", range(20))
def test_kill_9_loses_no_checkpoint(tmp_path, seed):
    kill_randomly(tmp_path, seed)


@linux
@pytest.mark.long
@pytest.mark.parametrize("seed", range(20, 220))
def test_kill_9_loses_no_checkpoint_long(tmp_path, seed):
    kill_randomly(tmp_path, seed)


CODES = {"full": errno.ENOSPC, "denied": errno.EACCES, "broken": errno.EIO}


def failing_at(folder: Path, number: int, code: int, for_good: bool) -> list[str]:
    """Saves step 3 over 1 and 2 while the disk fails at a point, or from it on. Gives the points that were passed."""
    before, step = prepare(folder, "later save, which prunes")

    def fail(now: int, name: str) -> None:
        if now == number or (for_good and now > number):
            raise OSError(code, os.strerror(code), name)

    raised = None
    with points(fail) as seen:
        try:
            save(folder, step)
        except OSError as fault:
            raised = fault.errno
    failed = raised is not None
    assert raised in (None, code)
    found = loaded_step(folder)
    assert found in (before, step)
    assert found == step or failed  # a save that raised nothing is a save
    if not for_good and found == before:
        assert list((folder / "checkpoints").glob(".tmp-*")) == []  # what was begun is taken away
    recovers(folder, found, step)
    return seen


@pytest.mark.parametrize("code", CODES)
def test_a_failing_disk_leaves_what_stands(tmp_path, code):
    for number in (0, 2, 7, 9, 12):
        failing_at(tmp_path / str(number), number, CODES[code], for_good=number % 2 == 1)


@pytest.mark.long
@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("code", CODES)
def test_a_failing_disk_leaves_what_stands_long(tmp_path, code, for_good):
    for number in range(200):
        if len(failing_at(tmp_path / str(number), number, CODES[code], for_good)) <= number:
            break
    assert 12 <= number < 200


def test_a_folder_that_vanished_is_made_anew(tmp_path):
    save(tmp_path, 1)
    shutil.rmtree(tmp_path / "checkpoints")
    assert loaded_step(tmp_path) is None
    save(tmp_path, 2)
    assert loaded_step(tmp_path) == 2


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path):
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(OSError, match="checkpoints"):
        save(tmp_path, 1)


# -- one writes, another reads


def read_while_saving(folder: Path, reads: int) -> None:
    save(folder, 1)
    child = os.fork()
    if child == 0:
        step = 2
        while True:
            save(folder, step)
            step += 1
    try:
        done, last, vanished = 0, 1, 0
        patience = time.monotonic() + 60
        while done < reads or (last == 1 and time.monotonic() < patience):  # on a busy machine reads outrun the writer
            try:
                found = loaded_step(folder)
            except FileNotFoundError:  # two more saves took it away between finding and reading: gone, not partial
                found = None
            if found is None:
                vanished += 1
                assert vanished <= reads
                continue
            assert found >= last
            done, last = done + 1, found
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert last > 1


@linux
def test_a_reader_never_sees_a_partial_state(tmp_path):
    read_while_saving(tmp_path, 50)


@linux
@pytest.mark.long
def test_a_reader_never_sees_a_partial_state_long(tmp_path):
    read_while_saving(tmp_path, 500)


def test_the_helper_itself_would_notice_a_mixture(tmp_path):
    """Without this the tests above could pass by looking at nothing."""
    held = checkpoints(tmp_path)
    held.save(2, {**state_at(2), "counters": state_at(1)["counters"]}, {"elapsed": 2.0})
    with pytest.raises(AssertionError, match="mixture"):
        loaded_step(tmp_path)
