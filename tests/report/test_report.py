"""The page as a colleague gets it: right figures, nothing from outside, and good with whatever a run left behind."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import fake_run
import pytest

from sansdata.errors import RunDirectoryError
from sansdata.report import write_report

TITLES = [
    "How to reproduce", "Curves", "Samples over time", "Samples as the teacher sees them", "Selection without data",
    "Cost", "Warnings", "On real data", "No-data ledger",
]  # fmt: skip
HOSTILE = "<script>alert(1)</script>\"' onload=x $\\frac{ & 猫 \u202e\x00"
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Collects tags and text by section, and checks that every tag is closed in order."""

    def __init__(self, path: Path):
        super().__init__(convert_charrefs=True)
        self.html = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self.here = "top"
        self.feed(self.html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("section", "header"):
            self.here = dict(attrs)["id"] or ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            words = " ".join(data.split())  # no-break spaces too
            self.text[self.here] = (
                (self.text.get(self.here, "") + " " + words).strip() if words else self.text.get(self.here, "")
            )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return fake_run.build(tmp_path / "cifar-run")


def page(run: Path, evaluation: dict | None = None) -> Page:
    return Page(write_report(run, evaluation))


def test_with_data_each_section_says_its_figures(run: Path):
    done = page(run, fake_run.evaluation())
    assert re.findall(r"<h2><span class=\"number\">(\d+)</span>(.*?)</h2>", done.html) == [
        (str(i + 2), title) for i, title in enumerate(TITLES)
    ]
    wanted = {
        "verdict": ["86.4 % of real examples", "95 % interval 85.7 % to 87.1 %", "the teacher gets 95.1 %",
                    "88.2 % of them",
                    "7.61×", "budget: 10m", "strict, clean", "done", "fm", "90.9 % of the teacher"],
        "reproduce": ["sansdata distill --teacher resnet34.safetensors", "9f1c2ab77d01", "torch 2.13.0", "bf16",
                      "9 min 15 s", "2026-01-02 03:04:05 UTC", "budget: 10m", "36 BatchNorm layers", "15.6 GB"],
        "curves": ["acquire", "adversarial", "transfer", "kl", "learning rate", "agreement with the teacher",
                   "300 line"],
        "samples": ["step 600 · first", "step 3,000 · last", "12 of 16 samples, 32×32 pixels"],
        "seen": ["0.953", "88.3 %", "6.2 %", "0.241", "Most frequent: ship"],
        "selection": ["512 generated", "Preferred snapshot: step 2,500", "84.23 %", "83.17 %"],
        "cost": ["5 min 10 s", "3 min 48 s", "412,000", "3,210", "1,502", "6,020", "3,001", "1.8 GB", "184,320"],
        "warnings": ["class imbalance", "0.31", "4 classes have less"],
        "evaluation": ["86.42 %", "0.0471", "0.203", "0.402", "Images were resized", "Most frequent confusions"],
        "ledger": ["resnet34.safetensors", "teacher", "ab12ab12ab12", "85.2 MB", "strict, clean"],
    }  # fmt: skip
    for section, texts in wanted.items():
        for text in texts:
            assert text in done.text[section], (section, text)
    assert "ab12" * 4 not in done.html  # hashes are short


def test_accuracy_over_time_stands_beside_agreement_where_it_was_measured(run: Path):
    last = "77.50 %"
    assert last in " ".join(page(run, fake_run.evaluation()).text.values())
    without = fake_run.evaluation()
    del without["over_time"]
    assert last not in " ".join(page(run, without).text.values())


def test_without_data_agreement_is_never_called_accuracy(run: Path):
    done = page(run)
    assert "names the same class as the teacher on 83.2 % of 512 generated samples" in done.text["verdict"]
    assert "This is agreement, not accuracy" in done.text["verdict"]
    assert "not measured on real data" in done.text["evaluation"]
    assert "real examples right" not in done.html


def test_the_score_comes_first_and_says_what_it_is(run: Path):
    fake_run.write_json(run, "summary.json", fake_run.scored(fake_run.summary()))
    done = page(run)
    assert "Score 42.0 %: the student's answers overlap so far with the teacher's on 256 probes" in done.text["verdict"]
    assert "It is not accuracy: no real example was used" in done.text["verdict"]
    assert "On 512 generated samples of the run itself they agree on 83.2 %" in done.text["verdict"]
    assert "Preferred snapshot: step 2,500 , score 47.00 %; the last student has 42.00 %" in done.text["selection"]
    assert "84.23 %" in done.text["selection"]  # agreement stands beside it


def test_the_runs_own_evaluation_is_used_and_an_argument_comes_first(run: Path):
    fake_run.write_json(run, "evaluation.json", fake_run.evaluation() | {"accuracy": 0.5})
    assert "gets 50.0 % of real examples" in page(run).text["verdict"]
    assert "gets 86.4 % of real examples" in page(run, fake_run.evaluation()).text["verdict"]


def test_tuples_will_do_and_a_class_without_examples_is_not_a_bad_one(run: Path):
    given = fake_run.evaluation()
    given["per_class"] = (None, *given["per_class"][1:])
    given["accuracy_interval"] = tuple(given["accuracy_interval"])
    given["confusion"], given["reliability"] = tuple(map(tuple, given["confusion"])), tuple(given["reliability"])
    done = page(run, given)
    assert "95 % interval 85.7 % to 87.1 %" in done.text["verdict"]
    assert "1 class(es) had no examples" in done.text["evaluation"]
    by_class = done.html[done.html.index('aria-label="accuracy by class"') :].split("</svg>")[0]
    assert ">automobile<" in by_class
    assert ">airplane<" not in by_class
    assert 'aria-label="reliability diagram"' in done.html
    assert 'aria-label="confusion matrix' in done.html


def test_captions_are_the_teachers_class_and_confidence(run: Path):
    import numpy as np

    images = np.zeros((2, 8, 8, 1), np.uint8)
    logits = np.zeros((2, 10), np.float32)
    logits[0, 3], logits[1, 8] = np.log(9 * 3), np.log(9)  # 27/36 and 9/18
    np.savez(run / "samples" / "step-009999.npz", images=images, logits=logits)
    text = page(run).text["samples"]
    assert "cat 75 %" in text
    assert "ship 50 %" in text


def test_nothing_comes_from_outside(run: Path):
    done = page(run, fake_run.evaluation())
    assert "http:" not in done.html
    assert "https:" not in done.html
    assert not re.search(r"@import|url\((?!#)", done.html)
    for tag, attributes in done.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "srcset", "action"):
                assert (value or "").startswith(("#", "data:image/")), (tag, name, value)


def test_ids_are_unique_and_what_a_drawing_refers_to_is_there(run: Path):
    done = page(run, fake_run.evaluation())
    ids = [attributes["id"] for _, attributes in done.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', done.html))
    assert used
    assert {a or b for a, b in used} <= set(ids)


def test_drawings_are_sound_and_follow_the_theme(run: Path):
    done = page(run, fake_run.evaluation())
    drawings = re.findall(r"<svg .*?</svg>", done.html, flags=re.DOTALL)
    assert len(drawings) == 4 + 2 + 1 + 1 + 3
    for drawing in drawings:
        ET.fromstring(drawing)
        assert "var(--" in drawing
        assert "#010101" not in drawing


def test_hostile_names_are_text_everywhere(run: Path):
    names = (HOSTILE, *fake_run.CIFAR[1:])
    manifest = fake_run.manifest(names, command=HOSTILE, method=HOSTILE, status=HOSTILE, forced=[HOSTILE])
    manifest["teacher"]["source"] = HOSTILE
    fake_run.write_json(run, "run.json", manifest)
    fake_run.write_lines(run, fake_run.metrics(20, (HOSTILE, f"{HOSTILE}/{HOSTILE}")))
    (run / "config.yaml").write_text(f"# {HOSTILE[:-1]}\n", encoding="utf-8")
    fake_run.write_json(run, "ledger.json", fake_run.ledger(mode=HOSTILE, violations=[{"path": HOSTILE}]))
    summary = fake_run.summary()
    summary["warnings"] = [{"name": HOSTILE, "value": HOSTILE, "text": HOSTILE}]
    fake_run.write_json(run, "summary.json", summary)
    done = page(run, fake_run.evaluation() | {"source": HOSTILE, "notes": [HOSTILE]})
    assert "<script" not in done.html.lower()
    assert "<script>alert(1)</script>" in done.text["warnings"]
    assert "<script>" in done.text["evaluation"]  # as a class name in the drawings
    assert not any(name.startswith("on") for _, attributes in done.tags for name in attributes)


def test_half_a_surrogate_pair_does_not_stop_the_page(run: Path):
    (run / "run.json").write_text('{"command": "sansdata \\ud800 distill", "status": "done"}', encoding="utf-8")
    assert "sansdata ? distill" in page(run).text["reproduce"]


@pytest.mark.parametrize("file", ["run.json", "plan.json", "summary.json", "ledger.json", "evaluation.json"])
@pytest.mark.parametrize(
    "content", ["", "{", "[1, 2]", "null", '{"cost": 3, "task": [], "files": {"a": 1}}', "[" * 9999]
)
def test_a_damaged_file_costs_its_section_only(run: Path, file: str, content: str):
    (run / file).write_text(content, encoding="utf-8")
    done = page(run)
    assert "step 600" in done.text["samples"]
    readable = content == "" or content.startswith('{"')
    assert (f"Left out: {file}" in done.text["verdict"]) is not readable


def test_values_of_the_wrong_kind_are_left_out(run: Path):
    def spoil(value: object) -> object:
        if isinstance(value, dict):
            return {key: spoil(inner) for key, inner in value.items()}
        return [{"odd": None}, "x"] if isinstance(value, int | float) else 3 if isinstance(value, list) else None

    for file in ("run", "plan", "summary", "ledger"):
        path = run / f"{file}.json"
        path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    done = page(run, spoil(fake_run.evaluation()))  # type: ignore[arg-type]
    assert "What this student is worth" in done.text["verdict"] or "So far" in done.text["verdict"]


def test_a_run_that_has_just_begun(tmp_path: Path):
    fake_run.write_json(tmp_path, "run.json", fake_run.manifest(status="running", ended=None, seconds=0.0))
    done = page(tmp_path)
    assert "has not been measured yet" in done.text["verdict"]
    assert "Nothing was logged yet" in done.text["curves"]
    assert "kept no sample images" in done.text["samples"]
    assert "Not checked" in done.text["warnings"]
    assert "no record of what was read" in done.text["ledger"]


def test_an_interrupted_run_shows_what_there_is(run: Path):
    fake_run.write_json(run, "run.json", fake_run.manifest(status="interrupted", ended=None))
    (run / "summary.json").unlink()
    text = page(run).text
    assert "So far the student agrees with the teacher on" in text["verdict"]
    assert "--resume" in text["verdict"]
    assert "Counted on the images of section 4 only" in text["seen"]


def test_one_line_of_metrics_and_a_torn_last_line(run: Path):
    text = json.dumps(fake_run.metrics(1)[0]) + '\n{"step": 10, "loss'
    (run / "metrics.jsonl").write_text(text, encoding="utf-8")
    done = page(run)
    assert "acquire" in done.text["curves"]
    assert "1 line(s) could not be read" in done.text["verdict"]


def test_values_that_are_not_finite_are_counted_not_drawn(run: Path):
    lines = fake_run.metrics(50)
    for i in range(7):
        lines[i]["losses"]["transfer/kl"] = (float("nan"), float("inf"), 1e308)[i % 3]
    for line in lines:
        line["losses"]["acquire/gone"] = float("nan")
    fake_run.write_lines(run, lines)
    text = page(run).text["curves"]
    assert "7 value(s) not finite" in text
    assert "50 value(s) not finite" in text


def test_what_a_resumed_run_logged_twice_counts_once(run: Path):
    from sansdata.report.read import read_run

    lines = fake_run.metrics(10)
    again = [line | {"losses": {"transfer/kl": 5.0}} for line in fake_run.metrics(10)[6:]]
    fake_run.write_lines(run, lines + again)
    series = read_run(run).metrics.losses["transfer/kl"]
    assert list(series.steps) == [10.0 * i for i in range(6)] + [60.0, 70.0, 80.0, 90.0]
    assert list(series.values[-4:]) == [5.0] * 4


def test_violations_are_red_and_counted(run: Path):
    seen = [{"path": "/data/cifar/test_batch", "event": "open", "when": "step 12"}]
    fake_run.write_json(run, "ledger.json", fake_run.ledger(mode="record", violations=seen))
    done = page(run)
    assert "1 undeclared read" in done.text["verdict"]
    assert "/data/cifar/test_batch" in done.text["ledger"]
    assert 'class="violations"' in done.html
    assert "clean" not in done.text["ledger"]


def test_everything_large_at_once_stays_below_three_megabytes(tmp_path: Path):
    run = fake_run.build(tmp_path / "large", grids=0, lines=10)
    names = tuple(f"class {label}" for label in range(1000))
    fake_run.write_json(run, "run.json", fake_run.manifest(names))
    fake_run.write_json(run, "summary.json", fake_run.summary(1000))
    losses = tuple(f"phase{i % 3}/{'very-long-name-' * 8}{i}" for i in range(60))
    fake_run.write_lines(run, fake_run.metrics(2_000, losses))
    for step in range(8):
        fake_run.write_grid(run, step, 224, classes=1000)
    path = write_report(run, fake_run.evaluation(1000))
    assert path.stat().st_size < 3_000_000
    done = Page(path)
    assert len(re.findall(r"<svg ", done.html)) == 60 + 2 + 2 + 3
    assert "8 grids were kept; these are spread over the run. The method" in done.text["samples"]


def test_a_hundred_thousand_lines_are_thinned_and_keep_their_peak(run: Path):
    from sansdata.report.plots import thin

    fake_run.write_lines(run, fake_run.metrics(100_000, ("transfer/kl",)))
    path = write_report(run)
    assert path.stat().st_size < 500_000
    assert "100,000 line(s)" in Page(path).text["curves"]
    values = [1.0] * 100_000
    values[54_321] = 99.0
    x, y, _, smooth = thin(range(100_000), values, 150)
    assert len(x) == len(y) <= 300
    assert max(y) == 99.0
    assert max(smooth) < 2


@pytest.mark.parametrize("content", [b"", b"PK not a zip", b"\x93NUMPY"])
def test_a_broken_grid_is_named_and_the_others_stay(run: Path, content: bytes):
    (run / "samples" / "step-000600.npz").write_bytes(content)
    text = page(run).text
    assert "Left out: samples/step-000600.npz" in text["verdict"]
    assert "step 1,200" in text["samples"]


def test_pickles_in_a_grid_are_not_opened(run: Path):
    import numpy as np

    np.savez(run / "samples" / "step-000600.npz", images=np.array([object()]), logits=np.zeros((1, 10)))
    assert "Left out: samples/step-000600.npz" in page(run).text["verdict"]


def test_the_same_files_give_the_same_bytes(run: Path):
    first = write_report(run, fake_run.evaluation()).read_bytes()
    assert write_report(run, fake_run.evaluation()).read_bytes() == first
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
