"""The ledger is the sum of what every process of a run recorded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sansdata.engine.guard.ledger import LOST, UNREADABLE, Ledger, read_ledger, total, undeclared
from sansdata.engine.guard.no_data import LISTED, NoDataGuard
from sansdata.engine.run_directory import RunDirectory
from sansdata.errors import NoDataViolation


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", np.ones(8))
    return tmp_path / "x.npy"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def read(run_dir: Path) -> dict:
    return json.loads((run_dir / "ledger.json").read_text())


def test_a_first_violation_is_on_the_disk_before_the_next_move(data: Path, run_dir: Path) -> None:
    with NoDataGuard("record", {}, run_dir) as guard:
        ledger = Ledger(run_dir, guard)
        ledger.begin(continued=False)
        assert read(run_dir)["violations"] == []
        assert read(run_dir)["sealed"] is None
        np.load(data)
        ledger.check()
        assert [v["path"] for v in read(run_dir)["violations"]] == [str(data)]


def test_processes_of_a_group_and_a_strict_run_that_goes_on_without_watch(data: Path, run_dir: Path) -> None:
    for rank, mode in ((0, "strict"), (1, "strict"), (2, "record")):
        with NoDataGuard(mode, {data: "teacher"} if rank == 0 else {}, run_dir) as guard:
            ledger = Ledger(run_dir, guard, rank)
            ledger.begin(continued=False)
            try:
                np.load(data)
            except NoDataViolation:
                assert rank == 1
        ledger.write()
    Ledger(run_dir, guard).sum_up()
    total = read(run_dir)
    assert total["mode"] == "record"
    assert [entry["role"] for entry in total["files"]] == ["teacher"]
    assert len(total["violations"]) == 1
    assert {process["rank"]: process["violations"] for process in total["processes"]} == {0: 0, 1: 1, 2: 1}
    assert total["sealed"]


@pytest.mark.parametrize(
    "before",
    [
        None,
        "{",
        "[]",
        '{"mode": "strict", "files": 1, "violations": [2]}',
        '{"mode": "strict", "files": [], "violations": [{"path": "/x"}]}',
    ],
)
def test_a_run_that_an_older_version_began_keeps_its_record_or_is_not_clean(before: str | None, run_dir: Path) -> None:
    if before is not None:
        (run_dir / "ledger.json").write_text(before)
    with NoDataGuard("strict", {}, run_dir) as guard:
        Ledger(run_dir, guard).begin(continued=True)
    total = read(run_dir)
    whole = before is not None and "/x" in before
    there = [] if before is None else ["/x"] if whole else ["ledger.json"]
    assert [v["path"] for v in total["violations"]] == there
    assert [entry["what"] for entry in total["unwatched"]] == ([LOST] if before is None else [])
    assert total["mode"] == ("strict" if whole else "record")
    assert len(total["processes"]) == 2


def test_a_torn_record_is_a_broken_one_and_half_written_ones_are_none(run_dir: Path) -> None:
    with NoDataGuard("strict", {}, run_dir) as guard:
        ledger = Ledger(run_dir, guard)
        ledger.begin(continued=False)
        (run_dir / "ledger" / "1.json").write_text("{")
        (run_dir / "ledger" / ".tmp-1.json").write_text("{")
        ledger.write(ended=True)
    assert [(v["path"], v["event"]) for v in read(run_dir)["violations"]] == [("1.json", UNREADABLE)]


def test_more_violations_than_a_record_lists_are_counted_and_never_none(run_dir: Path) -> None:
    guard = NoDataGuard("record", {}, run_dir)
    guard.began_at = "2026-01-02T03:04:05Z"
    ledger = Ledger(run_dir, guard)
    ledger.begin(continued=False)
    for number in range(LISTED + 7):
        guard.refuse(f"/data/{number}.JPEG", "open")
        guard.not_followed("a native library", str(number))
        guard.files[(number,)] = {"path": f"/model/{number}", "role": "teacher", "sha256": None, "bytes": 1}
    ledger.write(ended=True)
    summed = read_ledger(run_dir)
    assert [len(summed[kind]) for kind in ("violations", "files")] == [LISTED, LISTED]
    assert len(summed["unwatched"]) <= LISTED + 2
    assert (undeclared(summed), summed["processes"][0]["violations"]) == (LISTED + 7, LISTED + 7)
    assert "7" in [entry["name"] for entry in summed["unwatched"]]
    other = {"mode": "record", "files": [], "violations": [{"path": "/other", "event": "open"}]}
    assert undeclared(total([guard.record(), other])) == LISTED + 8


def test_a_process_sums_up_its_own_record_from_memory(run_dir: Path) -> None:
    guard = NoDataGuard("record", {}, run_dir)
    guard.began_at = "2026-01-02T03:04:05Z"
    ledger = Ledger(run_dir, guard)
    guard.refuse("/data/x", "open")
    ledger.begin(continued=False)
    (own,) = (run_dir / "ledger").iterdir()
    own.write_text("{")
    ledger.sum_up()
    assert [v["path"] for v in read(run_dir)["violations"]] == ["/data/x"]


@pytest.mark.parametrize("text", ["", "{", '{"mode": "strict", "files": [], "violations": 3}', '[""' + ',""' * 600_000])
def test_a_ledger_that_cannot_be_read_is_no_clean_one(run_dir: Path, text: str) -> None:
    assert read_ledger(run_dir) == {}
    (run_dir / "ledger.json").write_text(text)
    assert undeclared(read_ledger(run_dir)) == 1


def test_a_link_in_the_place_of_the_records_is_not_followed(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (run_dir / "ledger").symlink_to(tmp_path / "elsewhere")
    with NoDataGuard("strict", {}, run_dir) as guard, pytest.raises(OSError, match="link"):
        Ledger(run_dir, guard).begin(continued=False)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_run_that_was_killed_before_its_manifest_can_be_begun_again(run_dir: Path) -> None:
    directory = RunDirectory(run_dir)
    assert directory.open(resume=True) is False
    with NoDataGuard("strict", {}, run_dir) as guard:
        Ledger(run_dir, guard).begin(continued=False)
    directory.release()
    assert RunDirectory(run_dir).open(resume=True) is False


def test_a_refused_run_takes_its_ledger_with_it(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "new")
    directory.open(resume=False)
    with NoDataGuard("strict", {}, directory.path) as guard:
        Ledger(directory.path, guard).begin(continued=False)
    directory.discard()
    directory.release()
    assert not directory.path.exists()
