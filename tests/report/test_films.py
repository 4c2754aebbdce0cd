"""A run on clips, from the command's settings to a page with films in it that opens without anything else."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image
from tiny import WORLDS

import sansdata
from sansdata.figures import Film
from sansdata.report.media import film_uri
from sansdata.report.samples import Sample, rows_of


def frames_of(uri: str) -> int:
    head, _, content = uri.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(content))).n_frames


def test_a_film_is_an_animation_within_its_bytes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, 96, 96, 1), dtype=np.uint8)
    assert frames_of(film_uri(noise // 8, 50.0, 4_000_000)) == 24
    small = film_uri(noise, 50.0, 30_000)
    assert len(small) < 60_000
    assert frames_of(small) >= 6


def test_a_film_stands_with_its_curves_below() -> None:
    film = Film(np.zeros((4, 8, 8, 3), np.uint8), 10.0, {"teacher": [1, 2, 3, 2], "student": [1, 2, 2, 2]})
    (row,) = rows_of([Sample(film, "ventricle", "9 %")], 10_000)["films"]
    assert row["size"] == "4 frames of 8×8"
    assert "teacher" in row["svg"]
    assert "student" in row["svg"]
    orange, blue = (row["svg"].index(f"var(--{colour})") for colour in ("orange", "blue"))
    assert orange < blue, "the teacher's curve has another colour than its contour"


def test_a_run_on_clips_ends_with_a_page_of_films(tmp_path: Path) -> None:
    world = WORLDS["clips"]
    result = sansdata.distill(
        world.teacher(), world.student(), "echo-dfkd", "6steps", tmp_path / "run", strict=True,
        options={"pool": 6, "clips_per_move": 3, "transfer": {"batch": 3}},
        settings={"threads": 1, "engine": {"snapshots": 2, "sample_grids": 1}},
    )  # fmt: skip
    assert result.summary["unit"] == "clips"
    with np.load(tmp_path / "run" / "kept.npz") as kept:
        assert kept["clips"].shape == (6, 4, 8, 8, 1)
        assert kept["logits"].dtype == kept["y"].dtype == np.uint8
    score = sansdata.evaluate(result, tmp_path / "run" / "kept.npz", teacher=world.teacher())
    assert 0 <= score.mean_iou <= 1
    page = sansdata.report(tmp_path / "run")
    text = Path(page).read_text()
    assert "data:image/webp;base64" in text
    assert "the mask's share of the frame" in text
    assert "how sure it is.\nContours: orange the teacher&#39;s, blue the student&#39;s." in text
    assert not re.search(r"(src|href)=.https?:", text)
