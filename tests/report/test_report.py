"""The page as a colleague gets it: right figures, nothing from outside."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import real_run
from page_of import HOSTILE, Page, page, percent

from sansdata.errors import RunDirectoryError
from sansdata.report import write_report
from sansdata.report.card import card_of

TITLES = [
    "How to reproduce", "Curves", "Samples over time", "What the samples are like", "Selection without data", "Cost",
    "Warnings", "On real data", "No-data ledger",
]  # fmt: skip
WORLDS = (real_run.IMAGE, real_run.TABLE, real_run.TOKENS)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return real_run.build(tmp_path / "shapes-run")


def headings(done: Page) -> list[tuple[str, str]]:
    return re.findall(r"<h2><span class=\"number\">(\d+)</span>(.*?)</h2>", done.html)


def test_with_data_each_section_says_its_figures(run: Path):
    measured, manifest = real_run.evaluation(), real_run.read(run, "run.json")
    summary = real_run.read(run, "summary.json")
    cost, samples = summary["cost"], summary["samples"]
    done = page(run, measured)
    assert headings(done) == [(str(i), title) for i, title in enumerate(TITLES, 1)]
    ratio = manifest["teacher"]["parameters"] / manifest["student"]["parameters"]
    low, high = measured["accuracy_interval"]
    wanted = {
        "verdict": [f"Accuracy {percent(measured['accuracy'])} on 40 real images (95 % interval {percent(low)} to "
                    f"{percent(high)})", f"the teacher has {percent(measured['teacher_accuracy'])}",
                    f"agree on {percent(measured['agreement'])}", f"{ratio:.3g}× smaller", "after 8 of 8 planned steps",
                    "budget: 8 steps", "strict, clean", "done", "dafl",
                    f"always naming the most frequent class: {percent(measured['majority_share'])}"],
        "reproduce": [real_run.COMMAND, manifest["config_hash"], f"torch {manifest['versions']['torch']}", "fp32",
                      "image × classes: normalised images, 1 x 8 x 8", "4 classes", "mean 0.5; std 0.25",
                      "chance level 25.0 %", "7 BatchNorm layers", "budget: 8steps"],
        "curves": ["acquire", "one_hot", "transfer", "match", "learning rate", "agreement with the teacher", "8 line"],
        "samples": ["step 2 · first", "step 8 · last", "12 of 16 samples, 8×8 pixels"],
        "figures": [f"{samples['class_entropy']:.3g}", percent(samples["confidence"]), percent(samples["saturated"]),
                 f"{samples['late_class_entropy']:.3g}", "late class entropy", "Taken on 64 generated images"],
        "selection": ["256 probes", "64 samples", percent(summary["score"]["last"], 2),
                      percent(summary["agreement"]["last"], 2), percent(measured["over_time"]["4"], 2)],
        "cost": ["scoring at the end", f"{cost['samples']:,}", f"{cost['teacher_forwards']:,}", "images made",
                 f"{cost['student_backwards']:,}", "peak memory"],
        "warnings": [summary["warnings"][0]["name"]],
        "evaluation": [percent(measured["accuracy"], 2), f"{measured['ece']:.3g}", f"{measured['brier']:.3g}",
                       "On 40 real images of", "data.npz", "Most frequent confusions"],
        "ledger": ["teacher.safetensors", "teacher", "strict, clean"],
    }  # fmt: skip
    for section, texts in wanted.items():
        for text in texts:
            assert text in done.text[section], (section, text)


@pytest.mark.parametrize("row", WORLDS)
def test_every_figure_of_the_files_is_on_the_page(tmp_path: Path, row: str):
    run = real_run.build(tmp_path / "run", row)
    measured = real_run.evaluation(row)
    real_run.write_json(run, "evaluation.json", measured)
    done = page(run)
    for section, tree in (("figures", real_run.read(run, "summary.json")), ("evaluation", measured)):
        assert len(tree["figures"]) > 5
        for one in tree["figures"]:
            name = one["name"].replace("_", " ")
            assert name in done.text[section]
            if "shape" in one:
                assert any((label or "").startswith(name) for label in done.labels), name


@pytest.mark.parametrize("row", WORLDS)
def test_an_evaluated_run_has_its_reliability_and_confusion_drawn(tmp_path: Path, row: str):
    done = page(real_run.build(tmp_path / "run", row), real_run.evaluation(row))
    assert "reliability diagram" in done.labels
    assert "confusion, in per cent of each row" in done.labels
    assert "reliability diagram" not in page(tmp_path / "run").labels


@pytest.mark.parametrize(("row", "unit"), [*zip(WORLDS, ("images", "rows", "texts"))])
def test_the_page_speaks_of_what_the_run_is_about(tmp_path: Path, row: str, unit: str):
    done = page(real_run.build(tmp_path / "run", row))
    assert f"64 generated {unit}" in done.text["verdict"]
    assert f"{unit} made" in done.text["cost"]
    if unit != "images":
        assert not [section for section, text in done.text.items() if "image" in text and section != "reproduce"]


def test_the_lead_of_a_run_without_data_can_be_acted_on(run: Path):
    summary, done = real_run.read(run, "summary.json"), page(run)
    text = done.text["verdict"]
    assert re.search(r"done dafl .*A student [\d.]+× smaller than its teacher, after 8 of 8 planned steps\.", text)
    assert f"agree on {percent(summary['agreement']['last'])} of 64 generated images (guessing: 25.0 %)" in text
    assert f"Score {percent(summary['score']['last'])} on 256 probes (guessing: at least 25.0 %)" in text
    assert "only labelled real data tells: sansdata report shapes-run --data DATA" in text
    assert "It is not accuracy: no real example was used" in done.text["selection"]
    assert "not measured on real data" in done.text["evaluation"]
    assert "Accuracy" not in text


def test_the_score_stands_beside_those_of_other_runs_of_the_teacher(tmp_path: Path):
    own = real_run.build(tmp_path / "own")
    assert "No other run of this teacher lies in the same folder" in page(own).text["verdict"]
    for name, score in (("high", 0.9), ("low", 0.1), ("middle", 0.5)):
        run = real_run.build(tmp_path / name)
        summary = real_run.read(run, "summary.json")
        real_run.change(run, "summary.json", score=summary["score"] | {"last": score})
    real_run.change(own, "summary.json", score=real_run.read(own, "summary.json")["score"] | {"last": 0.4})
    ranked = (
        "Of the 4 runs of this teacher in the same folder it is number 3 by it; the others have between 90.0 % (high)"
    )
    assert f"{ranked} and 10.0 % (low)" in page(own).text["verdict"]


def test_runs_that_do_not_compare_and_damaged_ones_stand_beside_none(tmp_path: Path):
    own = real_run.build(tmp_path / "own")
    other = real_run.build(tmp_path / "other teacher")
    real_run.change(other, "run.json", teacher=real_run.read(other, "run.json")["teacher"] | {"fingerprint": "other"})
    fewer = real_run.build(tmp_path / "fewer probes")
    real_run.change(fewer, "summary.json", score={"last": 0.9, "probes": 3})
    (real_run.build(tmp_path / "damaged") / "summary.json").write_text("[" * 100_000)
    (tmp_path / "linked").symlink_to(real_run.build(tmp_path / "elsewhere" / "run"))
    (tmp_path / "file").write_text("x")
    assert "No other run of this teacher lies in the same folder" in page(own).text["verdict"]


def test_a_constant_answer_is_no_success_on_an_uneven_set(run: Path):
    """74.2 % on a set of which 74.2 % are one class: the page led with the accuracy alone."""
    text = page(run, real_run.constant_answers()).text["verdict"]
    assert "always naming the most frequent class is right on 75.0 %, guessing on 25.0 %" in text
    assert "averaged over the classes the student has 25.0 %" in text
    assert "That the student is any better is not shown. Every answer is 'circle'." in text
    better = real_run.evaluation()
    real_run.figure(better, "accuracy").update(value=0.95, interval=[0.9, 0.98])
    assert "is not shown" not in page(run, better).text["verdict"]


def test_without_a_score_agreement_stands_alone(tmp_path: Path):
    done = page(real_run.build(tmp_path / "run", real_run.TABLE))
    assert "Score" not in done.text["verdict"]
    assert "All snapshots were scored together on the same 64 generated rows" in done.text["selection"]


def test_an_earlier_snapshot_that_does_better_is_named(run: Path):
    summary = real_run.read(run, "summary.json")
    chosen, *_, last = snapshots = summary["selection"]["snapshots"]
    chosen["score"], last["score"], summary["selection"]["best_step"] = 0.47, 0.42, chosen["step"]
    real_run.write_json(run, "summary.json", summary)
    best = f"Preferred snapshot: step {chosen['step']} ,"
    assert f"{best} score 47.00 %; the last student has 42.00 %" in page(run).text["selection"]
    for one in snapshots:  # a method that has a measure of its own
        one["validation"] = 0.9 if one is chosen else 0.8
    summary["selection"]["by"] = "validation"
    real_run.write_json(run, "summary.json", summary)
    assert f"{best} validation 90.00 %; the last student has 80.00 %" in page(run).text["selection"]


def test_accuracy_over_time_stands_beside_agreement_where_it_was_measured(run: Path):
    measured = real_run.evaluation(over_time={"4": 0.77531})
    assert "77.53 %" in page(run, measured).text["selection"]
    del measured["over_time"]
    assert "77.53 %" not in page(run, measured).text["selection"]


def test_the_runs_own_evaluation_is_used_and_an_argument_comes_first(run: Path):
    measured = real_run.evaluation()
    real_run.figure(measured, "accuracy")["value"] = 0.5
    real_run.write_json(run, "evaluation.json", measured)
    assert "Accuracy 50.0 %" in page(run).text["verdict"]
    given = real_run.evaluation()
    assert f"Accuracy {percent(given['accuracy'])}" in page(run, given).text["verdict"]


def test_numbering_has_no_gaps_where_a_section_is_missing(run: Path):
    (run / "summary.json").unlink()
    done = page(run)
    assert [number for number, _ in headings(done)] == [str(n) for n in range(1, 9)]
    assert "Selection without data" not in dict(headings(done)).values()
    assert re.findall(r'<a href="#(\w+)">\s*(\d) ', done.html)[-1] == ("ledger", "8")


def test_a_figure_that_is_better_low_says_so(run: Path):
    done = page(run, real_run.evaluation())
    row = done.html[done.html.index('<th scope="row">ece') :].split("</tr>")[0]
    assert "↓" in row
    row = done.html[done.html.index('<th scope="row">accuracy') :].split("</tr>")[0]
    assert "↑" in row


def test_tuples_will_do_and_a_class_without_examples_is_not_a_bad_one(run: Path):
    measured = real_run.evaluation()
    bars = real_run.figure(measured, "per_class")
    bars["data"] = (None, 0.5, 0.25, 1.0)
    accuracy = real_run.figure(measured, "accuracy")
    accuracy["interval"] = tuple(accuracy["interval"])
    done = page(run, measured)
    assert "95 % interval" in done.text["verdict"]
    assert "1 without a value is left out" in done.text["evaluation"]
    by_class = done.html[done.html.index('aria-label="per class"') :].split("</svg>")[0]
    assert ">square<" in by_class
    assert ">circle<" not in by_class


def test_one_point_of_agreement_is_no_curve_and_queries_are_a_panel_of_their_own(run: Path):
    lines = real_run.lines(run)
    assert "agreement with the teacher" in page(run).text["curves"]
    assert "agreement by teacher queries" in page(run).text["curves"]
    real_run.write_lines(run, [{k: v for k, v in line.items() if k != "queries"} for line in lines])
    assert "agreement by teacher queries" not in page(run).text["curves"]
    real_run.write_lines(run, [{k: v for k, v in line.items() if k != "agreement"} for line in lines[:-1]] + lines[-1:])
    assert "agreement" not in page(run).text["curves"].replace("agreement and learning rate", "")


def test_a_finding_of_a_shape_that_nobody_writes_yet_is_drawn(run: Path):
    summary = real_run.read(run, "summary.json")
    summary["figures"] += [
        {"name": "some_curve", "shape": "curve", "data": {"one": [[0, 1], [1, 2]], "two": [[0, 0], [3, 5]]}},
        {"name": "odd", "shape": "pie", "data": [1, 2]}, {"name": "late", "value": None}, "text",
    ]  # fmt: skip
    real_run.write_json(run, "summary.json", summary)
    done = page(run)
    assert "some curve" in done.labels
    assert "summary.json: 3 of its figures could not be read" in done.text["verdict"]


def test_nothing_comes_from_outside(run: Path):
    done = page(run, real_run.evaluation())
    assert "http:" not in done.html
    assert "https:" not in done.html
    assert not re.search(r"@import|url\((?!#)", done.html)
    for tag, attributes in done.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "srcset", "action"):
                assert (value or "").startswith(("#", "data:image/")), (tag, name, value)


@pytest.mark.parametrize("row", WORLDS)
def test_ids_are_unique_and_what_a_drawing_refers_to_is_there(tmp_path: Path, row: str):
    done = page(real_run.build(tmp_path / "run", row), real_run.evaluation(row))
    ids = [attributes["id"] for _, attributes in done.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', done.html))
    assert used
    assert {a or b for a, b in used} <= set(ids)


def test_drawings_are_sound_and_follow_the_theme(run: Path):
    done = page(run, real_run.evaluation())
    drawings = re.findall(r"<svg .*?</svg>", done.html, flags=re.DOTALL)
    losses = real_run.lines(run)[-1]["losses"]
    assert len(drawings) == len(losses) + 3 + 1 + 1 + 3  # agreement, by queries, learning rate
    for drawing in drawings:
        ET.fromstring(drawing)
        assert "var(--" in drawing
        assert "#010101" not in drawing


def test_hostile_names_are_text_everywhere(run: Path):
    manifest = real_run.change(run, "run.json", command=HOSTILE, method=HOSTILE, status=HOSTILE, forced=[HOSTILE])
    manifest["teacher"]["source"] = HOSTILE
    manifest["task"]["class_names"] = [HOSTILE, *real_run.NAMES[1:]]
    real_run.write_json(run, "run.json", manifest)
    real_run.write_lines(run, real_run.many_lines(20, (HOSTILE, f"{HOSTILE}/{HOSTILE}")))
    (run / "config.yaml").write_text(f"# {HOSTILE[:-1]}\n", encoding="utf-8")
    real_run.change(run, "ledger.json", mode=HOSTILE, violations=[{"path": HOSTILE}])
    figures = [{"name": HOSTILE, "value": 1.5, "unit": HOSTILE, "meaning": HOSTILE, "better": HOSTILE},
               {"name": HOSTILE, "shape": "bars", "data": [1, 2], "meaning": HOSTILE, "labels": [HOSTILE, HOSTILE]},
               {"name": "curves", "shape": "curve", "data": {HOSTILE: [[0, 1], [2, 3]]}}]  # fmt: skip
    warning = {"name": HOSTILE, "value": HOSTILE, "text": HOSTILE}
    real_run.change(run, "summary.json", warnings=[warning], figures=figures, unit=HOSTILE)
    done = page(run, real_run.evaluation(source=HOSTILE, notes=[HOSTILE]))
    assert "<script" not in done.html.lower()
    assert "<script>alert(1)</script>" in done.text["warnings"]
    assert "<script>alert(1)</script>" in done.text["figures"]
    assert "<script>" in done.text["samples"]  # as the name of a class
    assert not any(name.startswith("on") for _, attributes in done.tags for name in attributes)


def test_violations_are_red_and_counted(run: Path):
    undeclared = [{"path": "/data/cifar/test_batch", "event": "open", "when": "step 12"}]
    real_run.change(run, "ledger.json", mode="record", violations=undeclared)
    done = page(run)
    assert "1 undeclared read" in done.text["verdict"]
    assert "/data/cifar/test_batch" in done.text["ledger"]
    assert 'class="violations"' in done.html
    assert "clean" not in done.text["ledger"]


def test_violations_beyond_those_that_are_listed_count_and_a_ledger_that_cannot_be_read_is_not_clean(run: Path):
    undeclared = [{"path": "/data/cifar/test_batch", "event": "open", "when": "step 12"}]
    real_run.change(run, "ledger.json", mode="record", violations=undeclared, undeclared=76_900)
    assert "76,900 undeclared reads" in page(run).text["verdict"]
    (run / "ledger.json").write_text('{"mode": "strict", "files": [], "violations": 3}')
    assert "cannot be read" in page(run).text["ledger"]
    assert "Undeclared reads were recorded" in card_of(run)


def test_what_could_not_be_followed_and_processes_without_an_end_are_on_the_page(run: Path):
    unwatched = [{"what": "a native library", "name": "libreader.so", "when": "then"}]
    ended = {"ended": "then", "bytes_read": {"counted": 2_500_000, "seen": 3_000_000}}
    real_run.change(run, "ledger.json", unwatched=unwatched, processes=[{"ended": None, "bytes_read": None}, ended])
    done = page(run)
    assert "strict, clean as far as seen" in done.text["verdict"]
    for text in ("libreader.so", "1 thing happened that it could not follow", "sum of 2 processes, of which 1 did not",
                 "2.5 MB", "3.0 MB", "It does not see"):  # fmt: skip
        assert text in done.text["ledger"], text


def test_everything_large_at_once_stays_below_three_megabytes(tmp_path: Path):
    run = real_run.build(tmp_path / "large")
    for path in (run / "samples").iterdir():
        path.unlink()
    task = real_run.large_task()
    figures, measured = real_run.large_figures(task)
    real_run.change(run, "run.json", task=task.model_dump(mode="json"))
    real_run.change(run, "summary.json", figures=figures)
    losses = tuple(f"phase{i % 3}/{'very-long-name-' * 8}{i}" for i in range(60))
    real_run.write_lines(run, real_run.many_lines(2_000, losses))
    for step in range(8):
        real_run.write_grid(run, step, task)
    path = write_report(run, measured)
    assert path.stat().st_size < 3_000_000
    done = Page(path)
    assert len(re.findall(r"<svg ", done.html)) == 60 + 3 + 2 + 3
    assert "8 grids were kept; these are spread over the run. The method" in done.text["samples"]
    assert "Lowest: class" in done.text["evaluation"]


def test_a_table_of_many_columns_draws_some_and_counts_the_rest(run: Path):
    bars = [{"name": f"column {n}", "shape": "bars", "data": [n, 1], "meaning": "by level"} for n in range(45)]
    real_run.change(run, "summary.json", figures=bars)
    done = page(run)
    assert sum((label or "").startswith("column ") for label in done.labels) == 40
    assert "5 further drawing(s)" in done.text["figures"]


def test_a_hundred_thousand_lines_are_thinned_and_keep_their_peak(run: Path):
    from sansdata.report.plots import thin

    real_run.write_lines(run, real_run.many_lines(100_000))
    path = write_report(run)
    assert path.stat().st_size < 500_000
    assert "100,000 line(s)" in Page(path).text["curves"]
    values = [1.0] * 100_000
    values[54_321] = 99.0
    x, y, _, smooth = thin(range(100_000), values, 150)
    assert len(x) == len(y) <= 300
    assert max(y) == 99.0
    assert max(smooth) < 2


def test_the_same_files_give_the_same_bytes(run: Path):
    first = write_report(run, real_run.evaluation()).read_bytes()
    assert write_report(run, real_run.evaluation()).read_bytes() == first
    assert [path.name for path in run.glob(".report*")] == []


def test_the_callers_own_plots_are_left_alone(run: Path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    write_report(run)
    assert dict(matplotlib.rcParams) == before


def test_no_run_directory_is_said_so(tmp_path: Path):
    with pytest.raises(RunDirectoryError, match="no directory"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(RunDirectoryError, match="expected a run directory"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
