"""Samples as a person sees them, whatever they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import real_run
from page_of import page

from sansdata.kinds.index import input_kind
from sansdata.report.read import read_run


def images(run: Path) -> int:
    return sum(tag == "img" for tag, _ in page(run).tags)


def test_pictures_are_a_grid(tmp_path: Path):
    run = real_run.build(tmp_path / "run")
    assert images(run) == 4 * 12
    with np.load(run / "samples" / "step-000000008.npz") as file:
        label = int(file["logits"][0].argmax())
    last = page(run).text["samples"].partition("step 8 · last")[2]
    assert last.partition("pixels ")[2].startswith(f"{real_run.NAMES[label]} ")


def test_captions_are_the_teachers_class_and_confidence(tmp_path: Path):
    run = real_run.build(tmp_path / "run")
    logits = np.zeros((2, 4), np.float32)
    logits[0, 3], logits[1, 1] = np.log(9), np.log(3)  # 9/12 and 3/6
    pictures = np.zeros((2, 8, 8, 1), np.uint8)
    np.savez(run / "samples" / "step-000000009.npz", images=pictures, logits=logits)
    text = page(run).text["samples"]
    assert "star 75 %" in text
    assert "square 50 %" in text


def test_rows_are_a_table_with_the_columns_of_the_task_and_their_histograms(tmp_path: Path):
    run = real_run.build(tmp_path / "run", real_run.TABLE)
    done = page(run)
    assert images(run) == 0
    assert "size count doubt colour shape the teacher's answer" in done.text["samples"]
    for name in ("size", "count", "doubt", "colour", "shape"):
        assert f"column {name}" in done.labels
    task = read_run(run).task
    assert task is not None
    kind = input_kind(task)
    with np.load(run / "samples" / "step-000000002.npz") as file:
        first = kind.preview(kind.from_arrays(dict(file)))[0]
    assert " ".join(first.fields.values()) in done.text["samples"]  # type: ignore[union-attr]
    drawn = done.html[done.html.index('aria-label="column colour"') :].split("</svg>")[0]
    assert all(f">{level}<" in drawn for level in ("red", "green", "blue"))
    assert "%" not in drawn  # samples are counted


def test_texts_without_a_tokenizer_are_ids(tmp_path: Path):
    run = real_run.build(tmp_path / "run", real_run.TOKENS)
    assert images(run) == 0
    with np.load(run / "samples" / "step-000000002.npz") as file:
        ids = " ".join(str(token) for token in file["tokens"][0][file["mask"][0]])
    assert ids in page(run).text["samples"]


def test_texts_with_a_tokenizer_are_words(tmp_path: Path):
    library = pytest.importorskip("tokenizers")
    run = real_run.build(tmp_path / "run", real_run.TOKENS)
    words = {f"word{place}": place for place in range(40)}
    tokenizer = library.Tokenizer(library.models.WordLevel(words, unk_token="word0"))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    manifest = real_run.read(run, "run.json")
    manifest["task"]["inputs"]["tokenizer"] = str(tmp_path / "tokenizer.json")
    real_run.write_json(run, "run.json", manifest)
    with np.load(run / "samples" / "step-000000002.npz") as file:
        ids = [int(token) for token in file["tokens"][0][file["mask"][0]]]
    assert " ".join(f"word{token}" for token in ids) in page(run).text["samples"]
    manifest["task"]["inputs"]["tokenizer"] = str(tmp_path / "gone.json")
    real_run.write_json(run, "run.json", manifest)
    done = page(run)
    assert "left out (tokenizer" in done.text["verdict"]
    assert "4 files of samples could not be shown" in done.text["samples"]


def test_a_table_of_many_columns_shows_the_first(tmp_path: Path):
    from sansdata.figures import Record
    from sansdata.report.samples import MAX_COLUMNS, Sample, rows_of

    record = Record({f"c{place}": str(place) for place in range(MAX_COLUMNS + 3)})
    shown = rows_of([Sample(record, "name", "7 %")], 1000)["records"]
    assert len(shown["columns"]) == len(shown["rows"][0]["cells"]) == MAX_COLUMNS
    assert shown["more"] == 3
