"""Checkpoints in fair weather: what is kept, in which order, what is swept and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from checkpointing import checkpoints, loaded_step, save, state_at
from safetensors.torch import load_file

from sansdata.engine.checkpoint import DTYPES, find_fault, safetensors_parts
from sansdata.errors import ResumeError
from sansdata.memory import Slot


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "checkpoints").iterdir())


def test_what_was_saved_is_loaded(tmp_path):
    assert loaded_step(tmp_path) is None
    path = save(tmp_path, 7)
    assert find_fault(path) is None
    assert loaded_step(tmp_path) == 7
    assert checkpoints(tmp_path).facts(path) == {"elapsed": 7.0}


def test_two_are_kept_and_the_newest_is_named(tmp_path):
    for step in (1, 2, 3, 40):
        save(tmp_path, step)
    assert names(tmp_path) == ["LATEST", "step-000000003", "step-000000040"]
    assert (tmp_path / "checkpoints" / "LATEST").read_text() == "step-000000040"
    assert loaded_step(tmp_path) == 40


def test_a_checkpoint_holds_no_second_copy_of_the_pool(tmp_path):
    """It took three. What is copied is one part at a time, and only what does not lie in memory as in the file."""
    script = """
import resource, sys, torch
from pathlib import Path
from sansdata.engine.checkpoint import Checkpoints
from sansdata.memory import Slot
from sansdata.runtime import Runtime
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
kept = Checkpoints(Path(sys.argv[1]), Runtime())
kept.save(0, {"few": Slot(a=torch.rand(3))}, {})
images = torch.zeros(64 * 2**20, dtype=torch.uint8).add_(1)
before = peak()
kept.save(1, {"pool": Slot(images=images[: 2**26], other=images)}, {})
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "checkpoints")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 16 * 2**20


def test_every_type_of_number_is_read_back_by_the_library(tmp_path):
    numbers = {str(dtype): torch.ones(3, 2).to(dtype) for dtype in DTYPES} | {
        "none": torch.zeros(0, 4),
        "one": torch.tensor(7),
    }
    (tmp_path / "file").write_bytes(b"".join(safetensors_parts(numbers | {"turned": torch.arange(6.0).view(2, 3).T})))
    back = load_file(tmp_path / "file")
    assert torch.equal(back.pop("turned"), torch.arange(6.0).view(2, 3).T)
    assert all(back[name].dtype == value.dtype and torch.equal(back[name], value) for name, value in numbers.items())
    with pytest.raises(TypeError, match="'odd'"):
        list(safetensors_parts({"odd": torch.zeros(2).to(torch.complex128)}))


def test_no_file_is_a_pickle(tmp_path):
    assert sorted(p.name for p in save(tmp_path, 1).iterdir()) == [
        "MANIFEST.json", "rank-0.json", "rank-0.safetensors",
    ]  # fmt: skip


def test_saves_of_one_step_stand_beside_one_another_until_the_older_goes(tmp_path):
    """A warm-up makes moves that are no student steps: several checkpoints are then of one step."""
    held = checkpoints(tmp_path)
    for elapsed in range(1, 13):
        held.save(0, state_at(elapsed), {"elapsed": float(elapsed)})
        assert loaded_step(tmp_path) == elapsed
        assert len([n for n in names(tmp_path) if n.startswith("step-")]) == min(elapsed, 2)
    save(tmp_path, 1)
    assert loaded_step(tmp_path) == 1


def test_the_thousandth_save_of_one_step_is_the_newest(tmp_path):
    """As text -1000 stands before -999, and the newest would be deleted."""
    held = checkpoints(tmp_path)
    first = held.save(0, state_at(1), {"elapsed": 1.0})
    first.rename(first.with_name("step-000000000-999"))
    newest = held.save(0, state_at(2), {"elapsed": 2.0})
    assert newest.name == "step-000000000-1000"
    held.save(0, state_at(3), {"elapsed": 3.0})
    assert names(tmp_path) == ["LATEST", "step-000000000-1000", "step-000000000-1001"]
    assert loaded_step(tmp_path) == 3


def test_a_sweep_takes_only_what_crashes_left(tmp_path):
    save(tmp_path, 1)
    folder = tmp_path / "checkpoints"
    (folder / ".tmp-1-ab-step-000000002").mkdir()
    (folder / ".tmp-1-ab-step-000000002" / "rank-0.json").write_text("{")
    (folder / ".tmp-1-cd-LATEST").write_text("step")
    checkpoints(tmp_path).sweep()
    assert names(tmp_path) == ["LATEST", "step-000000001"]
    assert loaded_step(tmp_path) == 1


def test_a_state_with_other_parts_is_refused_naming_both(tmp_path):
    path = save(tmp_path, 1)
    with pytest.raises(ResumeError, match="counters, pool, student; this run keeps counters, student"):
        checkpoints(tmp_path).load(path, {k: v for k, v in state_at(0).items() if k != "pool"})


def test_a_checkpoint_of_another_schema_is_named_and_passed_over(tmp_path):
    save(tmp_path, 1)
    manifest = save(tmp_path, 2) / "MANIFEST.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema": 99}))
    path, faults = checkpoints(tmp_path).newest()
    assert path is not None
    assert path.name == "step-000000001"
    assert faults == ["step-000000002: MANIFEST.json has schema 99; this version of sansdata reads 1"]


def naming(name: str) -> str:
    return '{"schema": 1, "files": {"%s": {"bytes": 1, "sha256": ""}}}' % name  # noqa: UP031 - braces all over


NONSENSE = [
    "[]", "null", "3", '"x"', "{}", '{"schema": 1}', '{"schema": 1, "files": {}}', '{"schema": 1, "files": {"a": 1}}',
    naming("a\\u0000"), naming("../../x"), naming("rank-0.json"), "\xff\xfe", "[" * 9000,
]  # fmt: skip


@pytest.mark.parametrize("text", NONSENSE, ids=range(len(NONSENSE)))
def test_a_manifest_that_says_nonsense_is_a_fault(tmp_path, text):
    path = save(tmp_path, 1)
    (path / "MANIFEST.json").write_text(text, encoding="latin-1")
    assert find_fault(path) is not None
    assert loaded_step(tmp_path) is None


def test_state_that_cannot_be_kept_leaves_what_stands(tmp_path):
    save(tmp_path, 1)
    with pytest.raises(TypeError, match="odd"):
        checkpoints(tmp_path).save(2, {**state_at(2), "odd": Slot(x=object())}, {"elapsed": 2.0})
    assert names(tmp_path) == ["LATEST", "step-000000001"]
    assert loaded_step(tmp_path) == 1


def test_a_state_that_would_not_be_read_again_is_not_saved_over_one_that_is(tmp_path):
    save(tmp_path, 1)
    with pytest.raises(OSError, match="more than 1,000,000 lists, mappings and texts, which is not read again"):
        checkpoints(tmp_path).save(2, state_at(2), {"names": ["one"] * 500_001})
    assert names(tmp_path) == ["LATEST", "step-000000001"]
    assert loaded_step(tmp_path) == 1


def test_too_little_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    save(tmp_path, 1)
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("sansdata.engine.checkpoint.shutil.disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="10 bytes free"):
        save(tmp_path, 2)
    assert names(tmp_path) == ["LATEST", "step-000000001"]


def test_tensors_come_back_to_the_device_of_the_run(tmp_path):
    path = save(tmp_path, 5)
    state = state_at(0)
    checkpoints(tmp_path).load(path, state)
    assert state["student"]["weight"].device == torch.device("cpu")
