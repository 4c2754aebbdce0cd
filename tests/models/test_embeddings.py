"""Class embeddings from outside: good files in both formats, and hostile or merely wrong ones refused with a reason."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sansdata.errors import ConfigError
from sansdata.models import embeddings
from sansdata.models.embeddings import orthonormal, read_embeddings

ROWS = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_files_are_read(tmp_path: Path, dtype, save) -> None:
    save(tmp_path / "e.npz", anything=ROWS.astype(dtype))
    got = read_embeddings(tmp_path / "e.npz", 4)
    assert got.dtype == torch.float32
    assert np.allclose(got.numpy(), ROWS.astype(dtype).astype(np.float32))


def test_fortran_order_and_the_named_array_among_several(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", other=np.ones(3), embeddings=np.asfortranarray(ROWS))
    assert np.array_equal(read_embeddings(tmp_path / "e.npz", 4).numpy(), ROWS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_safetensors_files_are_read(tmp_path: Path, dtype) -> None:
    values = torch.from_numpy(ROWS).to(dtype)
    save_file({"embeddings": values, "other": torch.ones(1)}, tmp_path / "e.safetensors")
    assert torch.equal(read_embeddings(tmp_path / "e.safetensors", 4), values.float())


EQUAL = np.stack([ROWS[0], ROWS[1], ROWS[2], ROWS[0]])
WRONG = [
    (ROWS[:3], r"expected one row per class, \(4, D\), got \(3, 6\)"),
    (ROWS[:, :0], "expected one row per class"),
    (ROWS[0], "expected one row per class"),
    (ROWS[None], "expected one row per class"),
    (np.float32(1), "expected one row per class"),
    (np.where(ROWS > 1, np.nan, ROWS), "not finite"),
    (np.full((4, 6), 1e300), "not finite"),
    (ROWS.astype(np.int64), "floating-point"),
    (EQUAL, "two classes have the same embedding"),
]


@pytest.mark.parametrize(("values", "words"), WRONG)
def test_wrong_arrays_are_refused(tmp_path: Path, values, words) -> None:
    np.savez(tmp_path / "e.npz", embeddings=values)
    with pytest.raises(ConfigError, match=words):
        read_embeddings(tmp_path / "e.npz", 4)
    if values.dtype != np.float64:  # safetensors of the same
        save_file({"embeddings": torch.from_numpy(np.array(values))}, tmp_path / "e.safetensors")
        with pytest.raises(ConfigError, match=words):
            read_embeddings(tmp_path / "e.safetensors", 4)


def test_text_and_complex_numbers_are_refused(tmp_path: Path) -> None:
    for values in (np.array([["a"] * 6] * 4), ROWS.astype(np.complex64)):
        np.savez(tmp_path / "e.npz", embeddings=values)
        with pytest.raises(ConfigError, match="expected floating-point numbers"):
            read_embeddings(tmp_path / "e.npz", 4)


class Runs:
    """Would leave a file behind if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_pickled_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", embeddings=np.array([Runs(tmp_path / "ran")] * 4, dtype=object))
    with pytest.raises(ConfigError, match="holds Python objects"):
        read_embeddings(tmp_path / "e.npz", 4)
    (tmp_path / "p.npz").write_bytes(pickle.dumps(Runs(tmp_path / "ran")))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_embeddings(tmp_path / "p.npz", 4)
    assert not (tmp_path / "ran").exists()


def claiming(path: Path, shape: tuple[int, ...], body: bytes) -> None:
    """A .npz whose array says it has another shape than its bytes."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("embeddings.npy", header.getvalue() + body)


@pytest.mark.parametrize("shape", [(4, 10**12), (4, 7), (4, 5), (-4, -6)])
def test_a_size_is_not_believed(tmp_path: Path, shape) -> None:
    claiming(tmp_path / "e.npz", shape, ROWS.tobytes())
    with pytest.raises(ConfigError, match=r"claims shape|longer than its shape|shorter than its shape|cannot be read"):
        read_embeddings(tmp_path / "e.npz", 4)


def test_what_unpacks_to_more_than_the_limit_is_not_read_whole(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(embeddings, "MAX_BYTES", 10_000)
    claiming(tmp_path / "e.npz", (4, 250_000), bytes(4_000_000))
    assert (tmp_path / "e.npz").stat().st_size < 10_000
    with pytest.raises(ConfigError, match=r"claims shape \(4, 250000\): more than"):
        read_embeddings(tmp_path / "e.npz", 4)
    (tmp_path / "big.safetensors").write_bytes(bytes(10_001))
    with pytest.raises(ConfigError, match="at most 10,000 bytes"):
        read_embeddings(tmp_path / "big.safetensors", 4)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0")
    (tmp_path / "folder.npz").mkdir()
    np.savez(tmp_path / "two.npz", a=ROWS, b=ROWS)
    np.savez(tmp_path / "none.npz")
    torch.save({"embeddings": torch.from_numpy(ROWS)}, tmp_path / "e.pt")
    for name, words in (
        ("missing.npz", "cannot be read"), ("empty.npz", "cannot be read"), ("cut.safetensors", "truncated"),
        ("folder.npz", "no regular file"), ("two.npz", "it has: a, b"), ("none.npz", "it has: nothing"),
        ("e.pt", "in a .npz or .safetensors file"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            read_embeddings(tmp_path / name, 4)


@pytest.mark.parametrize(("classes", "size"), [(2, 2), (10, 512), (30, 31)])
def test_embeddings_stand_at_right_angles(classes, size):
    rows = orthonormal(classes, size, torch.Generator().manual_seed(3))
    assert rows.shape == (classes, size)
    assert (rows @ rows.T - torch.eye(classes)).abs().max() < 1e-5
    assert torch.equal(rows, orthonormal(classes, size, torch.Generator().manual_seed(3)))
    assert not torch.equal(rows, orthonormal(classes, size, torch.Generator().manual_seed(4)))
