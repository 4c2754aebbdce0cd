"""Several runs on one page: the right ones together, the right figures, and a refusal where nothing can be compared."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import real_run
from page_of import HOSTILE, Page
from tiny import world_of
from typer.testing import CliRunner

from sansdata.cli.main import app
from sansdata.config import dump_yaml
from sansdata.errors import RunDirectoryError
from sansdata.methods.index import METHODS, find_method, method_config
from sansdata.report import read_groups, write_comparison
from sansdata.report.overlays import band, style
from sansdata.report.published import PUBLISHED
from sansdata.report.settings_of import nearest_preset

TASK = world_of(real_run.IMAGE).task.model_copy(update={"class_names": real_run.NAMES}).model_dump(mode="json")


def config(method: str, preset: str = "small", options: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """config.yaml as the engine writes it: the preset's values stand in the options."""
    resolved = method_config(method, preset, options or {}).model_dump(mode="json")
    given = {
        "teacher": "resnet34@resnet34.safetensors", "task": TASK, "student": "resnet18-half", "method": method,
        "preset": "default", "budget": "300steps", "seed": 0, "precision": "fp32", "strict": False,
        "options": resolved, "features": {"hint": 0.0, "attention": 0.0}, "engine": {"snapshots": 6},
    }  # fmt: skip
    return given | fields


def build(
    directory: Path,
    seed: int = 0,
    accuracy: float | None = None,
    settings: dict[str, Any] | None = None,
    lines: int = 40,
    manifest: dict[str, Any] | None = None,
    row: str = real_run.IMAGE,
    **cost: float,
) -> Path:
    """A finished run with its own seed, start and figures."""
    run = real_run.build(directory, row)
    real_run.write_lines(run, real_run.many_lines(lines, ("transfer/kl", "acquire/ce")))
    settings = (settings or config("fm")) | {"seed": seed}
    started = f"2026-01-02T03:{len(directory.name):02d}:{seed:02d}+00:00"
    changes = {"seed": seed, "method": settings["method"], "started": started, "config_hash": f"{directory}"}
    real_run.change(run, "run.json", **(changes | (manifest or {})))
    (run / "config.yaml").write_text(dump_yaml(settings), encoding="utf-8")
    real_run.change(run, "summary.json", cost=real_run.read(run, "summary.json")["cost"] | cost)
    if accuracy is not None:
        measure(run, accuracy=accuracy)
    return run


def measure(run: Path, row: str = real_run.IMAGE, **values: float) -> None:
    """Writes an evaluation.json with other values for some of its figures."""
    measured = real_run.evaluation(row)
    for name, value in values.items():
        real_run.figure(measured, name)["value"] = value
    real_run.write_json(run, "evaluation.json", measured)


def page(*runs: Path, out: Path | None = None) -> Page:
    return Page(write_comparison(runs, out or runs[0].parent / "comparison.html"))


def test_runs_that_differ_only_in_the_seed_are_one_line_with_mean_and_sample_deviation(tmp_path: Path):
    accuracies = (0.80, 0.83, 0.84)
    runs = [build(tmp_path / f"fm{seed}", seed, a) for seed, a in enumerate(accuracies)]
    other = build(tmp_path / "no-meta", 0, 0.5, config("fm", options={"meta": False}))
    done = page(*runs, other)
    text = done.text["table"]
    assert f"{100 * np.mean(accuracies):.1f} %" in text
    assert f"± {100 * np.std(accuracies, ddof=1):.1f}" in text
    assert "0, 1, 2" in text
    assert "fm small meta=false" in text
    assert text.count("meta=false") >= 1
    assert "2 settings in 4 runs" in done.text["verdict"]
    assert [group.letter for group in read_groups([*runs, other])] == ["A", "B"]


def test_strictness_engine_and_the_place_of_the_teacher_make_no_new_group(tmp_path: Path):
    one = build(tmp_path / "a", 0, settings=config("fm", strict=True))
    two = build(tmp_path / "bb", 1, settings=config("fm", engine={"snapshots": 2}, teacher="resnet34@elsewhere/x.pt"))
    assert len(read_groups([one, two])) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"precision": "bf16"}, "precision=bf16"), ({"features": {"hint": 1.0, "attention": 0.0}}, "features.hint=1"),
     ({"budget": "90steps"}, "budget=90steps"), ({"student": "resnet20"}, "student=resnet20")],
)  # fmt: skip
def test_what_differs_outside_the_method_makes_a_group_and_is_named(tmp_path: Path, changes: dict, said: str):
    runs = [build(tmp_path / "a"), build(tmp_path / "bb", settings=config("fm") | changes)]
    groups = read_groups(runs)
    assert len(groups) == 2
    assert groups[0].label != groups[1].label
    assert said in page(*runs).text["table"]


@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_preset_is_found_from_its_values(method: str):
    for preset in ("default", *find_method(method).presets):
        options = method_config(method, preset, {"steps": 77}).model_dump(mode="json")
        found = nearest_preset(method, options)
        assert found is not None
        assert found[1] == {}
        # Presets that differ in the number of steps only cannot be told apart, and need not be.
        assert method_config(method, found[0], {"steps": 77}) == method_config(method, preset, {"steps": 77})


def test_a_method_that_is_not_installed_here_is_compared_without_its_preset(tmp_path: Path):
    settings = config("fm") | {"method": "from-elsewhere"}
    done = page(build(tmp_path / "a", settings=settings), build(tmp_path / "bb"))
    assert "from-elsewhere" in done.text["table"]


def test_costs_are_counted_and_cpu_seconds_are_used_only_where_all_runs_have_them(tmp_path: Path):
    first = build(tmp_path / "a", 0, seconds=555.0, cpu_seconds=61.0, samples=1000, teacher_forwards=5000)
    second = build(tmp_path / "bb", 1, cpu_seconds=65.0, samples=1000, teacher_forwards=5000)
    text = page(first, second).text["table"]
    assert "CPU s" in text
    manifest = real_run.read(first, "run.json")
    smaller = f"{manifest['teacher']['parameters'] / manifest['student']['parameters']:.3g}×"
    for figure in ("63", "± 2.83", "1,000", "5,000", smaller, " 8 "):
        assert figure in text
    old = build(tmp_path / "ccc", 2, seconds=555.0)
    cost = real_run.read(old, "summary.json")["cost"]
    del cost["cpu_seconds"]
    real_run.change(old, "summary.json", cost=cost)
    text = page(first, old).text["table"]
    assert "Seconds by the clock" in text
    assert "555" in text


def test_curves_have_steps_and_seconds_and_the_group_as_band(tmp_path: Path):
    runs = [build(tmp_path / f"fm{seed}", seed) for seed in range(2)]
    shifted = [line | {"losses": {"transfer/kl": 1.0}} for line in real_run.many_lines(40)]
    real_run.write_lines(runs[1], shifted)
    done = page(*runs)
    labels = re.findall(r'aria-label="([^"]*)"', done.html)
    for name in ("agreement", "transfer/kl", "acquire/ce"):
        assert f"{name} by student step" in labels
        assert f"{name} by seconds" in labels
    assert "agreement by teacher queries" in labels
    drawing = done.html[done.html.index('aria-label="transfer/kl by student step"') :].split("</svg>")[0]
    assert 'id="loss0-step-FillBetweenPolyCollection' in drawing
    for text in re.findall(r"<svg .*?</svg>", done.html, flags=re.DOTALL):
        ET.fromstring(text)


def test_a_band_is_the_mean_and_sample_deviation_where_all_runs_have_values():
    one, two = (range(0, 101, 10), [0.0] * 11), (range(50, 151, 10), [2.0] * 11)
    found = band([one, two])
    assert found is not None
    assert (found.x[0], found.x[-1]) == (50, 100)
    assert found.deviation is not None
    np.testing.assert_allclose(found.mean, 1.0)
    np.testing.assert_allclose(found.deviation, np.std([0, 2], ddof=1))
    assert band([one, (range(200, 300, 10), [1.0] * 10)]) is None
    assert band([([], [])]) is None
    alone = band([two])
    assert alone is not None
    assert alone.deviation is None


def test_groups_can_be_told_apart_by_colour_and_dash():
    assert len({style(place) for place in range(18)}) == 18


def test_samples_of_every_run_are_shown(tmp_path: Path):
    done = page(build(tmp_path / "a"), build(tmp_path / "bb", 1))
    assert sum(tag == "img" for tag, _ in done.tags) == 2 * 8
    assert "bb" in done.text["samples"]


def test_runs_of_tables_are_compared_as_rows(tmp_path: Path):
    settings = config("noise", preset="default")
    runs = [
        build(tmp_path / name, seed, settings=settings, row=real_run.TABLE) for seed, name in enumerate(("a", "bb"))
    ]
    done = page(*runs)
    assert "size count doubt colour shape the teacher's answer" in done.text["samples"]
    assert "rows teacher queries" in done.text["table"]
    assert "image" not in done.text["table"] + done.text["samples"]


def test_published_figures_say_network_and_source(tmp_path: Path):
    done = page(build(tmp_path / "a"), build(tmp_path / "bb", settings=config("dafl")))
    text = done.text["published"]
    assert "LeNet-5 → LeNet-5-half 98.20 %" in text
    assert "93.63 % k = 5 Fang et al. 2022" in text
    assert "deepinversion" not in text


def test_every_published_figure_belongs_to_a_method_and_is_whole():
    assert set(PUBLISHED) <= set(METHODS)
    for figures in PUBLISHED.values():
        assert figures
        for one in figures:
            assert 0 < one.accuracy < 100
            assert one.data
            assert one.teacher
            assert one.student
            assert one.source


# -- what a reader must be told


def test_different_teachers_students_and_data_are_said(tmp_path: Path):
    one, two = build(tmp_path / "a", accuracy=0.8), build(tmp_path / "bb", 1, accuracy=0.7)
    manifest = json.loads((two / "run.json").read_text())
    manifest["teacher"] |= {"source": "vgg11.pt", "fingerprint": "beefbeef"}
    manifest["student"] |= {"spec": "resnet20", "parameters": 1000}
    manifest["task"]["mean"], manifest["task"]["std"] = [0.4], [0.3]
    real_run.write_json(two, "run.json", manifest)
    real_run.change(two, "evaluation.json", source="photographs", count=12)
    text = page(one, two).text["verdict"]
    assert "do not share one teacher" in text
    assert "vgg11.pt beefbeef: bb" in text
    assert "do not share one student" in text
    assert "do not share one preprocessing (mean 0.5; std 0.25: a; mean 0.4; std 0.3: bb)" in text
    assert "do not share one set of real data" in text
    assert "photographs (12 images): bb" in text


def test_a_seed_that_occurs_twice_is_said(tmp_path: Path):
    text = page(build(tmp_path / "a", 3), build(tmp_path / "bb", 3)).text["verdict"]
    assert "A: seed 3 occurs more than once" in text


def test_runs_that_did_not_finish_are_said_and_do_not_spoil_the_mean(tmp_path: Path):
    whole, failed = build(tmp_path / "a", 0, 0.8), build(tmp_path / "bb", 1)
    manifest = json.loads((failed / "run.json").read_text()) | {"status": "failed"}
    real_run.write_json(failed, "run.json", manifest)
    (failed / "summary.json").unlink()
    (failed / "plan.json").write_text("{")
    done = page(whole, failed)
    assert "bb: Failed: the run stopped on an error" in done.text["verdict"]
    assert "bb: left out: plan.json" in done.text["verdict"]
    assert "80.0 %" in done.text["table"]
    assert "±" not in done.text["table"]


def test_a_page_without_accuracy_says_so(tmp_path: Path):
    done = page(build(tmp_path / "a"), build(tmp_path / "bb", 1))
    assert "No accuracy is known" in done.text["verdict"]
    assert "accuracy" not in done.text["table"]


def test_the_score_has_a_column_only_where_there_is_one(tmp_path: Path):
    runs = [build(tmp_path / "a"), build(tmp_path / "bb", 1)]
    known = real_run.read(runs[0], "summary.json")["score"]
    for run in runs:
        real_run.change(run, "summary.json", score=None)
    assert "score" not in page(*runs).text["table"]
    for run, score in zip(runs, (0.4, 0.5)):
        real_run.change(run, "summary.json", score=known | {"last": score})
    done = page(*runs)
    assert "45.0 %" in done.text["table"]
    assert f"± {100 * np.std([0.4, 0.5], ddof=1):.1f}" in done.text["table"]
    assert "It is not accuracy" in done.text["verdict"]


def test_figures_on_real_data_have_columns_of_their_own_and_the_best_is_marked_by_its_side(tmp_path: Path):
    runs = [build(tmp_path / "a"), build(tmp_path / "bb", settings=config("dafl"))]
    measure(runs[0], accuracy=0.81, ece=0.311, nll=0.5)
    measure(runs[1], accuracy=0.72, ece=0.122, nll=0.5)
    done = page(*runs)
    assert "Figures on real data" in done.text["table"]
    assert "accuracy ↑" in done.text["table"]
    assert "ece ↓" in done.text["table"]
    best = re.findall(r'<td class="n best">([^<]*)', done.html)
    assert "81.0\u00a0%" in best
    assert "0.122" in best
    assert "72.0\u00a0%" not in best
    assert "0.311" not in best
    assert "0.311" in done.html
    assert not [text for text in best if "nats" in text]  # neither is better
    assert page(runs[0], build(tmp_path / "ccc", 1)).html.count('class="n best"') == 0


def test_a_figure_of_one_seed_says_so_and_is_not_marked_best(tmp_path: Path):
    """Its line names three seeds, two of which were not measured."""
    one = [build(tmp_path / f"fm{seed}", seed, 0.90 if seed == 0 else None) for seed in range(3)]
    several = [
        build(tmp_path / f"{method}{seed}", seed, accuracy, config(method))
        for method, values in (("dafl", (0.85, 0.89, 0.92)), ("zskt", (0.7, 0.7, 0.7)))
        for seed, accuracy in enumerate(values)
    ]
    done = page(*one, *several)
    assert "90.0\u00a0%<small>(1 of 3)</small>" in done.html
    assert "of 3)" not in done.html.replace("(1 of 3)", "")
    assert set(re.findall(r'<td class="n best">([^<]*)', done.html)) == {"88.7\u00a0%"}


def test_hostile_names_are_text(tmp_path: Path):
    settings = config("fm") | {"method": HOSTILE, "precision": HOSTILE}
    one = build(tmp_path / "a", settings=settings, manifest={"method": HOSTILE, "status": HOSTILE})
    real_run.write_lines(one, real_run.many_lines(20, (HOSTILE, "transfer/kl")))
    done = page(one, build(tmp_path / "<b onload=x>", 1))
    assert "<script" not in done.html.lower()
    assert not any(name.startswith("on") for _, attributes in done.tags for name in attributes)
    assert not re.search(r"https?:", done.html)


def test_many_runs_stay_small_and_say_what_is_not_drawn(tmp_path: Path):
    runs = [build(tmp_path / f"run-{k}", settings=config("fm", options={"batch": k + 2}), lines=10) for k in range(21)]
    done = page(*runs)
    assert len(done.html) < 3_000_000
    assert "3 group(s) are not drawn" in done.text["curves"]
    assert "21 settings in 21 runs" in done.text["verdict"]


def test_the_same_files_give_the_same_bytes(tmp_path: Path):
    runs = [build(tmp_path / "a"), build(tmp_path / "bb", 1)]
    out = tmp_path / "x.html"
    first = write_comparison(runs, out).read_bytes()
    assert write_comparison(runs, out).read_bytes() == first


# -- what is refused


def refused(*runs: Path, match: str, out: Path | None = None) -> None:
    target = out or runs[0].parent / "comparison.html"
    with pytest.raises(RunDirectoryError, match=match):
        write_comparison(runs, target)
    assert out is not None or not target.exists()


def test_no_run_directory_is_refused(tmp_path: Path):
    run = build(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    refused(run, tmp_path / "empty", match="expected a run directory")
    refused(run, tmp_path / "nowhere", match="found no directory there")
    with pytest.raises(RunDirectoryError, match="no run was named"):
        read_groups([])


def test_a_run_given_twice_is_refused_however_it_is_named(tmp_path: Path):
    run = build(tmp_path / "a")
    (tmp_path / "link").symlink_to(run)
    refused(run, run, match="is given twice")
    refused(run, tmp_path / "link", match="are one directory")
    shutil.copytree(run, tmp_path / "copy")
    refused(run, tmp_path / "copy", match="hold the same run")


@pytest.mark.parametrize(
    "change", [{"classes": 100, "class_names": []}, {"shape": [1, 28, 28]}, {"class_names": ["a", "b", "c", "d"]}]
)
def test_another_task_is_refused(tmp_path: Path, change: dict[str, Any]):
    other = build(tmp_path / "bb", 1, manifest={"task": TASK | change})
    refused(build(tmp_path / "a"), other, match="another task")


def test_another_kind_of_task_is_refused(tmp_path: Path):
    refused(build(tmp_path / "a"), build(tmp_path / "bb", 1, row=real_run.TABLE), match="another task .table × classes")


def test_a_tokenizer_that_lies_elsewhere_is_no_other_task(tmp_path: Path):
    runs = [build(tmp_path / name, seed, row=real_run.TOKENS) for seed, name in enumerate(("a", "bb"))]
    for run, name in zip(runs, ("here/tokenizer.json", "there/tokenizer.json")):
        manifest = real_run.read(run, "run.json")
        manifest["task"]["inputs"]["tokenizer"] = name
        real_run.write_json(run, "run.json", manifest)
    assert len(read_groups(runs)) == 1


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path):
    runs = [build(tmp_path / "a"), build(tmp_path / "bb", 1)]
    (tmp_path / "notes.html").write_text("<p>mine</p>")
    refused(*runs, match="no page of sansdata", out=tmp_path / "notes.html")
    assert (tmp_path / "notes.html").read_text() == "<p>mine</p>"
    refused(*runs, match="is a directory", out=runs[0])
    refused(*runs, match="there is no directory", out=tmp_path / "x" / "page.html")


# -- the command


def test_the_command_compares_several_and_reports_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    runs = [str(build(tmp_path / "a")), str(build(tmp_path / "bb", 1))]
    monkeypatch.chdir(tmp_path)
    many = CliRunner().invoke(app, ["report", *runs])
    assert many.exit_code == 0, many.output
    assert Path("comparison.html").is_file()
    one = CliRunner().invoke(app, ["report", runs[0]])
    assert one.exit_code == 0, one.output
    assert one.output.strip() == str(Path(runs[0]) / "report.html")
    elsewhere = CliRunner().invoke(app, ["report", runs[0], "--out", "page.html"])
    assert elsewhere.exit_code == 0, elsewhere.output
    assert "How to reproduce" in Path("page.html").read_text()
    wrong = CliRunner().invoke(app, ["report", runs[0], runs[0]])
    assert isinstance(wrong.exception, RunDirectoryError)
