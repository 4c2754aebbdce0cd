"""A pool from outside: what is read, in which order, and what a hostile folder does not do."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import Tiny, make_student, make_teacher

from sansdata.decoding.image_pool import load_pool
from sansdata.engine.run import run
from sansdata.errors import DataError, Interrupted, MethodError, NoDataViolation, ResumeError
from sansdata.report import write_report

GREY = (1, 8, 8)
OPTIONS = {"transfer": {"batch": 8}}


def picture(value: int, size: tuple[int, int] = (8, 8), mode: str = "L") -> Image.Image:
    return Image.new(mode, size, value if mode == "L" else (value, value, value))


def bomb(side: int) -> bytes:
    """A PNG of a kilobyte that claims side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    )


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Four images at three depths, in four formats; by path their values are 10, 20, 30, 40."""
    root = tmp_path / "images"
    (root / "b" / "deep").mkdir(parents=True)
    picture(10).save(root / "a.png")
    picture(20).save(root / "b" / "c.bmp")
    picture(30).save(root / "b" / "deep" / "x.webp", lossless=True)
    picture(40).save(root / "z.PGM", format="PPM")
    return root


def values(pool: Any) -> list[int]:
    return pool.images[:, 0, 0, 0].tolist()


def test_every_image_at_any_depth_in_the_order_of_paths(good: Path) -> None:
    (good / "notes.txt").write_text("not an image, and not counted")
    (good / ".hidden.png").write_bytes(b"nor this")
    (good / ".cache").mkdir()
    picture(99).save(good / ".cache" / "thumb.png")
    pool = load_pool(good, GREY)
    assert values(pool) == [10, 20, 30, 40]
    assert pool.images.dtype == torch.uint8
    assert (pool.files, pool.skipped, len(pool)) == (4, 0, 4)
    assert torch.equal(pool.at(torch.tensor([3, 0]))[:, 0, 0, 0], torch.tensor([40.0, 10.0]) / 255)


def test_the_order_is_not_that_of_the_directory(tmp_path: Path) -> None:
    for number in (5, 1, 9, 3):
        picture(number).save(tmp_path / f"{number}.png")
    assert values(load_pool(tmp_path, GREY)) == [1, 3, 5, 9]


def test_sizes_and_channels_become_the_tasks(tmp_path: Path) -> None:
    picture(100, (40, 16), "RGB").save(tmp_path / "wide.png")
    Image.fromarray(np.full((8, 8, 4), 200, "uint8"), "RGBA").save(tmp_path / "see-through.png")
    pool = load_pool(tmp_path, (3, 6, 10))
    assert tuple(pool.images.shape) == (2, 3, 6, 10)
    assert pool.images[1].unique().tolist() == [100]
    notes = " ".join(pool.notes)
    assert "2 of 2 images: resized" in notes
    assert "1 of 2 images: transparency dropped" in notes


def test_the_hash_is_over_names_and_bytes_of_what_was_used(good: Path) -> None:
    first = load_pool(good, GREY)
    again = load_pool(good, GREY)
    assert first.sha256 == again.sha256
    assert first.size == sum(path.stat().st_size for path in good.rglob("*.*") if path.is_file())
    (good / "a.png").rename(good / "aa.png")
    renamed = load_pool(good, GREY)
    assert renamed.sha256 != first.sha256
    picture(11).save(good / "aa.png")
    assert load_pool(good, GREY).sha256 not in (first.sha256, renamed.sha256)


@pytest.fixture
def hostile(good: Path) -> Path:
    """Six good images (10, 20, 30, 40, 50, 60) among six that cannot be read."""
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), "uint8")).save(whole, format="PNG")
    (good / "cut.png").write_bytes(whole.getvalue()[:900])
    (good / "bomb.png").write_bytes(bomb(9_000))
    (good / "text.png").write_text("#!/bin/sh\necho I am not an image\n")
    (good / "empty.jpg").write_bytes(b"")
    (good / "link.png").symlink_to("/etc/hostname")
    os.mkfifo(good / "pipe.png")
    picture(50).save(good / "zz.png")
    picture(60).save(good / "zzz.png")
    return good


def test_broken_files_are_skipped_and_counted(hostile: Path) -> None:
    pool = load_pool(hostile, GREY)
    assert values(pool) == [10, 20, 30, 40, 50, 60]
    assert (pool.files, pool.skipped) == (12, 6)
    (told,) = [note for note in pool.notes if "skipped" in note]
    assert "6 of 12" in told
    assert "bomb.png: 9000x9000 pixels; at most 64,000,000 are read" in told


def test_a_bomb_beyond_any_limit_is_not_unpacked(good: Path) -> None:
    (good / "bomb.png").write_bytes(bomb(2**31 - 1))
    assert load_pool(good, GREY).skipped == 1


def test_a_linked_folder_is_not_entered_not_even_in_a_circle(good: Path) -> None:
    (good / "round").symlink_to(good)
    (good / "away").symlink_to("/usr/share")
    assert len(load_pool(good, GREY)) == 4


def test_a_file_too_large_is_not_read(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(good / "huge.png", "wb") as file:
        file.truncate(2**30)  # sparse
    pool = load_pool(good, GREY)
    assert pool.skipped == 1
    assert "larger than 256 MiB" in " ".join(pool.notes)


def test_more_than_half_broken_is_refused(good: Path) -> None:
    for number in range(5):
        (good / f"bad{number}.png").write_text("no")
    with pytest.raises(DataError, match="5 of 9 image files cannot be read, more than 50%"):
        load_pool(good, GREY)


def test_a_name_cannot_forge_a_line(good: Path) -> None:
    (good / "x\nsealed: done\x1b[2J.png").write_text("no")
    (told,) = [note for note in load_pool(good, GREY).notes if "skipped" in note]
    assert told.isprintable()


def test_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.txt").write_text("hello")
    (tmp_path / "list.csv").write_text("a,b")
    with pytest.raises(DataError, match="no image files"):
        load_pool(tmp_path / "empty", GREY)
    with pytest.raises(DataError, match="does not exist"):
        load_pool(tmp_path / "nowhere", GREY)
    with pytest.raises(DataError, match="neither a folder nor"):
        load_pool(tmp_path / "list.csv", GREY)
    with pytest.raises(DataError, match="cannot be opened"):
        load_pool("a\0b", GREY)


def test_more_than_memory_is_refused_before_it_is_taken(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sansdata.decoding.image_pool.MAX_SET_BYTES", 255)
    with pytest.raises(DataError, match=r"4 images of 8x8x1 take 0\.0 GiB"):
        load_pool(good, GREY)


def test_an_archive_of_images(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), "uint8")
    path = tmp_path / "pool.npz"
    np.savez(path, x=images, y=np.zeros(5))
    pool = load_pool(path, GREY)
    assert np.array_equal(pool.images[:, 0].numpy(), images)
    assert pool.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    colour = load_pool(path, (3, 4, 4))
    assert tuple(colour.images.shape) == (5, 3, 4, 4)
    np.savez(path, x=np.zeros((0, 8, 8), "uint8"))
    with pytest.raises(DataError, match="no images"):
        load_pool(path, GREY)
    np.savez(path, x=np.zeros((2, 8, 8), "float32"))
    with pytest.raises(DataError, match="uint8"):
        load_pool(path, GREY)


# -- in a run


def test_the_run_names_its_pool(hostile: Path, tiny: Tiny, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(tiny.settings("pool-kd", OPTIONS, pool=str(hostile)), out)
    pool = load_pool(hostile, GREY)
    (entry,) = [one for one in json.loads((out / "ledger.json").read_text())["files"] if one["role"] == "pool"]
    assert entry["sha256"] == pool.sha256
    assert entry["bytes"] == pool.size
    assert (entry["files"], entry["skipped"]) == (10, 6)  # neither the link nor the pipe was opened
    assert Path(entry["path"]) == hostile
    manifest = json.loads((out / "run.json").read_text())
    assert manifest["pool"] == pool.describe()
    (warning,) = [
        w for w in json.loads((out / "summary.json").read_text())["warnings"] if w["name"] == "pool files skipped"
    ]
    assert warning["value"] == 6
    assert "6 of 12 files skipped" in (out / "events.log").read_text()
    page = write_report(out).read_text()
    assert "not the teacher&#39;s training data" in page
    assert "images of the pool" in page
    assert "generated" not in page


def test_a_method_that_needs_a_pool_says_how_to_give_one(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(MethodError, match="--pool DIR"):
        run(tiny.settings("pool-kd", OPTIONS, pool=None), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_pool_that_nobody_reads_is_refused(good: Path, tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(MethodError, match="'noise' reads no pool: leave --pool out"):
        run(tiny.settings("noise", OPTIONS, pool=str(good)), tmp_path / "run")


def test_a_pool_lets_nothing_else_in(good: Path, tiny: Tiny, tmp_path: Path) -> None:
    """The folder beside the pool, whose name begins like the pool's, is still closed to a strict run."""
    beside = good.with_name(good.name + "-more")
    beside.mkdir()
    picture(1).save(beside / "a.png")

    def peek(step: int, losses: dict[str, float]) -> None:
        Image.open(beside / "a.png").load()

    with pytest.raises(NoDataViolation, match="images-more"):
        run(tiny.settings("pool-kd", OPTIONS, pool=str(good)), tmp_path / "run", on_step=peek)


def test_a_changed_pool_cannot_be_resumed(good: Path, tiny: Tiny, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = tiny.settings("pool-kd", OPTIONS, pool=str(good), engine={"checkpoint_seconds": 0.001})

    def stop(step: int, losses: dict[str, float]) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        run(settings, out, on_step=stop)
    picture(77).save(good / "new.png")
    with pytest.raises(ResumeError, match="pool was"):
        run(settings, out, resume=True)
    (good / "new.png").unlink()
    run(settings, out, resume=True)
    assert (out / "student.safetensors").is_file()


def test_from_python(good: Path, tmp_path: Path) -> None:
    import sansdata

    result = sansdata.distill(
        make_teacher(), make_student(), "pool-kd", "4steps", tmp_path / "run", pool=good, settings={"threads": 1},
        options={**OPTIONS, "share": 0.5}, strict=True,
    )  # fmt: skip
    assert result.summary["cost"]["samples"] == 32
