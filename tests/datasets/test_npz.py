"""Hostile and merely wrong .npz files: each is refused with its reason, quickly and without the memory it claims."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
from memory_limit import memory_within

from sansdata.datasets import npz
from sansdata.datasets.fit import numbers
from sansdata.datasets.images import load_images
from sansdata.decoding.arrays import read_arrays
from sansdata.errors import DataError
from sansdata.tasks import ImageTask

TASK = ImageTask(shape=(1, 8, 8), classes=4, mean=(0,), std=(1,), class_names=("a", "b", "c", "d"))
X = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
Y = np.arange(6) % 4


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64, ">i4"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_good_files(tmp_path, dtype, save):
    save(tmp_path / "x.npz", x=X, y=Y.astype(dtype)[:, None])
    data = load_images(tmp_path / "x.npz", TASK)
    assert np.array_equal(data.images[..., 0], X)
    assert data.labels.tolist() == Y.tolist()
    assert data.class_names == TASK.class_names
    assert data.source.endswith("x.npz")


def test_a_subset_of_the_classes_is_fine(tmp_path):
    np.savez(tmp_path / "x.npz", x=X, y=np.zeros(6, int))
    assert len(load_images(tmp_path / "x.npz", TASK).class_names) == 4


def test_a_large_label_makes_no_names(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(npz, "numbers", lambda classes: made.append(classes) or numbers(classes))
    np.savez(tmp_path / "x.npz", x=X, y=np.full(6, 5999))
    with pytest.raises(DataError, match=r"for a task of 4 classes: 6 label\(s\) outside 0\.\.3"):
        load_images(tmp_path / "x.npz", TASK)
    np.savez(tmp_path / "x.npz", x=X, y=np.full(6, 2**40))
    with pytest.raises(DataError, match="outside"):
        load_images(tmp_path / "x.npz")
    assert made == []


def test_fortran_order_and_colour(tmp_path):
    colour = np.asfortranarray(np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8))
    np.savez(tmp_path / "x.npz", x=colour, y=Y)
    assert np.array_equal(load_images(tmp_path / "x.npz").images, colour)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": X}, "expected one array 'y'; it has: x"),
        ({"y": Y}, "expected one array 'x'"),
        ({"images": X, "labels": Y}, "it has: images, labels"),
        ({"x": X.astype(np.float32) / 255, "y": Y}, "must be uint8.*astype"),
        ({"x": X.astype(np.int64), "y": Y}, "must be uint8"),
        ({"x": X > 3, "y": Y}, "must be uint8"),
        ({"x": X[0], "y": Y}, r"must have shape \(N, H, W\)"),
        ({"x": X[:, None], "y": Y}, "1 or 3 channels on the last axis"),
        ({"x": X[..., None, None], "y": Y}, "must have shape"),
        ({"x": np.uint8(3), "y": Y}, "must have shape"),
        ({"x": X[:5], "y": Y}, "5 images but 6 labels"),
        ({"x": X[:0], "y": Y[:0]}, "no images"),
        ({"x": X[:, :0], "y": Y}, "no images"),
        ({"x": X, "y": Y + 1}, r"outside 0\.\.3, the first is 4"),
        ({"x": X, "y": Y - 1}, "labels from -1"),
        ({"x": X, "y": Y.astype(float)}, "must be whole numbers"),
        ({"x": X, "y": Y > 1}, "must be whole numbers"),
        ({"x": X, "y": np.eye(6, 4, dtype=int)}, "must be whole numbers"),
        ({"x": X, "y": Y.astype(str)}, "must be whole numbers"),
        ({"x": X, "y": np.full(6, 2**64 - 1, np.uint64)}, "beyond int64"),
        ({"x": X, "y": np.full(6, 2**62)}, r"outside 0\.\.3"),
        ({"x": X, "y": np.array([{}] * 6, object)}, "Python objects"),
        ({"x": np.array([b"x"] * 6, object), "y": Y}, "Python objects"),
        ({"x": np.zeros(6, [("a", object)]), "y": Y}, "Python objects"),
        ({f"a{i}": np.zeros(1) for i in range(1001)}, "1,001 arrays"),
    ],
)
def test_wrong_contents(tmp_path, arrays, words):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=words):
        load_images(tmp_path / "x.npz", TASK)


def header(shape, descr="|u1", version=(1, 0)):
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode() + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", len(text)) + text


def member(array):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array)
    return buffer.getvalue()


class Canary:
    """Unpickling it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (header((10**12, 8, 8)) + bytes(64), "GiB"),
        (header((2**62, 2**62, 2**62)) + bytes(64), "GiB"),
        (header((10**6, 8, 8)) + bytes(64), "cannot hold that"),
        (header((10**300,)) + bytes(64), "GiB"),
        (header((-6, 8, 8)) + bytes(384), "no shape"),
        (header((-6, -8, 8)) + bytes(384), "no shape"),
        (header((6, 8, 8), "|S99999999999999999999")[:60], "cannot be read"),
        (header((6, 8, 8)) + bytes(383), "shorter than its shape"),
        (header((6, 8, 8)) + bytes(385), "longer than its shape"),
        (header((6, 8, 8), version=(9, 9)) + bytes(384), r"version 9\.9"),
        (header("six") + bytes(384), "cannot be read"),
        (header((6, 8, 8), "nonsense") + bytes(384), "cannot be read"),
        (b"\x93NUMPY\x01\x00\xff\xff{" + b"(" * 60_000, "description of 65,535 bytes"),
        (header((6, 8, 8), [("a", "|u1", (8, 8))]) + bytes(384), "save a plain array"),
        (header((6, 8, 8), "|S0"), "save a plain array"),
        (b"\x93NUMPY\x01\x00\x10\x00", "cannot be read"),
        (b"no array at all", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_arrays_that_lie(tmp_path, x, words):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", x)
        archive.writestr("y.npy", member(Y))
    with pytest.raises(DataError, match=words):
        load_images(tmp_path / "x.npz", TASK)


def test_a_long_description_and_a_long_table_of_contents_are_not_read(tmp_path):
    """800 MB of description took 1.5 GB, in a file of 3.5 MB."""
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        length = 200 * 2**20
        archive.writestr("x.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", length) + b" " * length)
        archive.writestr("y.npy", member(Y))
    with memory_within(30), pytest.raises(DataError, match="description of 209,715,200 bytes"):
        load_images(tmp_path / "x.npz", TASK)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for i in range(20_000):
            archive.writestr(f"{i:0100d}.npy", b"")
    with pytest.raises(DataError, match="table of contents is far too long"):
        load_images(tmp_path / "x.npz", TASK)


def test_pickles_are_never_run(tmp_path):
    canary = tmp_path / "canary"
    payload = pickle.dumps(Canary(str(canary)))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", header((1,), "|O") + payload)
        archive.writestr("y.npy", payload)
    with pytest.raises(DataError, match="Python objects"):
        load_images(tmp_path / "x.npz", TASK)
    (tmp_path / "z.npz").write_bytes(payload)
    with pytest.raises(DataError, match="cannot be read"):
        load_images(tmp_path / "z.npz", TASK)
    assert not canary.exists()


def good_bytes():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=X, y=Y)
    return buffer.getvalue()


@pytest.mark.parametrize("keep", [0, 1, 30, 200, -1])
def test_truncated_archives(tmp_path, keep):
    (tmp_path / "x.npz").write_bytes(good_bytes()[:keep])
    with pytest.raises(DataError, match="cannot be read"):
        load_images(tmp_path / "x.npz", TASK)


def test_every_flipped_byte_is_an_error_or_harmless(tmp_path):
    original = good_bytes()
    refused = 0
    for at in range(0, len(original), 7):
        broken = bytearray(original)
        broken[at] ^= 0x55
        (tmp_path / "x.npz").write_bytes(broken)
        try:
            data = load_images(tmp_path / "x.npz", TASK)
        except DataError:
            refused += 1
        else:  # bytes that carry nothing: times, attributes
            assert np.array_equal(data.images[..., 0], X)
            assert data.labels.tolist() == Y.tolist()
    assert refused > 50


def test_an_array_twice_and_an_encrypted_one(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", member(X))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", member(X + 1))
    with pytest.raises(DataError, match="expected one array 'x'"):
        load_images(tmp_path / "x.npz", TASK)
    locked = bytearray(good_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(signature) + offset] |= 1
    (tmp_path / "x.npz").write_bytes(locked)
    with pytest.raises(DataError, match="encrypted"):
        load_images(tmp_path / "x.npz", TASK)


# -- all arrays of a file


def test_all_arrays_are_read_within_their_bound(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", x=X, y=Y)
    size = X.nbytes + Y.nbytes
    with open(tmp_path / "x.npz", "rb") as file:
        arrays = read_arrays(file, "x.npz", size)
    assert list(arrays) == ["x", "y"]
    assert np.array_equal(arrays["x"], X)
    assert np.array_equal(arrays["y"], Y)
    with open(tmp_path / "x.npz", "rb") as file, pytest.raises(DataError, match="more than"):
        read_arrays(file, "x.npz", size - 1)


def test_an_array_that_stands_twice_or_holds_objects_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.array([{}], dtype=object))
    with open(tmp_path / "x.npz", "rb") as file, pytest.raises(DataError, match="Python objects"):
        read_arrays(file, "x.npz", 10**6)
    with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
        archive.writestr("x.npy", b"")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("x.npy", b"")
    with open(tmp_path / "y.npz", "rb") as file, pytest.raises(DataError, match="2 arrays of 1 names"):
        read_arrays(file, "y.npz", 10**6)
