"""Runs from before figures said what they are: old_run/ holds the files of one, with the keys of that time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import real_run
from page_of import page

from sansdata.report import write_comparison

OLD = Path(__file__).parent / "old_run"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    shutil.copytree(OLD, tmp_path / "old")
    return tmp_path / "old"


def test_the_fixture_is_of_that_time():
    for name in ("summary.json", "evaluation.json"):
        assert "figures" not in real_run.read(OLD, name)
    assert "unit" not in real_run.read(OLD, "summary.json")


def test_its_figures_have_their_rows(run: Path):
    done = page(run)
    wanted = {
        "verdict": ["Accuracy 86.4 % on 10,000 real images (95 % interval 85.7 % to 87.1 %); the teacher has 95.1 %",
                    "Student and teacher agree on 88.2 % of them", "7.61×", "budget: 10m", "90.9 % of the teacher"],
        "reproduce": ["image × classes: normalised images, 3 x 32 x 32", "10 classes", "chance level 10.0 %",
                      "mean 0.4914, 0.4822, 0.4465; std 0.247, 0.2435, 0.2616"],
        "figures": ["class entropy 0.953", "confidence 88.3 %", "late class entropy 0.912", "saturated 6.2 %",
                    "pairwise distance 0.241"],
        "selection": ["512 generated images", "Preferred snapshot: step 2,500", "84.23 %", "83.17 %", "77.50 %"],
        "cost": ["5 min 10 s", "3 min 48 s", "3,210", "1,502", "6,020", "3,001", "1.8 GB", "184,320", "images made"],
        "warnings": ["class imbalance", "0.31", "4 classes have less"],
        "evaluation": ["accuracy 86.42 % ↑", "ece 0.0471 ↓", "brier 0.203", "kl 0.402", "agreement 88.17 %",
                       "teacher accuracy 95.12 %", "mean confidence 91.10 %", "above the accuracy: too sure of itself",
                       "Images were resized", "Most frequent confusions"],
    }  # fmt: skip
    for section, texts in wanted.items():
        for text in texts:
            assert text in done.text[section], (section, text)


def test_its_drawings_are_drawn_with_the_names_of_the_classes(run: Path):
    done = page(run)
    for label in ("class histogram", "per class", "reliability diagram", "confusion, in per cent of each row"):
        assert label in done.labels
        if label != "reliability diagram":
            drawn = done.html[done.html.index(f'aria-label="{label}"') :].split("</svg>")[0]
            assert ">automobile<" in drawn


def test_confidence_near_the_accuracy_is_no_fault(run: Path):
    evaluation = real_run.read(run, "evaluation.json")
    evaluation["mean_confidence"] = evaluation["accuracy"] + 0.019
    assert "too sure" not in page(run, evaluation).text["evaluation"]


def test_its_pictures_are_shown(run: Path):
    (run / "samples").mkdir()
    images = np.zeros((3, 32, 32, 3), np.uint8)
    np.savez(run / "samples" / "step-000600.npz", images=images, logits=np.eye(10, dtype=np.float32)[:3])
    assert "automobile" in page(run).text["samples"]


def test_histograms_that_are_none_are_left_out(run: Path):
    summary = real_run.read(run, "summary.json")
    for histogram in ([], [0, 0], [-1, 2], ["a"], 7):
        summary["samples"]["class_histogram"] = histogram
        real_run.write_json(run, "summary.json", summary)
        done = page(run)
        assert "class histogram" not in done.labels
        assert "class entropy" in done.text["figures"]


def test_it_stands_beside_a_run_of_its_kind(run: Path, tmp_path: Path):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    real_run.change(other, "run.json", seed=8, config_hash="b", started="2026-01-03T00:00:00+00:00")
    (other / "config.yaml").write_text("method: fm\nbudget: 10m\nseed: 8\n")
    real_run.change(other, "evaluation.json", accuracy=0.8442)
    text = json.dumps(write_comparison([run, other], tmp_path / "c.html").read_text())
    assert "85.4" in text  # the mean of both accuracies
    assert "Accuracy on real data" in text
