"""Files of weights that lie, are cut, or would run code: each refused by name, fast, and nothing in them runs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import resource
import struct
import tarfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sansdata.errors import TeacherError, UnsafeFileError
from sansdata.models.torch_file import LEGACY_MAGIC
from sansdata.teachers.weights import check_tensors, read_weights

CANARY = "canary"
SECONDS, MEGABYTES = 3.0, 200


class Calls:
    """Pickles to a call."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def canary_command() -> str:
    return f"touch {CANARY}"


# -- builders of files: bytes from plain parts


def saved(value, legacy: bool = False) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, _use_new_zipfile_serialization=not legacy)
    return out.getvalue()


def rezipped(change: Callable[[dict[str, bytes]], None], compress: int = zipfile.ZIP_STORED, value=None) -> bytes:
    """A file of torch.save with its parts changed."""
    source = zipfile.ZipFile(io.BytesIO(saved({"w": torch.arange(4.0)} if value is None else value)))
    parts = {name: source.read(name) for name in source.namelist()}
    change(parts)
    return zipped(parts, compress)


def zipped(parts: dict[str, bytes], compress: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compress) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def with_pickle(content: bytes) -> bytes:
    return rezipped(lambda parts: parts.update({"archive/data.pkl": content}))


def legacy_with(content: bytes) -> bytes:
    """The format before torch 1.6, with `content` in the place of the objects."""
    head = LEGACY_MAGIC + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    return head + content + pickle.dumps([], 2)


def safetensors_file(header, body: bytes = b"", length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + body


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


EIGHT = bytes(8)
GOOD = saved({"w": torch.arange(64.0)})
GOOD_LEGACY = saved({"w": torch.arange(64.0)}, legacy=True)
GOOD_SAFE = safetensors_file({"w": entry()}, EIGHT)


def system(protocol: int) -> bytes:
    return pickle.dumps({"w": Calls(os.system, canary_command())}, protocol)


def storage_pickle(numel: int) -> bytes:
    source = zipfile.ZipFile(io.BytesIO(saved({"w": torch.arange(4.0)})))
    return source.read("archive/data.pkl").replace(b"K\x04", b"J" + struct.pack("<i", numel))


def stride_bomb() -> bytes:
    return saved({"w": torch.zeros(1).expand(100_000, 100_000)})


def nested(depth: int) -> bytes:
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."


def directory_lie(field: int, value: int) -> bytes:
    raw = bytearray(GOOD)
    at = raw.rfind(b"PK\x05\x06")
    raw[at + field : at + field + 4] = struct.pack("<I", value)
    return bytes(raw)


def overlapping() -> bytes:
    """Many names for the same bytes: far more declared than there is."""
    raw = zipped({"archive/data.pkl": GOOD[:64], "archive/data/0": bytes(200_000)})
    at = raw.index(b"PK\x01\x02")
    end = raw.rfind(b"PK\x05\x06")
    directory = raw[at:end]
    second = directory[directory.index(b"PK\x01\x02", 4) :]
    copies = b"".join(second.replace(b"data/0", b"data/%x" % i) for i in range(1, 10))
    tail = bytearray(raw[end:])
    tail[8:12] = struct.pack("<HH", 11, 11)
    tail[12:16] = struct.pack("<I", len(directory) + len(copies))
    return raw[:at] + directory + copies + bytes(tail)


def torchscript() -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), out)
    return out.getvalue()


def npz(**arrays) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def old_tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("pickle")
        info.size = len(system(2))
        archive.addfile(info, io.BytesIO(system(2)))
    return out.getvalue()


PICKLES = {
    **{f"system_protocol_{p}": system(p) for p in range(6)},
    "eval": pickle.dumps(Calls(eval, f"open('{CANARY}', 'w')"), 2),
    "exec_chain": pickle.dumps([Calls(exec, f"open('{CANARY}', 'w')"), Calls(print, 1)], 2),
    "getattr_chain": b"\x80\x02c__builtin__\ngetattr\ncos\nsystem\nX\x04\x00\x00\x00call\x86R.",
    "inst": f"(S'{canary_command()}'\nios\nsystem\n.".encode(),
    "obj": f"\x80\x02(cos\nsystem\nX\x0c\x00\x00\x00{canary_command()}o.".encode("latin1"),
    "stack_global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0ctouch canary\x85R.",
    "newobj": b"\x80\x02csubprocess\nPopen\nX\x0c\x00\x00\x00touch canary\x85\x81.",
    "resolve_name": b"\x80\x02cpkgutil\nresolve_name\nX\x09\x00\x00\x00os:system\x85R"
    b"X\x0c\x00\x00\x00touch canary\x85R.",
    "torch_load": b"\x80\x02ctorch\nload\nX\x04\x00\x00\x00none\x85R.",
    "bytearray_bomb": b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    "extension": b"\x80\x02\x82\x01.",
    "nested_key": b"\x80\x02}N" + b"0)" + b"q\x00h\x00\x86" * 60 + b"Ns.",
    "class_of_ours": pickle.dumps({"w": Calls(dict)}, 2).replace(b"__builtin__\ndict", b"my_project\nNet"),
}

UNSAFE: dict[str, bytes] = {
    **{f"zip_{name}.pt": with_pickle(content) for name, content in PICKLES.items()},
    **{f"legacy_{name}.pth": legacy_with(content) for name, content in PICKLES.items() if "protocol_0" not in name},
    **{f"plain_{name}.bin": PICKLES[name] for name in ("system_protocol_0", "system_protocol_2", "system_protocol_5")},
    "sevenzip_front.pt": b"7z\xbc\xaf\x27\x1c" + system(2),
    "gzip.pt": b"\x1f\x8b" + bytes(50),
    "h5.h5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "tar.pth.tar": old_tar(),
    "html.pth": b"<!DOCTYPE html><title>404</title>",
    "git_lfs.pth": b"version https://git-lfs.github.com/spec/v1\n",
    "text.pt": b"hello, world, this is no model",
    "npy.pt": b"\x93NUMPY\x01\x00" + bytes(100),
    "npz.pt": npz(w=np.zeros(3)),
    "npz_object.pt": npz(w=np.array([Calls(os.system, canary_command())], dtype=object)),
    "torchscript.pt": torchscript(),
    "exported.pt2": zipped({"archive/data.pkl": b"", "archive/models/model.json": b"{}"}),
    "nested_zip.pt": zipped({"inner.zip": GOOD}),
    "two_pickles.pt": zipped({"a/data.pkl": b"N.", "b/data.pkl": b"N."}),
    "compressed_bomb.pt": rezipped(lambda p: p.update({"archive/data/0": bytes(50_000_000)}), zipfile.ZIP_DEFLATED),
    "bzip2_bomb.pt": rezipped(lambda p: p.update({"archive/data/0": bytes(5_000_000)}), zipfile.ZIP_BZIP2),
    "overlapping_bomb.pt": overlapping(),
    "path_up.pt": rezipped(lambda p: p.update({"archive/../../etc/passwd": b""})),
    "path_absolute.pt": rezipped(lambda p: p.update({"/etc/passwd": b""})),
    "path_drive.pt": rezipped(lambda p: p.update({"C:/x": b""})),
    "path_backslash.pt": rezipped(lambda p: p.update({"archive\\..\\x": b""})),
    "directory_far.pt": directory_lie(16, 2**31),
    "directory_size.pt": directory_lie(12, 2**31),
    "comment.pt": GOOD + b"more",
    "two_archives.pt": with_pickle(PICKLES["eval"]) + GOOD,
    "many_entries.pt": rezipped(lambda p: p.update({f"archive/{i:0200d}": b"" for i in range(20_000)})),
    "storage_over_file.pt": with_pickle(storage_pickle(2**31 - 1)),
    "storage_negative.pt": with_pickle(storage_pickle(-4)),
    "stride_bomb.pt": stride_bomb(),
    "pickle_bomb.pt": with_pickle(b"\x80\x02" + b"}0" * 900_000 + b"."),
    "pickle_too_large.pt": with_pickle(b"\x80\x02" + b"}" * 3_000_000 + b"."),
    "legacy_bomb.pt": legacy_with(b"\x80\x02" + b"}0" * 1_500_000 + b"."),
    "marks.pt": with_pickle(b"\x80\x02" + b"(" * 1_900_000 + b"."),
    "header_huge.safetensors": safetensors_file(b"{}", length=2**62),
    "header_max.safetensors": safetensors_file(b"{}", length=2**64 - 1),
    "header_list.safetensors": safetensors_file([1, 2]),
    "header_not_json.safetensors": safetensors_file(b"{'w': 1}"),
    "header_not_utf8.safetensors": safetensors_file(b'{"\xff\xfe": 1}'),
    "header_deep.safetensors": safetensors_file(b'{"a":' * 100_000),
    "header_duplicate.safetensors": safetensors_file(
        b'{"w": %s, "w": %s}' % ((json.dumps(entry()).encode(),) * 2), EIGHT
    ),
    "metadata_number.safetensors": safetensors_file({"__metadata__": {"a": 1}, "w": entry()}, EIGHT),
    "metadata_list.safetensors": safetensors_file({"__metadata__": [1], "w": entry()}, EIGHT),
    "metadata_large.safetensors": safetensors_file({"__metadata__": {"a": "x" * 2_000_000}, "w": entry()}, EIGHT),
    "entry_number.safetensors": safetensors_file({"w": 3}, EIGHT),
    "dtype_unknown.safetensors": safetensors_file({"w": entry("F33")}, EIGHT),
    "dtype_object.safetensors": safetensors_file({"w": entry({"a": 1})}, EIGHT),
    "shape_negative.safetensors": safetensors_file({"w": entry(shape=(-2,))}, EIGHT),
    "shape_float.safetensors": safetensors_file({"w": entry(shape=(2.0,))}, EIGHT),
    "shape_bool.safetensors": safetensors_file({"w": entry(shape=(True,), offsets=(0, 4))}, EIGHT[:4]),
    "shape_huge.safetensors": safetensors_file({"w": entry(shape=(2**40, 2**40))}, EIGHT),
    "shape_deep.safetensors": safetensors_file({"w": entry(shape=(1,) * 1000)}, EIGHT),
    "shape_wrong.safetensors": safetensors_file({"w": entry(shape=(3,))}, EIGHT),
    "offsets_backward.safetensors": safetensors_file({"w": entry(offsets=(8, 0))}, EIGHT),
    "offsets_three.safetensors": safetensors_file({"w": entry(offsets=(0, 4, 8))}, EIGHT),
    "offsets_overlap.safetensors": safetensors_file({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)),
    "offsets_hole.safetensors": safetensors_file({"a": entry(), "b": entry(offsets=(12, 20))}, bytes(20)),
    "trailing.safetensors": safetensors_file({"w": entry()}, bytes(50)),
    "count_huge.safetensors": safetensors_file({f"w{i}": entry(shape=(0,), offsets=(0, 0)) for i in range(30_000)}),
    "pickle_inside.safetensors": system(2),
    "zip_inside.safetensors": GOOD,
}

BROKEN: dict[str, bytes] = {
    "empty.pt": b"",
    "empty.safetensors": b"",
    "short.safetensors": b"\x08\x00",
    "header_cut.safetensors": GOOD_SAFE[:20],
    "body_cut.safetensors": GOOD_SAFE[:-3],
    "no_tensors.safetensors": safetensors_file({}),
    "magic_cut.pth": LEGACY_MAGIC[:7],
    **{f"zip_cut_{n}.pt": GOOD[: len(GOOD) * n // 4] for n in (1, 2, 3)},
    "zip_cut_last.pt": GOOD[:-1],
    "zip_no_end.pt": b"PK\x03\x04" + bytes(200),
    **{f"legacy_cut_{n}.pth": GOOD_LEGACY[: len(GOOD_LEGACY) * n // 4] for n in (1, 2, 3)},
    "legacy_cut_last.pth": GOOD_LEGACY[:-1],
    "deep.pt": with_pickle(nested(100_000)),
    "garbage.pt": with_pickle(b"\x80\x02\xff\xfe."),
    "no_storage.pt": rezipped(lambda p: p.pop("archive/data/0")),
    "storage_over_record.pt": with_pickle(storage_pickle(400)),
    "none.pt": saved(None),
    "tensor.pt": saved(torch.zeros(3)),
    "list.pt": saved([torch.zeros(3)]),
    "no_tensors.pt": saved({"epoch": 3, "lr": 0.1}),
    "empty_dict.pt": saved({}),
    "optimizer_only.pt": saved({"optimizer": {"state": {}}, "epoch": 1}),
    "nan.pt": saved({"w": torch.tensor([1.0, float("nan")])}),
    "inf_legacy.pth": saved({"w": torch.tensor([float("inf")])}, legacy=True),
    "sparse.pt": saved({"w": torch.zeros(3)}).replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_vX"),
}


def read(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """All the weights in a file, each looked at."""
    states = read_weights(path)
    for state in states.values():
        check_tensors(path, state)
    return states


CASES = {name: (content, UnsafeFileError) for name, content in UNSAFE.items()}
CASES |= {name: (content, TeacherError) for name, content in BROKEN.items()}


def test_there_are_enough():
    assert len(CASES) >= 60


@pytest.mark.parametrize("name", CASES)
def test_refused(name, tmp_path, monkeypatch):
    content, error = CASES[name]
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.write_bytes(content)
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
    with pytest.raises(error) as fault:
        read(path)
    seconds = time.process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before.ru_maxrss) / 1024
    assert str(path) in str(fault.value)
    assert len(str(fault.value)) < 1000
    assert not (tmp_path / CANARY).exists()
    assert os.listdir(tmp_path) == [name]
    assert seconds < SECONDS, f"{seconds:.2f} s of processor time"
    assert grown < MEGABYTES, f"{grown:.0f} MB"


def test_the_canary_would_sing(tmp_path, monkeypatch):
    """The payloads do run where pickle is trusted: the cases above prove something."""
    monkeypatch.chdir(tmp_path)
    for name in ("system_protocol_2", "eval", "stack_global", "resolve_name", "inst"):
        pickle.loads(PICKLES[name])
        assert (tmp_path / CANARY).exists(), name
        (tmp_path / CANARY).unlink()


@pytest.mark.parametrize("name", ["missing.pt", "missing.safetensors", "a\0b.pt", "folder.pt"])
def test_no_such_file(name, tmp_path):
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(TeacherError):
        read_weights(tmp_path / name)


def test_special_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    for path in (tmp_path / "pipe.pt", Path("/dev/zero")):
        with pytest.raises(TeacherError, match="no regular file"):
            read_weights(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_every_single_bit_of_a_pickle_may_flip(tmp_path):
    """Never anything but a clear error or plain tensors."""
    path = tmp_path / "w.pth"
    generator = np.random.default_rng(0)
    small = saved({"w": torch.arange(4.0)}, legacy=True)
    for at in generator.integers(0, len(small) * 8, 200):
        raw = bytearray(small)
        raw[at // 8] ^= 1 << (at % 8)
        path.write_bytes(raw)
        with contextlib.suppress(TeacherError):
            assert all(isinstance(v, torch.Tensor) for state in read(path).values() for v in state.values())
