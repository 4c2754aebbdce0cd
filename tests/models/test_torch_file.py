"""Files of torch.save as plain data: everything is read, nothing is imported."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
import sys

import numpy as np
import pytest
import torch
from torch import nn

from sansdata.errors import TeacherError, UnsafeFileError
from sansdata.models.pickles import Foreign, walk
from sansdata.models.torch_file import read_plain

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool, torch.uint16, torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2,
]  # fmt: skip

YOUNG = (torch.uint16, torch.float8_e4m3fn, torch.float8_e5m2)
"""torch does not read them from the old format itself."""


def saved(path, value, legacy: bool = False, protocol: int = 2):
    torch.save(value, path, _use_new_zipfile_serialization=not legacy, pickle_protocol=protocol)
    return path


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_as_torch_reads_it(tmp_path, legacy, protocol):
    dtypes = [dtype for dtype in DTYPES if not (legacy and dtype in YOUNG)]
    whole = torch.arange(12.0).reshape(3, 4)
    value = {
        "tensors": [torch.arange(2).to(dtype) for dtype in dtypes],
        "views": (whole, whole.T, whole[1:, 2:], whole[0, 0], torch.zeros(0, 3), whole.expand(1, 3, 4)),
        "parameter": nn.Parameter(whole),
        "plain": [None, True, 3, -(2**40), 2**70, 0.5, "é", b"\xff", {1, 2}, frozenset([3]), (1, (2, 3))],
        "containers": {
            "ordered": collections.OrderedDict(a=1),
            "counter": collections.Counter("aab"),
            "default": collections.defaultdict(list, {"a": [1]}),
        },
        "size": whole.shape,
        "dtype": torch.float16,
    }
    path = saved(tmp_path / "w.pt", value, legacy, protocol)
    tree, reference = read_plain(path).tree, torch.load(path, weights_only=False)
    for own, theirs in zip([*tree["tensors"], *tree["views"]], [*reference["tensors"], *reference["views"]]):
        assert own.dtype == theirs.dtype
        assert own.shape == theirs.shape
        assert own.stride() == theirs.stride() or not own.numel()
        assert torch.equal(
            own.double() if own.dtype.itemsize == 1 else own, theirs.double() if own.dtype.itemsize == 1 else theirs
        )
    assert torch.equal(tree["parameter"], whole)
    assert tree["plain"] == reference["plain"]
    assert tree["containers"] == reference["containers"]
    assert tree["size"] == (3, 4)
    assert tree["dtype"] is torch.float16


def test_what_is_not_known_stays_a_name(tmp_path):
    settings = argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("runs/1"), began=datetime.date(2026, 1, 2))
    value = {"args": settings, "best": np.float64(0.5), "epoch": np.int64(3), "w": torch.ones(2)}
    contents = read_plain(saved(tmp_path / "w.pt", value))
    args = contents.tree["args"]
    assert isinstance(args, Foreign)
    assert (args.name, args.state["lr"]) == ("argparse.Namespace", 0.1)
    assert (contents.tree["best"], contents.tree["epoch"]) == (0.5, 3)
    assert contents.foreign[0] == "argparse.Namespace"
    assert {"datetime.date", "pathlib.PurePosixPath"} <= set(contents.foreign)


def test_a_whole_module_without_its_code(tmp_path, monkeypatch):
    """The parameters of a pickled network, whose class is never imported."""
    (tmp_path / "their_project.py").write_text("from torch import nn\nclass Net(nn.Linear):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import their_project  # pyright: ignore[reportMissingImports]

    module = their_project.Net(2, 3)
    path = saved(tmp_path / "w.pt", module)
    monkeypatch.delitem(sys.modules, "their_project")
    tree = read_plain(path).tree
    assert tree.name == "their_project.Net"
    assert torch.equal(tree.state["_parameters"]["weight"], module.weight)
    assert "their_project" not in sys.modules


def test_files_without_check_sums_are_read_and_damaged_ones_are_not(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(tmp_path / "w.pt", {"w": torch.arange(64.0)})
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_plain(path).tree["w"], torch.arange(64.0))
    raw = bytearray(saved(path, {"w": torch.arange(64.0)}).read_bytes())
    raw[raw.index(torch.arange(64.0).numpy().tobytes()) + 5] ^= 1
    path.write_bytes(raw)
    with pytest.raises(TeacherError, match="damaged"):
        read_plain(path)


def test_walking_visits_each_part_once(tmp_path):
    value: list = []
    for _ in range(60):
        value = [value, value]  # 2^60 branches
    assert sum(1 for _ in walk(read_plain(saved(tmp_path / "w.pt", value)).tree)) < 200


def test_a_key_of_keys_is_refused(tmp_path):
    key: tuple = ()
    for _ in range(25):
        key = (key, key)
    with pytest.raises(UnsafeFileError, match="named by a tuple"):
        read_plain(saved(tmp_path / "w.pt", {key: 1}))
    assert read_plain(saved(tmp_path / "w.pt", {(0, "a"): 1})).tree == {"(0, 'a')": 1}
