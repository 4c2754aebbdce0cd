"""A run directory is untrusted input: whatever lies in it, each verb gives its result with a section short, or one
UserError; it ends soon, within bounded memory, runs no code of the files and changes nothing outside the directory."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import random
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hostile_runs
import pytest
from tiny import Tiny

import sansdata
from sansdata.engine import finish
from sansdata.engine import run as engine_run
from sansdata.errors import UserError
from sansdata.report import plots
from sansdata.settings import RunSettings

SECONDS, ROOM = 30, 2 * 2**30
"""What one verb may take, on a machine that is busy, and how much more memory."""
LONG = pytest.mark.long
CASES = hostile_runs.hostile()
DRAWN = [name for name in CASES if name.endswith((" other types", " extreme numbers", "back and forth"))]
"""Those whose numbers come as far as the plots; of the others the plots are those of the real run."""


class Late(BaseException):
    """No OSError, as TimeoutError is one: what reads files takes those for a file that cannot be read."""


class World:
    """One real run that was stopped before its seal, and each verb on a copy of it, in this process."""

    def __init__(self, tiny: Tiny, folder: Path) -> None:
        engine = {"snapshots": 2, "sample_grids": 1, "log_every": 4}
        self.settings: RunSettings = tiny.settings("noise", {"transfer": {"batch": 8}}, engine=engine)
        self.data, self.original = str(tiny.data), folder / "original"
        self.prepared = engine_run.prepare(self.settings)
        self.student = {name: value.clone() for name, value in self.prepared.student.module.state_dict().items()}
        self.probes = finish.make_probes(self.prepared.teacher, self.prepared.runtime)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine_run, "prepare", lambda *_: self.prepared)
            engine_run.run(self.settings, self.original, command="sansdata distill")
        sansdata.evaluate(self.original, self.data, teacher=self.prepared.teacher)
        hostile_runs.changed("run.json", lambda tree: tree | {"status": "interrupted"})(self.original, folder)
        sansdata.report(self.original)

    def resume(self, run: Path) -> None:
        self.prepared.student.module.load_state_dict(self.student)
        engine_run.run(self.settings, run, resume=True, command="sansdata distill")

    @property
    def verbs(self) -> dict[str, Callable[[Path], Any]]:
        """`resume` comes last: it may write."""
        return {
            "report": sansdata.report,
            "evaluate": lambda run: sansdata.evaluate(run, self.data),
            "export": lambda run: sansdata.export(run, "pt2"),
            "resume": self.resume,
        }


@pytest.fixture(scope="module")
def world(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tiny, tmp_path_factory.mktemp("hostile"))


@pytest.fixture(autouse=True)
def quick(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not read the run directory is done once: the teacher is prepared, and no exporter is asked."""
    monkeypatch.setattr(engine_run, "prepare", lambda *_: world.prepared)
    monkeypatch.setattr(finish, "make_probes", lambda *_: world.probes)
    monkeypatch.setattr("sansdata.api.export._plain", lambda *_: None)
    monkeypatch.setattr("sansdata.api.export._record", lambda *_: None)


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Raises Late after SECONDS, MemoryError beyond ROOM more than now."""

    def late(*_: object) -> None:
        raise Late(f"no end after {SECONDS} s")

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before, handler = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, before[1]))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def outcomes(world: World, run: Path) -> dict[str, str]:
    """verb -> 'done', or the UserError; anything else that is raised is a fault."""
    results = {}
    for verb, act in world.verbs.items():
        with bounded():
            try:
                act(run)
                results[verb] = "done"
            except UserError as fault:
                results[verb] = str(fault)
    assert all(0 < len(result) < 4_000 for result in results.values())
    return results


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Files named as those of a run, which must stay as they are, and a module that must not be imported."""
    folder = tmp_path / "canary"
    folder.mkdir()
    for name in ("file", "step-000000001.npz", "step-000000099.npz", "step-000000099.safetensors", ".tmp-1-ab-x"):
        (folder / name).write_bytes(b"canary")
    code = tmp_path / "code"
    code.mkdir()
    (code / "payload.py").write_text("def make(*_, **__): ...\n")
    monkeypatch.syspath_prepend(str(code))
    before, passwords = state(folder), Path("/etc/passwd").read_bytes()
    yield folder
    assert state(folder) == before
    assert Path("/etc/passwd").read_bytes() == passwords
    imported = sys.modules.pop("payload", None)
    assert imported is None, "code that a file names was imported"


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content, and when it was changed last."""
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}


def everything(run: Path) -> dict[str, Any]:
    """Each entry of a run directory: what it is, and what a file of moderate size holds."""
    found: dict[str, Any] = {}
    for path in sorted(run.rglob("*")):
        status = path.lstat()
        plain = path.is_file() and not path.is_symlink() and status.st_size < 10**8
        found[str(path.relative_to(run))] = (status.st_mode, status.st_size, path.read_bytes() if plain else None)
    return found


@pytest.mark.parametrize("name", [pytest.param(n, marks=LONG if i % 2 else ()) for i, n in enumerate(CASES)])
def test_a_prepared_directory_costs_a_section_or_one_error(
    name: str, world: World, canary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if name not in DRAWN:
        monkeypatch.setattr(plots, "svg", lambda *_: "")
    run = Path(shutil.copytree(world.original, tmp_path / "run"))
    CASES[name](run, canary)
    results = outcomes(world, run)
    page = run / "report.html"
    if page.is_file() and not page.is_symlink():
        assert "root:" not in page.read_text()
    print({verb: result[:200] for verb, result in results.items()})  # shown where the canary is not as it was


def test_a_directory_that_nobody_prepared_does_all_four(world: World, canary: Path, tmp_path: Path):
    """Without this the tests above could pass by refusing everything."""
    run = Path(shutil.copytree(world.original, tmp_path / "run"))
    assert set(outcomes(world, run).values()) == {"done"}
    assert json.loads((run / "run.json").read_text())["status"] == "done"


def test_the_bounds_are_felt():
    """The same of the watch on time and memory; mapped anew, since glibc may hold as much that was freed before."""
    with pytest.raises(OSError, match="allocate memory"), bounded():
        mmap.mmap(-1, ROOM + 2**20)


@pytest.mark.parametrize(
    "name",
    [
        "lock is a link to the canary", "events.log is a hard link to the canary", "metrics.jsonl is a pipe",
        "samples is a link to the canary", "run.json is deep", "config.yaml names code", "report.html is a folder",
        "a checkpoint without tensors", "a checkpoint with facts.plan = []", "run.json is of another kind of run",
    ],
)  # fmt: skip
def test_a_refused_resume_changes_no_byte(name: str, world: World, canary: Path, tmp_path: Path):
    run = Path(shutil.copytree(world.original, tmp_path / "run"))
    CASES[name](run, canary)
    before = everything(run)
    with bounded(), pytest.raises(UserError):
        world.resume(run)
    assert everything(run) == before


def test_an_exporter_writes_through_no_link(world: World, canary: Path, tmp_path: Path, monkeypatch: Any):
    monkeypatch.undo()  # the real one
    run = Path(shutil.copytree(world.original, tmp_path / "run"))
    (run / "student.pt2").symlink_to(canary / "file")
    (run / f".student.pt2.{os.getpid()}.pt2").symlink_to(canary / "file")
    (run / f".report-{os.getpid()}.html").symlink_to(canary / "file")
    sansdata.export(run, "pt2")
    sansdata.report(run)
    assert (run / "student.pt2").stat().st_size > 1_000
    assert not (run / "student.pt2").is_symlink()


@pytest.mark.long
@pytest.mark.parametrize("place", ["sample", "images.npz", "student.safetensors", "snapshot", "run.json",
                                   "evaluation.json", "summary.json", "rank-0.json"])  # fmt: skip
def test_one_flipped_bit_anywhere_long(place: str, world: World, canary: Path, tmp_path: Path):
    """150 positions of each file, over its whole length."""
    file, numbers = hostile_runs.inside(place), random.Random(place)
    for _ in range(150):
        run = Path(shutil.copytree(world.original, tmp_path / "run"))
        data = bytearray(file(run).read_bytes())
        data[numbers.randrange(len(data))] ^= 1 << numbers.randrange(8)
        file(run).write_bytes(data)
        if place == "rank-0.json":
            hostile_runs.vouch(hostile_runs.checkpoint(run))
        outcomes(world, run)
        shutil.rmtree(run)
