"""What a machine does to a run: no memory, no room, no terminal, packages that are missing. One sentence, no traceback,
and what could be saved is."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from cases import CASES
from processes import distil, nursery
from tiny import Tiny, differing, student_of

from sansdata.engine.checkpoint import find_fault
from sansdata.engine.run import run
from sansdata.errors import UserError

QUIET = ("no_report",)
EAGER = "engine.checkpoint_seconds=1e-6"


@pytest.fixture(scope="module")
def config(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.config(tiny.settings("dafl", CASES["dafl"].options), folder=tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="module")
def whole(config: Path) -> Path:
    assert distil(config, config.parent / "whole", before=[QUIET]).code == 0
    return config.parent / "whole"


def assert_continues(config: Path, out: Path, whole: Path) -> None:
    assert all(find_fault(path) is None for path in (out / "checkpoints").glob("step-*"))
    job = distil(config, out, "--resume", before=[QUIET])
    assert job.code == 0, job.output
    assert differing(student_of(out), student_of(whole)) == []


def test_out_of_memory_names_what_to_lower(config: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    job = distil(config, out, EAGER, before=[QUIET, ("memory_refused", 6)])
    assert job.code == 1
    assert "Traceback" not in job.output
    for words in ("out of memory", "GB at most", "transfer.batch=", "--resume"):
        assert words in job.output
    assert_continues(config, out, whole)


@pytest.mark.parametrize("name", ["write_model", "selection.score"])
def test_no_room_for_the_student(name: str, config: Path, whole: Path, tmp_path: Path) -> None:
    """All steps are kept; with room again only the end is made."""
    out = tmp_path / "run"
    job = distil(config, out, before=[QUIET, ("disk_full", "engine.finish", name)])
    assert job.code == 1
    assert "No space left on device" in job.output
    assert "All steps are saved" in job.output
    assert "Traceback" not in job.output
    manifest = json.loads((out / "run.json").read_text())
    assert manifest["status"] == "failed"
    assert manifest["seconds"] > 0
    assert_continues(config, out, whole)


def test_no_room_for_what_stands_beside_the_student(config: Path, whole: Path, tmp_path: Path) -> None:
    """Lines, snapshots but the last, and the page: warnings, the same student, figures that are printed."""
    full = [("disk_full", "engine.monitor", "MetricsLog.write"), ("disk_full", "api.distill", "write_report"),
            ("disk_full", "engine.loop", "Loop._keep_grid")]  # fmt: skip
    job = distil(config, tmp_path / "run", before=full)
    assert job.code == 0, job.output
    for words in ("metrics.jsonl was not written", "samples was not written", "no report was written", "agreement"):
        assert words in job.output
    assert differing(student_of(tmp_path / "run"), student_of(whole)) == []


def test_a_torn_line_of_metrics_is_taken_back(tmp_path: Path) -> None:
    from sansdata.engine.monitor import MetricsLog

    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write({"step": 1})
    file = log.file

    class Short:
        """A disk with room for three more bytes."""

        name = file.name

        def write(self, data: bytes) -> int:
            return file.write(data[:3])

        def __getattr__(self, name: str) -> object:
            return getattr(file, name)

    log.file = Short()  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space left"):
        log.write({"step": 2})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n'


def test_a_closed_terminal_costs_only_the_lines(config: Path, whole: Path, tmp_path: Path) -> None:
    job = distil(config, tmp_path / "run", before=[QUIET, ("terminal_closed",)])
    assert job.code in (0, 1)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "done"
    assert differing(student_of(tmp_path / "run"), student_of(whole)) == []


def test_a_run_that_is_moved_says_so(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    argv = ["distill", "--config", config, "--out", out, EAGER]
    job = nursery().start(argv, tmp_path, [QUIET, ("slow_moves", 0.3)])
    job.wait_until(lambda: (out / "checkpoints" / "LATEST").exists())
    out.rename(tmp_path / "moved")
    assert job.wait() == 1, job.output
    assert "moved or removed" in job.output
    assert "Traceback" not in job.output
    again = distil(config, tmp_path / "moved", "--resume", before=[QUIET])
    assert again.code == 0, again.output


def test_without_tensorboard(config: Path, tmp_path: Path) -> None:
    before = [QUIET, ("missing", "tensorboard")]
    job = distil(config, tmp_path / "run", "engine.tensorboard=true", before=before)
    assert job.code == 2
    assert "pip install tensorboard" in job.output
    assert not (tmp_path / "run").exists()


def test_a_second_run_in_one_process_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    """They would share random numbers and the no-data watch; the first goes on undisturbed."""
    settings, faults = tiny.settings("noise", CASES["noise"].options, budget="2steps"), []

    def meddle(step: int, _: object) -> None:
        def second() -> None:
            try:
                run(settings, tmp_path / f"second-{step}")
            except UserError as fault:
                faults.append(str(fault))

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()

    run(settings, tmp_path / "first", on_step=meddle)
    assert len(faults) == 2
    assert "process of its own" in faults[0]
    assert (tmp_path / "first" / "student.safetensors").is_file()
    assert not (tmp_path / "second-1").exists()


def test_a_broken_package_of_methods_is_named_and_the_rest_works(tiny: Tiny, tmp_path: Path) -> None:
    broken = [("third_party", "theirs", "NotThere")]
    job = nursery().run(["list", "methods"], tmp_path, broken)
    assert job.code == 0, job.output
    assert "method 'theirs'" in job.output
    assert "does not load" in job.output
    assert "kd3" in job.output
    job = nursery().run(["check", "--teacher", tiny.teacher, "--task", tiny.task], tmp_path, broken)
    assert job.code == 0, job.output
    assert "does not load" in job.output
    job = nursery().run(["list", "methods"], tmp_path, [("third_party", "theirs", "Losses")])
    assert "no sansdata Method" in job.output


@pytest.mark.long
def test_ten_thousand_steps_hold_no_more_than_a_quarter_of_them(tiny: Tiny, tmp_path: Path) -> None:
    """Memory and descriptors; with a checkpoint every few seconds."""
    engine = {"snapshots": 6, "sample_grids": 6, "log_every": 10, "checkpoint_seconds": 5}
    settings = tiny.settings("noise", CASES["noise"].options, budget="10000steps", engine=engine)
    held: dict[int, tuple[float, int]] = {}

    def look(step: int, _: object) -> None:
        if step % 2500 == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            held[step] = (pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir("/proc/self/fd")))

    run(settings, tmp_path / "run", on_step=look)
    assert held[10_000][0] - held[2500][0] < 16
    assert held[10_000][1] == held[2500][1]
