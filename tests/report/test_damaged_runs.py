"""A run that ended badly, or whose files somebody changed: the page is there and says what it leaves out."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import real_run
from page_of import page

from sansdata.report import run_files
from sansdata.report.read import read_run

FIRST = "samples/step-000000002.npz"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return real_run.build(tmp_path / "run")


def test_half_a_surrogate_pair_does_not_stop_the_page(run: Path):
    (run / "run.json").write_text('{"command": "sansdata \\ud800 distill", "status": "done"}', encoding="utf-8")
    assert "sansdata ? distill" in page(run).text["reproduce"]


@pytest.mark.parametrize("file", ["run.json", "plan.json", "summary.json", "ledger.json", "evaluation.json"])
@pytest.mark.parametrize(
    "content", ["", "{", "[1, 2]", "null", '{"cost": 3, "task": [], "files": {"a": 1}, "figures": 3}', "[" * 9999]
)
def test_a_damaged_file_costs_its_section_only(run: Path, file: str, content: str):
    (run / file).write_text(content, encoding="utf-8")
    done = page(run)
    readable = content == "" or content.startswith('{"')
    assert (f"Left out: {file}" in done.text["verdict"]) is not readable
    if file == "run.json":
        assert "4 files of samples could not be shown" in done.text["samples"]
    else:
        assert "step 2 " in done.text["samples"]


@pytest.mark.parametrize("task", [{"kind": "smell"}, {"kind": "image", "shape": [0, 1]}, "digits", 7, {"inputs": 1}])
def test_a_task_that_is_none_costs_the_samples_only(run: Path, task: object):
    real_run.change(run, "run.json", task=task)
    done = page(run)
    assert "run.json: names no task that is known here" in done.text["verdict"]
    assert "could not be shown" in done.text["samples"]
    assert "chance level" not in done.text["reproduce"]
    assert "class entropy" in done.text["figures"]


@pytest.mark.parametrize("row", [real_run.IMAGE, real_run.TABLE, real_run.TOKENS])
def test_values_of_the_wrong_kind_are_left_out(tmp_path: Path, row: str):
    def spoil(value: object) -> object:
        if isinstance(value, dict):
            return {key: spoil(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [spoil(inner) for inner in value] if value and isinstance(value[0], dict) else 3
        return [{"odd": None}, "x"] if isinstance(value, int | float) else None

    run = real_run.build(tmp_path / "run", row)
    for file in ("run", "plan", "summary", "ledger"):
        path = run / f"{file}.json"
        path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    done = page(run, spoil(real_run.evaluation(row)))  # type: ignore[arg-type]
    assert "student and teacher agree so far on" in done.text["verdict"]  # by the log, which is whole
    assert "evaluation.json:" in done.text["verdict"]


def test_a_run_that_has_just_begun(tmp_path: Path):
    manifest = real_run.read(real_run.finished(real_run.IMAGE), "run.json")
    real_run.write_json(tmp_path, "run.json", manifest | {"status": "running", "ended": None, "seconds": 0.0})
    done = page(tmp_path)
    assert "before its first step" in done.text["verdict"]
    assert "has not been measured yet" in done.text["verdict"]
    assert "Nothing was logged yet" in done.text["curves"]
    assert "kept no samples" in done.text["samples"]
    assert "Not checked" in done.text["warnings"]
    assert "no record of what was read" in done.text["ledger"]


@pytest.mark.parametrize("status", ["interrupted", "failed"])
def test_a_run_that_was_stopped_shows_what_there_is(run: Path, status: str):
    real_run.change(run, "run.json", status=status, ended=None, seconds=0.0)
    (run / "summary.json").unlink()
    lines = real_run.lines(run)[:5]
    real_run.write_lines(run, [line | {"seconds": 60.0 * line["step"]} for line in lines])
    text = page(run).text
    assert "after 5 of 8 planned steps" in text["verdict"]
    assert "student and teacher agree so far on" in text["verdict"]
    assert "time spent 5 min" in text["verdict"]
    assert "0.0 s" not in text["verdict"]
    assert "step 8 · last" in text["samples"]


def test_one_line_of_metrics_and_a_torn_last_line(run: Path):
    text = json.dumps(real_run.lines(run)[0]) + '\n{"step": 10, "loss'
    (run / "metrics.jsonl").write_text(text, encoding="utf-8")
    done = page(run)
    assert "acquire" in done.text["curves"]
    assert "1 line(s) could not be read" in done.text["verdict"]


def test_values_that_are_not_finite_are_counted_not_drawn(run: Path):
    lines = real_run.many_lines(50, ("transfer/match", "acquire/gone"))
    for i in range(7):
        lines[i]["losses"]["transfer/match"] = (float("nan"), float("inf"), 1e308)[i % 3]
    for line in lines:
        line["losses"]["acquire/gone"] = float("nan")
    real_run.write_lines(run, lines)
    text = page(run).text["curves"]
    assert "7 value(s) not finite" in text
    assert "50 value(s) not finite" in text


def test_what_a_resumed_run_logged_twice_counts_once(run: Path):
    lines = [line | {"queries": 3 * line["step"]} for line in real_run.many_lines(10)]
    again = [line | {"losses": {"transfer/match": 5.0}, "queries": 1.0} for line in lines[6:]]
    real_run.write_lines(run, lines + again)
    metrics = read_run(run).metrics
    series = metrics.losses["transfer/match"]
    assert list(series.steps) == [10.0 * i for i in range(10)]
    assert list(series.values[-4:]) == [5.0] * 4
    assert list(metrics.queries.values) == [0.0, 30.0, 60.0, 90.0, 120.0, 150.0, 1.0, 1.0, 1.0, 1.0]


# -- files of samples


@pytest.mark.parametrize("content", [b"", b"PK not a zip", b"\x93NUMPY"])
def test_a_broken_grid_is_named_and_the_others_stay(run: Path, content: bytes):
    (run / FIRST).write_bytes(content)
    text = page(run).text
    assert f"Left out: {FIRST}" in text["verdict"]
    assert "step 4 " in text["samples"]


@pytest.mark.parametrize("row", [real_run.IMAGE, real_run.TABLE, real_run.TOKENS])
def test_a_flipped_bit_never_stops_the_reader(tmp_path: Path, row: str):
    run = real_run.build(tmp_path / "run", row)
    whole, random, damaged = (run / FIRST).read_bytes(), np.random.default_rng(0), 0
    for _ in range(300):
        data = bytearray(whole)
        data[random.integers(len(data))] ^= 1 << int(random.integers(8))
        (run / FIRST).write_bytes(data)
        damaged += len(read_run(run, grids=1).faults)
    assert damaged > 100


def test_arrays_of_another_task_are_left_out(run: Path, tmp_path: Path):
    other = real_run.build(tmp_path / "other", real_run.TOKENS)
    (run / FIRST).write_bytes((other / FIRST).read_bytes())
    assert f"Left out: {FIRST}: left out (expected images as uint8" in page(run).text["verdict"]


@pytest.mark.parametrize(
    "arrays",
    [{"images": np.zeros((0, 8, 8, 1), np.uint8)}, {"images": np.array([object()])}, {"x": np.zeros(3)}, {}],
    ids=["empty", "pickle", "no images", "nothing"],
)
def test_arrays_that_hold_nothing_to_see_are_left_out(run: Path, arrays: dict[str, np.ndarray]):
    np.savez(run / FIRST, **arrays, logits=np.zeros((1, 4)))
    assert f"Left out: {FIRST}" in page(run).text["verdict"]


@pytest.mark.parametrize("logits", [np.zeros((2, 9)), np.zeros(2), np.array(["a", "b"]), np.full((2, 4), np.nan)])
def test_odd_answers_cost_no_more_than_the_captions(run: Path, logits: np.ndarray):
    np.savez(run / FIRST, images=np.zeros((2, 8, 8, 1), np.uint8), logits=logits)
    text = page(run).text
    assert "Left out" not in text["verdict"]
    assert "2 of 2 samples" in text["samples"]


def test_an_archive_that_unpacks_to_more_than_the_bound_is_not_unpacked(run: Path):
    with zipfile.ZipFile(run / FIRST, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("images.npy", "w") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (1000, 1000, 1000, 1)}
        )
        file.write(bytes(2_000_000))
    assert f"Left out: {FIRST}" in page(run).text["verdict"]


# -- what is no regular file


def test_links_pipes_and_folders_are_not_read(run: Path, tmp_path: Path):
    secret = tmp_path / "secret.yaml"
    secret.write_text("method: of-somebody-else\n")
    for name in ("config.yaml", "metrics.jsonl", "summary.json", "plan.json"):
        (run / name).unlink()
    (run / "config.yaml").symlink_to(secret)
    os.mkfifo(run / "metrics.jsonl")
    (run / "summary.json").mkdir()
    (run / "plan.json").symlink_to("/dev/zero")
    os.replace(run / FIRST, tmp_path / "grid.npz")
    (run / FIRST).symlink_to(tmp_path / "grid.npz")
    done = page(run)
    for name in ("config.yaml: cannot be read (a link", "metrics.jsonl: cannot be read (no regular file",
                 "summary.json: cannot be read (no regular file", "plan.json: cannot be read (a link",
                 f"{FIRST}: left out"):  # fmt: skip
        assert name in done.text["verdict"], name
    assert "of-somebody-else" not in done.html
    assert "step 2 " not in done.text["samples"]


def test_a_folder_of_samples_that_is_a_link_is_not_followed(run: Path, tmp_path: Path):
    (run / "samples").rename(tmp_path / "elsewhere")
    (run / "samples").symlink_to(tmp_path / "elsewhere")
    done = page(run)
    assert "samples: a link, which is not followed" in done.text["verdict"]
    assert "kept no samples" in done.text["samples"]


def test_a_log_without_end_is_cut(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_files, "MAX_LOG_BYTES", 2_000)
    real_run.write_lines(run, real_run.lines(run) * 50)
    done = page(run)
    assert "metrics.jsonl: more than 2,000 bytes, the rest is left out" in done.text["verdict"]
    assert "acquire" in done.text["curves"]


def test_a_tokenizer_that_is_a_pipe_does_not_hang(tmp_path: Path):
    run = real_run.build(tmp_path / "run", real_run.TOKENS)
    os.mkfifo(tmp_path / "tokenizer.json")
    manifest = real_run.read(run, "run.json")
    manifest["task"]["inputs"] |= {"tokenizer": str(tmp_path / "tokenizer.json")}
    real_run.write_json(run, "run.json", manifest)
    assert "is no regular file" in page(run).text["verdict"]
