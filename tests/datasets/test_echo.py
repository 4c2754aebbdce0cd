"""Folders as EchoNet-Dynamic and CAMUS have them, written here: what is read, and what is refused."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sansdata.datasets.echo import camus, echonet
from sansdata.decoding.avi import read_avi
from sansdata.decoding.nifti import read_nifti
from sansdata.errors import DataError

SIZE = (32, 40)


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def avi(frames: np.ndarray, fps: int = 40) -> bytes:
    """An MJPEG film: a header, then a list of JPEG pictures."""
    pictures = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=95)
        pictures.append(chunk(b"00dc", buffer.getvalue()))
    header = chunk(b"LIST", b"hdrl" + chunk(b"avih", struct.pack("<I", 1_000_000 // fps) + bytes(52)))
    body = b"AVI " + header + chunk(b"LIST", b"movi" + b"".join(pictures))
    return chunk(b"RIFF", body)


def nifti(values: np.ndarray) -> bytes:
    """values (x, y, t) int16."""
    header = bytearray(348)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *values.shape, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 4, 16)
    struct.pack_into("<f", header, 108, 352.0)
    header[344:348] = b"n+1\0"
    return gzip.compress(bytes(header) + bytes(4) + values.astype("<i2").tobytes(order="F"))


@pytest.fixture
def dynamic(tmp_path: Path) -> Path:
    (tmp_path / "Videos").mkdir()
    frames = np.full((6, *SIZE, 3), 60, np.uint8)
    for name in ("0XAB", "0XCD"):
        (tmp_path / "Videos" / f"{name}.avi").write_bytes(avi(frames))
    (tmp_path / "FileList.csv").write_text("FileName,EF,FPS,Split\n0XAB,55.5,40,TEST\n0XCD,30,40,TRAIN\n")
    rows = ["FileName,X1,Y1,X2,Y2,Frame"]
    for frame, half in ((4, 6), (1, 10)):  # the smaller one first, as some releases have it
        rows.append(f"0XAB.avi,20,4,20,28,{frame}")
        rows += [f"0XAB.avi,{20 - half},{y},{20 + half},{y},{frame}" for y in range(5, 28, 2)]
    (tmp_path / "VolumeTracings.csv").write_text("\n".join(rows))
    return tmp_path


def test_echonet_dynamic_is_read_and_the_larger_tracing_is_the_full_one(dynamic: Path) -> None:
    (film,) = echonet(dynamic)
    assert film.frames.shape == (6, *SIZE, 3)
    assert np.abs(film.frames.astype(int) - 60).max() <= 2
    assert (film.name, film.ef, film.fps) == ("0XAB", 55.5, 40.0)
    assert (tuple(film.ed), tuple(film.es), list(film.traced)) == ((1,), (4,), [4, 1])
    assert film.masks[1].sum() == pytest.approx(21 * 23, rel=0.05)
    assert film.masks[1].sum() > film.masks[0].sum()
    (untraced,) = echonet(dynamic, "train")
    assert len(untraced.masks) == len(untraced.ed) == 0
    assert len(list(echonet(dynamic, "all"))) == 2


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("FileList.csv", b"FileName,EF,FPS,Split\n../0XAB,1,2,TEST\n", "expected letters"),
        ("FileList.csv", b"FileName,EF,FPS,Split\n0XAB,much,40,TEST\n", "expected a number"),
        ("FileList.csv", b"FileName,EF,FPS,Split\n0XCD\n0XAB,inf,40,TEST\n", "'EF' of a row"),
        ("FileList.csv", b"FileName,EF\n" + b"x" * 200_000, "cannot be read as a table"),
        ("VolumeTracings.csv", b"FileName,X1,Y1,X2,Y2,Frame\n0XAB.avi,1,1,1,1,nan\n", "'Frame' of a row"),
        ("VolumeTracings.csv", b"FileName,X1,Y1,X2,Y2,Frame\n0XAB.avi,1,1,1,1,1e999\n", "'Frame' of a row"),
        ("Videos/0XAB.avi", b"RIFF1234WAVE", "no AVI file; convert"),
        ("Videos/0XAB.avi", chunk(b"RIFF", b"AVI " + chunk(b"LIST", b"movi" + chunk(b"00dc", b"nothing"))), "no JPEG"),
        ("Videos/0XAB.avi", chunk(b"RIFF", b"AVI "), "0 frames"),
    ],
)
def test_damaged_folders_are_told(dynamic: Path, file: str, content: bytes, words: str) -> None:
    (dynamic / file).write_bytes(content)
    with pytest.raises(DataError, match=words):
        list(echonet(dynamic))


def test_a_film_that_lies_about_its_sizes_is_cut_where_it_ends(tmp_path: Path) -> None:
    whole = avi(np.zeros((3, 16, 16, 3), np.uint8))
    (tmp_path / "a.avi").write_bytes(whole[:12] + whole[12:].replace(struct.pack("<I", len(whole)), b"\xff" * 4))
    assert read_avi(tmp_path / "a.avi")[0].shape == (3, 16, 16, 3)


def test_all_frames_of_a_film_have_one_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.avi").write_bytes(avi(np.zeros((3, 16, 16, 3), np.uint8)))
    monkeypatch.setattr("sansdata.decoding.avi.MAX_FILM_PIXELS", 3 * 256)
    assert len(read_avi(tmp_path / "a.avi")[0]) == 3
    monkeypatch.setattr("sansdata.decoding.avi.MAX_FILM_PIXELS", 3 * 256 - 1)
    with pytest.raises(DataError, match="in all its frames"):
        read_avi(tmp_path / "a.avi")


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    folder = tmp_path / "patient0001"
    folder.mkdir()
    pictures, masks = np.zeros((40, 32, 5), np.int16), np.zeros((40, 32, 5), np.int16)
    for frame in range(5):
        masks[10 : 20 - frame, 8:20, frame] = 1
        masks[25:30, :, frame] = 2
        pictures[..., frame] = 100 + frame
    (folder / "patient0001_4CH_half_sequence.nii.gz").write_bytes(nifti(pictures))
    (folder / "patient0001_4CH_half_sequence_gt.nii.gz").write_bytes(nifti(masks))
    (folder / "Info_4CH.cfg").write_text("ED: 1\nES: 5\nNbFrame: 5\nSex: F\nEF: 48\nFrameRate: 51.5\n")
    return tmp_path


def test_camus_is_read_frame_by_frame(patients: Path) -> None:
    (film,) = camus(patients)
    assert film.frames.shape == (5, 32, 40, 1)
    assert film.frames[3, 0, 0, 0] == 103
    assert [int(mask.sum()) for mask in film.masks] == [12 * wide for wide in (10, 9, 8, 7, 6)]
    assert (tuple(film.ed), tuple(film.es), film.ef, film.fps) == ((0,), (4,), 48.0, 51.5)
    (small,) = camus(patients, size=20)
    assert small.frames.shape == (5, 20, 20, 1)
    assert small.masks.shape == (5, 20, 20)


@pytest.mark.parametrize("end", ["ED: nan", "ES: inf"])
def test_an_event_that_is_no_number_is_none(patients: Path, end: str) -> None:
    info = patients / "patient0001" / "Info_4CH.cfg"
    lines = [line for line in info.read_text().splitlines() if not line.startswith(end[:2])]
    info.write_text("\n".join([*lines, end]))
    with pytest.raises(DataError, match="of 5 frames"):
        list(camus(patients))


def test_damaged_volumes_are_told(patients: Path) -> None:
    file = patients / "patient0001" / "patient0001_4CH_half_sequence.nii.gz"
    whole = file.read_bytes()
    plain = gzip.decompress(whole)
    huge = bytearray(plain)
    struct.pack_into("<8h", huge, 40, 3, 30_000, 30_000, 30_000, 1, 1, 1, 1)
    for content, words in (
        (whole[:40], "cannot be read"), (b"nothing at all", "no NIfTI-1 file; convert"), (plain[:-2], "ends before"),
        (bytes(huge), "more than"),
    ):  # fmt: skip
        file.write_bytes(content)
        with pytest.raises(DataError, match=words):
            read_nifti(file)
    file.write_bytes(nifti(np.zeros((4, 4, 5), np.int16)))
    with pytest.raises(DataError, match=r"pictures .* and masks"):
        list(camus(patients))
