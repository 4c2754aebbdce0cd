"""Images with a class for each pixel: what is read, what is refused, and how tiles are cut."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sansdata.datasets.load import load_set
from sansdata.datasets.masks import UNCOUNTED, MaskSet, holds_masks, load_masks, tiles
from sansdata.errors import DataError
from sansdata.tasks import load_task


def drawn(n: int = 6, size: tuple[int, int] = (8, 9), classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (n, *size), dtype=np.uint8), random.integers(0, classes, (n, *size), dtype=np.uint8)


def test_a_file_is_split_in_order_two_thirds_to_one(tmp_path: Path) -> None:
    x, y = drawn(7)
    y[0, 0, 0] = UNCOUNTED
    np.savez(tmp_path / "own.npz", x=x, y=y)
    assert holds_masks(str(tmp_path / "own.npz"))
    train, test = load_masks(str(tmp_path / "own.npz"))
    assert (len(train), len(test), train.classes) == (4, 3, 3)
    assert np.array_equal(np.concatenate([train.images, test.images])[..., 0], x)
    assert np.array_equal(np.concatenate([train.masks, test.masks]), y)


def test_a_file_with_a_class_for_each_image_is_no_set_of_masks(tmp_path: Path) -> None:
    np.savez(tmp_path / "plain.npz", x=drawn()[0], y=np.arange(6))
    assert not holds_masks(str(tmp_path / "plain.npz"))
    assert not holds_masks("mnist")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x, y[:5]), "images .* but masks"),
        (lambda x, y: (x, y[:, :4]), "images .* but masks"),
        (lambda x, y: (x, np.zeros_like(y)), "2 classes or more"),
        (lambda x, y: (x, np.full_like(y, UNCOUNTED)), "2 classes or more"),
        (lambda x, y: (x, y.astype(np.int64) - 1), "within 0..255"),
        (lambda x, y: (x, y.astype(np.int64) + 300), "within 0..255"),
        (lambda x, y: (x, y / 2), "whole numbers"),
        (lambda x, y: (x.astype(np.float32), y), "expected images uint8"),
        (lambda x, y: (x[:1], y[:1]), "at least 2"),
    ],
)
def test_wrong_files_are_told(tmp_path: Path, change, words: str) -> None:
    x, y = change(*drawn())
    np.savez(tmp_path / "own.npz", x=x, y=y)
    with pytest.raises(DataError, match=words):
        load_masks(str(tmp_path / "own.npz"))


def test_known_sets_that_are_not_there_say_where_they_are_looked_for(tmp_path: Path, monkeypatch) -> None:
    for name in ("seg_em", "seg_camvid"):
        monkeypatch.delenv("SANSDATA_DATA", raising=False)
        with pytest.raises(DataError, match=r"SANSDATA_DATA \(not set"):
            load_masks(name)
        monkeypatch.setenv("SANSDATA_DATA", str(tmp_path))
        with pytest.raises(DataError, match=name):
            load_masks(name)


def camvid(folder: Path, count: int = 23, rows: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """A made-up set in CamVid's layout: one grey level and one mask per image."""
    folder.mkdir(parents=True)
    levels, masks = np.arange(count, dtype=np.uint8) * 10, np.zeros((count, 120, 160), np.uint8)
    masks[:, 60:] = (np.arange(count) % 12)[:, None, None]  # 11 is void
    for split in ("train", "val"):
        sheet = np.zeros((rows * 120, 20 * 160, 3), np.uint8)
        for i, level in enumerate(levels):
            row, column = divmod(i, 20)
            sheet[row * 120 : row * 120 + 120, column * 160 : column * 160 + 160] = level
        Image.fromarray(sheet).save(folder / f"{split}_160x120.webp", lossless=True)
        np.savez(folder / f"{split}_160x120_labels.npz", y=masks)
    return levels, masks


def test_camvid_sheets_are_cut_row_by_row_and_void_does_not_count(tmp_path: Path, monkeypatch) -> None:
    levels, masks = camvid(tmp_path / "seg_camvid")
    monkeypatch.setenv("SANSDATA_DATA", str(tmp_path))
    train, test = load_masks("seg_camvid")
    assert len(train) == len(test) == 23
    assert train.images.shape[1:] == (120, 160, 3)
    assert np.array_equal(train.images[:, 50, 70, 0], levels)
    assert train.classes == 11
    assert np.array_equal(train.masks == UNCOUNTED, masks == 11)


def test_a_sheet_of_another_size_is_refused(tmp_path: Path, monkeypatch) -> None:
    camvid(tmp_path / "seg_camvid", count=20, rows=2)
    monkeypatch.setenv("SANSDATA_DATA", str(tmp_path))
    with pytest.raises(DataError, match="not a sheet of 20 tiles"):
        load_masks("seg_camvid")


# -- tiles


def test_tiles_keep_every_pixel_at_its_mask() -> None:
    x, y = drawn(2, (9, 11))
    cut = tiles(MaskSet(x[..., None], y, 3, "made up"), (1, 4, 5), most=100)
    assert cut.images.shape == (8, 4, 5, 1)  # two rows of two a piece, a row and a column of pixels left over
    assert np.array_equal(cut.images[5, ..., 0], x[1, :4, 5:10])
    assert np.array_equal(cut.masks[5], y[1, :4, 5:10])


def test_channels_follow_the_task_and_notes_say_so() -> None:
    x, y = drawn(1)
    cut = tiles(MaskSet(x[..., None], y, 3, "made up"), (3, 4, 4), most=100)
    assert cut.images.shape[3] == 3
    assert any("three channels" in note for note in cut.notes)


def test_at_most_so_many_tiles_evenly_spread() -> None:
    x, y = drawn(6, (4, 4))
    cut = tiles(MaskSet(x[..., None], y, 3, "made up"), (1, 4, 4), most=3)
    assert np.array_equal(cut.images[..., 0], x[[0, 2, 5]])


def test_images_smaller_than_a_tile_are_refused() -> None:
    x, y = drawn()
    with pytest.raises(DataError, match="8x9 are smaller than the task's 28x28"):
        tiles(MaskSet(x[..., None], y, 3, "made up"), (1, 28, 28), most=9)


def test_the_real_sets_are_read_where_they_are(real_data: Path) -> None:
    train, test = load_masks("seg_em")
    assert (train.images.shape, len(test)) == ((20, 256, 256, 1), 10)
    train, test = load_masks("seg_camvid")
    assert (len(train), len(test), train.classes) == (367, 101, 11)


TASK = load_task({"kind": "segmentation", "shape": [1, 4, 4], "classes": 3})


def test_a_set_for_a_task_comes_in_tiles_of_its_size(tmp_path: Path) -> None:
    x, y = drawn(7)
    y[0, 0, 0] = UNCOUNTED
    np.savez(tmp_path / "own.npz", x=x, y=y)
    data = load_set(tmp_path / "own.npz", TASK)
    images, masks = next(data.batches(28))
    assert images.shape == (28, 1, 4, 4)
    assert masks.shape == (28, 4, 4)
    assert int(masks[0, 0, 0]) == UNCOUNTED
    assert np.array_equal(masks[3].numpy(), y[0, 4:8, 4:8])
    with pytest.raises(DataError, match="3 classes and the task 2"):
        load_set(tmp_path / "own.npz", load_task({"kind": "segmentation", "shape": [1, 4, 4], "classes": 2}))
    with pytest.raises(DataError, match="masks are read from"):
        load_set(tmp_path, TASK)


@pytest.mark.parametrize(("name", "shape", "classes"), [
    ("seg_em", [1, 64, 64], 2), ("seg_drive", [3, 96, 96], 2), ("seg_camvid", [3, 60, 80], 11),
])  # fmt: skip
def test_known_sets_are_read(name: str, shape: list[int], classes: int) -> None:
    if not (Path(os.environ.get("SANSDATA_DATA", "")) / name).is_dir() or "SANSDATA_DATA" not in os.environ:
        pytest.skip(f"{name} is not below SANSDATA_DATA")
    task = load_task({"kind": "segmentation", "shape": shape, "classes": classes})
    data = load_set(name, task)
    data.require_fit(task)
    seen = np.unique(data.labels)
    assert set(seen[seen != UNCOUNTED]) == set(range(classes))
