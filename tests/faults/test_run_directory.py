"""One run, one directory: what the command refuses, and what --force lets through and notes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cases import CASES
from hostile_runs import forged
from processes import distil, nursery
from tiny import Tiny, differing, make_module, student_of

QUIET = ("no_report",)


@pytest.fixture(scope="module")
def config(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.config(tiny.settings("fm", CASES["fm"].options), folder=tmp_path_factory.mktemp("directory"))


@pytest.fixture(scope="module")
def finished(config: Path) -> Path:
    out = config.parent / "finished"
    assert distil(config, out, before=[QUIET]).code == 0
    return out


@pytest.fixture(scope="module")
def stopped_once(config: Path) -> Path:
    """Stopped after 9 moves, with two checkpoints on the disk."""
    out = config.parent / "stopped"
    eager = distil(config, out, "engine.checkpoint_seconds=1e-6", before=[QUIET, ("stop_after_move", 9)])
    assert eager.code == 75
    return out


@pytest.fixture
def stopped(stopped_once: Path, tmp_path: Path) -> Path:
    """A copy to resume or spoil."""
    return Path(shutil.copytree(stopped_once, tmp_path / "run"))


def manifest(out: Path) -> dict[str, Any]:
    return json.loads((out / "run.json").read_text())


def refused(job: Any, *words: str) -> None:
    """Exit code 2 and one readable error."""
    assert job.code == 2, job.output
    assert job.output.startswith("error: ") or "\nerror: " in job.output
    assert "Traceback" not in job.output
    for word in words:
        assert word in job.output


def everything(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def test_an_existing_run_needs_resume(config: Path, finished: Path) -> None:
    before = everything(finished)
    refused(distil(config, finished), "already exists", "--resume")
    assert everything(finished) == before


def test_a_finished_run_is_not_resumed(config: Path, finished: Path) -> None:
    before = everything(finished)
    refused(distil(config, finished, "--resume"), "finished (done)", "--student")
    after = everything(finished)
    assert {k: v for k, v in after.items() if k != "lock"} == {k: v for k, v in before.items() if k != "lock"}


def test_a_folder_of_something_else_is_not_touched(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "photos"
    out.mkdir()
    (out / "holiday.jpg").write_bytes(b"mine")
    refused(distil(config, out, "--resume"), "holds no run")
    assert everything(out) == {"holiday.jpg": b"mine"}
    file = tmp_path / "file"
    file.write_bytes(b"mine")
    refused(distil(config, file, "--resume"), "is a file")
    assert file.read_bytes() == b"mine"


def test_two_runs_on_one_directory(config: Path, finished: Path, tmp_path: Path) -> None:
    """The second is refused and the first does not notice."""
    out = tmp_path / "run"
    first = nursery().start(["distill", "--config", config, "--out", out], tmp_path, [QUIET, ("slow_moves", 0.1)])
    first.wait_until((out / "run.json").is_file)
    refused(distil(config, out, "--resume"), "in use by process", str(first.pid))
    assert first.wait() == 0, first.output
    assert differing(student_of(out), student_of(finished)) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["k=5"], "options.k was 2, is 5"),
        (["transfer.lr=0.3"], "options.transfer.lr was"),
        (["--seed", "1"], "seed was 0, is 1"),
        (["--threads", "2"], "threads was 1, is 2"),
        (["--precision", "bf16"], "precision was fp32, is bf16"),
        (["--student", "shrink:0.5"], "student at the start was"),
    ],
    ids=["method", "rate", "seed", "threads", "precision", "student"],
)
def test_resume_with_other_settings_is_refused(changed: list[str], said: str, config: Path, stopped: Path) -> None:
    before = everything(stopped / "checkpoints")
    refused(distil(config, stopped, "--resume", *changed), "cannot be continued exactly", said, "--force")
    assert everything(stopped / "checkpoints") == before


def test_resume_with_another_teacher_is_refused(tiny: Tiny, config: Path, stopped: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(make_module(seed=5).state_dict(), tmp_path / "other.safetensors")
    job = distil(config, stopped, "--resume", "--teacher", f"resnet8@{tmp_path / 'other.safetensors'}")
    refused(job, "teacher was")


def test_a_refusal_does_not_end_the_run(config: Path, finished: Path, stopped: Path) -> None:
    """After the mistake is mended, it continues exactly."""
    assert distil(config, stopped, "--resume", "k=5").code == 2
    job = distil(config, stopped, "--resume", before=[QUIET])
    assert job.code == 0, job.output
    assert differing(student_of(stopped), student_of(finished)) == []


def test_force_continues_and_the_manifest_says_so(config: Path, stopped: Path) -> None:
    job = distil(config, stopped, "--resume", "--force", "transfer.lr=0.3", before=[QUIET])
    assert job.code == 0, job.output
    found = manifest(stopped)
    assert found["status"] == "done"
    assert any("forced although options.transfer.lr was" in note for note in found["forced"])
    assert any("resumed from step-" in note for note in found["resumed"])
    assert "forced although" in job.output


def test_engine_settings_may_change(config: Path, finished: Path, stopped: Path) -> None:
    """They change nothing in the student."""
    job = distil(config, stopped, "--resume", "engine.log_every=3", before=[QUIET])
    assert job.code == 0, job.output
    assert differing(student_of(stopped), student_of(finished)) == []


@pytest.mark.parametrize("torn", ["rank-0.safetensors", "rank-0.json", "MANIFEST.json"])
def test_a_torn_newest_checkpoint_is_passed_over(torn: str, config: Path, finished: Path, stopped: Path) -> None:
    """With a word about it; the older one leads to the same student."""
    newest = sorted((stopped / "checkpoints").glob("step-*"))[-1]
    data = (newest / torn).read_bytes()
    (newest / torn).write_bytes(data[: len(data) // 2])
    job = distil(config, stopped, "--resume", before=[QUIET])
    assert job.code == 0, job.output
    assert f"checkpoint passed over: {newest.name}: {torn}" in job.output
    assert any("passed over" in note for note in manifest(stopped)["resumed"])
    assert differing(student_of(stopped), student_of(finished)) == []


def test_without_any_whole_checkpoint_the_run_begins_again(config: Path, finished: Path, stopped: Path) -> None:
    for path in (stopped / "checkpoints").glob("step-*"):
        (path / "MANIFEST.json").unlink()
    job = distil(config, stopped, "--resume", before=[QUIET])
    assert job.code == 0, job.output
    assert "resumed from the start" in job.output
    assert differing(student_of(stopped), student_of(finished)) == []
    steps = [json.loads(line)["step"] for line in (stopped / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))


def test_what_a_crash_left_half_written_is_swept(config: Path, finished: Path, stopped: Path) -> None:
    left = [stopped / ".tmp-1-ab-run.json"]
    for name in ("snapshots", "samples", "checkpoints"):
        (stopped / name).mkdir(exist_ok=True)
        left.append(stopped / name / ".tmp-1-ab-step-000000001")
    for path in left:
        path.write_bytes(b"half")
    job = distil(config, stopped, "--resume", before=[QUIET])
    assert job.code == 0, job.output
    assert [path for path in left if path.exists()] == []
    assert differing(student_of(stopped), student_of(finished)) == []


def test_an_unwritable_place_is_an_input_error(config: Path) -> None:
    job = nursery().run(["distill", "--config", config, "--out", "/proc/nothing/run"], config.parent)
    refused(job, "cannot be written")


def swapped(tree: Any, name: str, tensor: str) -> int:
    """Lets every `name` in a saved state be another of its tensors; gives how many."""
    if isinstance(tree, list):
        return sum(swapped(branch, name, tensor) for branch in tree)
    if not isinstance(tree, dict):
        return 0
    if name in tree:
        tree[name] = {"$tensor": tensor}
    return (name in tree) + sum(swapped(branch, name, tensor) for branch in tree.values())


def test_parts_that_can_be_read_and_do_not_belong_together_are_named_with_their_checkpoint(
    config: Path, stopped: Path
) -> None:
    """Each is of a right form: only the first step shows that the momentum is another layer's."""
    newest = max((stopped / "checkpoints").glob("step-*"))
    forged(lambda tree: swapped(tree["state"], "momentum_buffer", "student.bn1.weight"))(stopped, stopped)
    refused(distil(config, stopped, "--resume"), newest.name, "do not belong together")
