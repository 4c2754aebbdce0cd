"""The watch: what it sees, what it lets pass, and that it leaves nothing armed."""

from __future__ import annotations

import _posixsubprocess
import ctypes
import hashlib
import importlib.resources
import inspect
import io
import mmap
import multiprocessing
import os
import pkgutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import zipimport
from collections.abc import Callable
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from PIL import Image
from safetensors import safe_open as imported_before  # as transformers does: before any run is armed
from torch.utils.data import DataLoader

from sansdata.engine.guard import events, no_data
from sansdata.engine.guard.no_data import NoDataGuard
from sansdata.engine.guard.system import is_this_machine
from sansdata.errors import NoDataViolation


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of data in every form, declared by nobody."""
    folder = tmp_path / "data"
    folder.mkdir()
    np.save(folder / "x.npy", np.ones(8, "float32"))
    np.savez(folder / "x.npz", a=np.ones(3))
    np.ones(8, "float32").tofile(folder / "x.bin")
    Image.fromarray(np.zeros((4, 4), "uint8")).save(folder / "x.png")
    torch.save({"a": torch.ones(3)}, folder / "x.pt")
    safetensors.torch.save_file({"a": torch.ones(3)}, folder / "x.safetensors")
    (folder / "x.csv").write_text("1,2\n")
    return folder


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def mapped(path: Path) -> None:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        assert len(view) > 0


def low_level(path: Path) -> None:
    os.close(os.open(path, os.O_RDONLY))


def relative(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.close(os.open(path.name, os.O_RDONLY, dir_fd=folder))
    finally:
        os.close(folder)


def reader_in_c(path: Path) -> None:
    torch._C.PyTorchFileReader(str(path))


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "open": ("x.csv", lambda p: open(p).close()),
    "open for update": ("x.csv", lambda p: open(p, "r+").close()),
    "open by bytes": ("x.csv", lambda p: open(os.fsencode(p)).close()),
    "io.open": ("x.csv", lambda p: io.open(p).close()),  # noqa: UP020
    "os.open": ("x.csv", low_level),
    "os.open below an open folder": ("x.csv", relative),
    "io.open_code": ("x.csv", lambda p: io.open_code(str(p)).close()),
    "Path.read_bytes": ("x.csv", lambda p: p.read_bytes()),
    "mmap": ("x.bin", mapped),
    "np.load": ("x.npy", np.load),
    "np.load, mapped": ("x.npy", lambda p: np.load(p, mmap_mode="r")),
    "np.load of an archive": ("x.npz", np.load),
    "np.fromfile": ("x.bin", np.fromfile),
    "np.memmap": ("x.bin", lambda p: np.memmap(p, mode="r")),
    "np.loadtxt": ("x.csv", lambda p: np.loadtxt(p, delimiter=",")),
    "PIL": ("x.png", Image.open),
    "torch.load": ("x.pt", torch.load),
    "torch.load, mapped": ("x.pt", lambda p: torch.load(p, mmap=True)),
    "torch's reader of archives": ("x.pt", reader_in_c),
    "torch.from_file": ("x.bin", lambda p: torch.from_file(str(p), size=8)),
    "torch.from_file by name": ("x.bin", lambda p: torch.from_file(filename=str(p), size=8)),
    "UntypedStorage.from_file": ("x.bin", lambda p: torch.UntypedStorage.from_file(str(p), False, 8)),
    "torch.jit.load": ("x.pt", lambda p: torch.jit.load(str(p))),
    "load_file": ("x.safetensors", lambda p: safetensors.torch.load_file(p)),
    "load_file by name": ("x.safetensors", lambda p: safetensors.torch.load_file(filename=p)),
    "safe_open": ("x.safetensors", lambda p: safetensors.safe_open(p, "pt").keys()),
    "safe_open, imported before": ("x.safetensors", lambda p: imported_before(p, "pt").get_tensor("a")),
    "safetensors.numpy, imported before": ("x.safetensors", lambda p: safetensors.numpy.load_file(p)),
    "safetensors of bytes": ("x.safetensors", lambda p: safetensors.torch.load(p.read_bytes())),
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_a_strict_run_stops_at_an_undeclared_file(name, data, run_dir):
    file, read = READERS[name]
    guard = NoDataGuard("strict", {}, run_dir)
    with guard, pytest.raises(NoDataViolation, match=file.replace(".", r"\.")):
        read(data / file)
    assert [violation["path"] for violation in guard.violations] == [os.path.realpath(data / file)]
    with pytest.raises(NoDataViolation):
        guard.check()


@pytest.mark.parametrize("name", [name for name in READERS if name != "torch.jit.load"])
def test_a_declared_file_is_read_and_its_hash_stands_in_the_ledger(name, data, run_dir):
    file, read = READERS[name]
    path = data / file
    guard = NoDataGuard("strict", {path: "teacher"}, run_dir)
    with guard:
        read(path)
    guard.check()
    ledger = guard.record()
    assert ledger["violations"] == []
    entry = next(entry for entry in ledger["files"] if entry["path"] == os.path.realpath(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry == {
        "path": os.path.realpath(path), "role": "teacher", "sha256": digest, "bytes": path.stat().st_size,
    }  # fmt: skip


def test_record_mode_reads_on_and_notes(data, run_dir):
    guard = NoDataGuard("record", {}, run_dir)
    with guard:
        assert np.load(data / "x.npy").sum() == 8
        assert torch.from_file(str(data / "x.bin"), size=8).sum() == 8
    guard.check()  # only a strict run stops
    noted = guard.record()
    assert noted["mode"] == "record"
    assert [Path(v["path"]).name for v in noted["violations"]] == ["x.npy", "x.bin"]
    assert all(v["when"] and v["event"] for v in noted["violations"])


def test_a_violation_that_other_code_swallowed_is_still_reported(data, run_dir):
    guard = NoDataGuard("strict", {}, run_dir)
    with guard:
        try:
            np.load(data / "x.npy")
        except Exception:
            values = None
        assert values is None
    with pytest.raises(NoDataViolation, match=r"x\.npy"):
        guard.check()


def test_a_declared_folder_stands_for_all_below_it_and_nothing_beside_it(data, run_dir):
    (data / "below").mkdir()
    (data / "below" / "y.bin").write_bytes(b"1")
    (data.parent / "data2").mkdir()
    (data.parent / "data2" / "z.bin").write_bytes(b"1")
    with NoDataGuard("strict", {data: "pool"}, run_dir):
        (data / "below" / "y.bin").read_bytes()
        with pytest.raises(NoDataViolation):
            (data.parent / "data2" / "z.bin").read_bytes()


def test_a_link_is_judged_by_what_it_leads_to(data, run_dir):
    (run_dir / "link.npy").symlink_to(data / "x.npy")
    (data.parent / "teacher").symlink_to(data / "x.pt")
    with NoDataGuard("strict", {data / "x.pt": "teacher"}, run_dir):
        torch.load(data.parent / "teacher")
        with pytest.raises(NoDataViolation):
            np.load(run_dir / "link.npy")
        with pytest.raises(NoDataViolation):
            np.load(run_dir / ".." / "data" / "x.npy")


def test_the_run_directory_code_and_what_the_run_itself_wrote_may_be_read(run_dir, tmp_path):
    guard = NoDataGuard("strict", {}, run_dir)
    with guard:
        (run_dir / "state.json").write_text("{}")
        (run_dir / "state.json").read_text()
        with tempfile.TemporaryFile() as file:
            file.write(b"x")
        with open(tmp_path / "scratch.bin", "w+b") as file:
            file.write(b"x")
        (tmp_path / "scratch.bin").read_bytes()
        sys.modules.pop("colorsys", None)
        import colorsys  # noqa: F401

        Path(no_data.__file__).read_text()
        os.listdir(tmp_path)
        Path("/proc/self/status").read_text()
    guard.check()
    assert guard.record()["violations"] == []
    assert [entry["role"] for entry in guard.record()["files"]] == ["system"]  # code and the run's own are not listed


def test_a_run_directory_that_was_moved_away_is_missed_and_no_violation(run_dir, tmp_path):
    guard = NoDataGuard("strict", {}, run_dir)
    with guard:
        (run_dir / "checkpoints").mkdir()
        run_dir.rename(tmp_path / "moved")
        with pytest.raises(FileNotFoundError):
            os.open(run_dir / "checkpoints", os.O_RDONLY)  # a folder is opened to be synchronised
    guard.check()
    assert guard.record()["violations"] == []


@pytest.mark.parametrize("mode", ["x", "w"])
def test_an_open_that_failed_to_create_does_not_unlock_the_file(mode, data, run_dir):
    path = data / "x.npy" if mode == "x" else data
    with NoDataGuard("strict", {}, run_dir):
        with pytest.raises((FileExistsError, IsADirectoryError)):
            open(path, mode).close()
        with pytest.raises(NoDataViolation):
            np.load(data / "x.npy")


def test_data_inside_packages_is_denied(run_dir):
    datasets = pytest.importorskip("sklearn.datasets")
    guard = NoDataGuard("strict", {}, run_dir)
    with guard, pytest.raises(NoDataViolation, match="digits"):
        datasets.load_digits()


@pytest.mark.parametrize("path", [
    "{prefix}/nltk_data/corpora/brown.zip", "{prefix}/share/data.cfg", "{site}/net/weights.pth", "{site}/net/data.npz",
    "{site}/sklearn/datasets/data/digits.csv.gz", "/dev/shm/train.npy", "/run/media/disk/train.npy", "/etc/../data/x",
    "/home/someone/.cache/torch/hub/checkpoints/x.pth", "/usr/share/datasets/x.csv",
    "/data/train.h", "/data/train.so.npz", "/data/train.so", "/data/train.py", "/data/__pycache__/x.cpython-311.pyc",
    "/data/x.dist-info/train.npz", "/data/x.dist-info/METADATA", "{site}/x.dist-info/train.npz", "{site}/train.pth",
    "{site}/net/METADATA", "{site}/train.PY", "{home}/.nv-anything/x.npz", "{home}/.nv/x.npz", "{home}/.tritons/x.npz",
    "/usr/share/zoneinfo-data/x.npz", "/run/train.npz", "/dev/disk.npz", "/proc/1/fd/3", "/proc/self/mem",
    "/proc/self/fd/pipe:[12]", "/usr/lib/train.so.npz",
])  # fmt: skip
def test_places_where_people_keep_data_are_nobodys(path, run_dir):
    import sysconfig

    where = path.format(prefix=sys.prefix, site=sysconfig.get_path("purelib"), home=os.path.expanduser("~"))
    where = where if where.startswith("/proc") else os.path.realpath(where)
    assert NoDataGuard("strict", {}, run_dir).role_of(where) is None


# -- processes and the network


PROCESSES: dict[str, Callable[[], Any]] = {
    "subprocess": lambda: subprocess.run(["true"], check=False),
    "subprocess by a path upwards": lambda: subprocess.run(["../../../../../../../proc/x"], check=False),
    "subprocess of a library": lambda: subprocess.run(["x.so.1"], check=False),
    "os.system": lambda: os.system("true"),
    "os.posix_spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "os.fork": lambda: os.fork() or os._exit(0),
    "os.exec": lambda: os.execv("/nonexistent", ["x"]),
    "os.popen": lambda: os.popen("true"),
    "multiprocessing, spawned": lambda: multiprocessing.get_context("spawn").Process(target=print).start(),
    "a loader's workers": lambda: next(iter(DataLoader([1, 2], num_workers=1, multiprocessing_context="spawn"))),
    "fork_exec": lambda: _posixsubprocess.fork_exec(),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a loader that could not begin
@pytest.mark.parametrize("name", PROCESSES)
def test_processes_are_denied(name, run_dir, monkeypatch):
    monkeypatch.chdir(run_dir)  # nothing about a process is a file of the run
    guard = NoDataGuard("strict", {}, run_dir)
    with guard, pytest.raises(NoDataViolation, match="process"):
        PROCESSES[name]()
    assert "process" in guard.violations[0]["path"]


def test_a_recorded_fork_goes_on(run_dir):
    guard = NoDataGuard("record", {}, run_dir)
    with guard:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
    assert [v["event"] for v in guard.violations] == ["os.fork"]


@pytest.mark.parametrize("host", ["127.0.0.1.example.com", "localhost.example.com", "0.0.0.0", "10.0.0.1", "::2"])
def test_a_host_is_this_machine_by_its_whole_name(host):
    assert not is_this_machine((host, 80))
    assert all(is_this_machine((own, 80)) for own in ("localhost", "127.0.0.1", "127.8.8.8", "::1"))


@pytest.mark.parametrize("send", ["connect", "sendto"])
def test_the_network_is_denied_before_anything_is_sent(send, run_dir):
    kind = socket.SOCK_STREAM if send == "connect" else socket.SOCK_DGRAM
    address = ("192.0.2.1", 9)  # reserved for documentation: nobody is there
    with socket.socket(socket.AF_INET, kind) as link, NoDataGuard("strict", {}, run_dir):
        link.settimeout(0.01)
        with pytest.raises(NoDataViolation, match=r"192\.0\.2\.1"):
            link.connect(address) if send == "connect" else link.sendto(b"x", address)


def test_this_machine_may_be_spoken_to(run_dir):
    guard = NoDataGuard("strict", {}, run_dir)
    with socket.create_server(("127.0.0.1", 0)) as server, guard, socket.create_connection(server.getsockname()):
        pass
    guard.check()


@pytest.mark.parametrize("database", [":memory:", "file:x.db?mode=ro"])
def test_databases_are_denied_because_they_read_by_themselves(database, run_dir):
    with NoDataGuard("strict", {}, run_dir), pytest.raises(NoDataViolation, match="database"):
        sqlite3.connect(database, uri=True)


def test_shared_memory_of_others_is_denied(run_dir):
    theirs = shared_memory.SharedMemory(create=True, size=8)
    storage = torch.ones(3).untyped_storage()._share_filename_cpu_()
    try:
        with NoDataGuard("strict", {}, run_dir):
            with pytest.raises(NoDataViolation, match=theirs.name):
                shared_memory.SharedMemory(theirs.name)
            with pytest.raises(NoDataViolation, match="shared memory"):
                torch.UntypedStorage._new_shared_filename_cpu(*storage)
    finally:
        theirs.close()
        theirs.unlink()


def test_what_is_on_this_machine_is_said_and_not_followed(run_dir):
    guard = NoDataGuard("strict", {}, run_dir)
    with socket.create_server(("127.0.0.1", 0)) as server, guard, socket.create_connection(server.getsockname()):
        ctypes.CDLL("libc.so.6")
    guard.check()
    assert [entry["what"] for entry in guard.record()["unwatched"]] == [
        "a connection within this machine", "a native library",
    ]  # fmt: skip


def test_a_native_library_beside_the_data_is_denied(data, run_dir):
    (data / "libreader.so").write_bytes(b"")
    with NoDataGuard("strict", {}, run_dir), pytest.raises(NoDataViolation, match="libreader"):
        ctypes.CDLL(str(data / "libreader.so"))


# -- descriptors that were open before


INHERITED: dict[str, Callable[[int], Any]] = {
    "os.fdopen": lambda fd: os.fdopen(fd, closefd=False),
    "/dev/fd": lambda fd: open(f"/dev/fd/{fd}").close(),
    "/proc/self/fd": lambda fd: open(f"/proc/self/fd/{fd}").close(),
    "mmap": lambda fd: mmap.mmap(fd, 0, access=mmap.ACCESS_READ),
}  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="Linux tells what is open")
@pytest.mark.parametrize("name", INHERITED)
def test_a_file_that_was_open_before_is_judged_by_its_path(name, data, run_dir):
    with open(data / "x.csv") as file, NoDataGuard("strict", {}, run_dir) as guard:
        with pytest.raises(NoDataViolation, match=r"x\.csv"):
            INHERITED[name](file.fileno())
        assert [entry["what"] for entry in guard.unwatched] == ["a file that was open before the watch"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="Linux tells what is open")
def test_a_pipe_that_was_open_before_is_denied_and_one_of_the_run_is_not(run_dir):
    theirs, _ = pair = os.pipe()
    with NoDataGuard("strict", {}, run_dir):
        with pytest.raises(NoDataViolation, match="pipe"):
            os.fdopen(theirs, closefd=False)
        with pytest.raises(NoDataViolation, match="pipe"):
            Path(f"/dev/fd/{theirs}").read_bytes()
        ours, end = os.pipe()
        os.fdopen(ours, closefd=False)
    for number in (*pair, ours, end):
        os.close(number)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="Linux tells what is open")
def test_a_read_of_an_open_file_shows_in_its_position_and_standard_input_is_closed(data, run_dir):
    kept = os.dup(0)
    with open(data / "x.csv") as file, open(data / "x.bin") as other:
        os.dup2(other.fileno(), 0)
        try:
            with NoDataGuard("strict", {}, run_dir) as guard:
                assert os.read(0, 10) == b""
                os.read(file.fileno(), 3)  # no event tells of it
            assert len(os.read(0, 10)) == 10
            with NoDataGuard("record", {}, run_dir) as recorded:
                os.read(0, 3)
        finally:
            os.dup2(kept, 0)
            os.close(kept)
    assert [(Path(v["path"]).name, v["event"]) for v in guard.violations] == [
        ("x.csv", "read through an inherited descriptor")
    ]
    assert [Path(v["path"]).name for v in recorded.violations] == ["x.bin"]
    assert [entry["name"].rpartition("/")[2] for entry in guard.unwatched] == ["x.csv", "x.bin"]  # not what is closed


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="Linux tells what is open")
def test_a_list_in_which_the_shell_that_started_the_run_reads_on_is_no_read_of_ours(data, run_dir):
    kept, (theirs, ours) = os.dup(0), os.pipe()
    with open(data / "x.csv") as file:
        shell = subprocess.Popen(["sh", "-c", f"read go </dev/fd/{theirs}; head -c 3"], stdin=file, pass_fds=(theirs,))
        os.dup2(file.fileno(), 0)
    os.close(theirs)
    try:
        with NoDataGuard("strict", {}, run_dir) as guard:
            os.write(ours, b"go\n")
            assert shell.wait() == 0
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(ours)
    assert guard.violations == []
    assert ("standard input, in which another process read on", str(data / "x.csv")) in [
        (entry["what"], entry["name"]) for entry in guard.unwatched
    ]


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="Linux tells what is mapped")
def test_a_file_that_native_code_maps_is_noted(data, run_dir):
    view = torch._C._VariableFunctions.from_file(str(data / "x.bin"), size=1)  # not the name that is watched
    with NoDataGuard("record", {}, run_dir) as before:
        pass
    del view
    with NoDataGuard("record", {}, run_dir) as guard:
        view = torch._C._VariableFunctions.from_file(str(data / "x.bin"), size=8)
    assert view.sum() == 8
    assert [(Path(v["path"]).name, v["event"]) for v in guard.violations] == [("x.bin", "mapped into memory")]
    assert [entry["what"] for entry in before.unwatched] == ["a file that was in memory before the watch"]


@pytest.mark.skipif(not Path("/proc/self/io").is_file(), reason="Linux counts what is read")
def test_bytes_that_nothing_was_seen_to_read_are_said(data, run_dir):
    (data / "large.bin").write_bytes(bytes(8_000_000))
    with NoDataGuard("record", {data / "large.bin": "teacher"}, run_dir) as guard:
        (data / "large.bin").read_bytes()
    assert guard.record()["unwatched"] == []
    with NoDataGuard("record", {}, run_dir) as guard, events.own_reads():  # as a reader in C would be: unseen
        (data / "large.bin").read_bytes()
    assert guard.violations == []
    assert guard.record()["unwatched"][0]["what"].startswith("bytes read beyond")


# -- code


def test_what_the_import_machinery_loads_is_code_and_its_get_data_is_no_way_around(data, run_dir, monkeypatch):
    (data / "factory_of_data.py").write_text("value = 1\n")
    (data / "package_of_data").mkdir()
    (data / "package_of_data" / "__init__.py").write_text("")
    (data / "package_of_data" / "x.npz").write_bytes(b"")
    (data / "values.py").write_text("1,2\n")
    monkeypatch.syspath_prepend(str(data))
    with NoDataGuard("strict", {}, run_dir) as guard:
        module = importlib.import_module("factory_of_data")
        assert inspect.getsource(module) == "value = 1\n"
        importlib.import_module("package_of_data")
        for read in (
            lambda: pkgutil.get_data("package_of_data", "x.npz"),
            lambda: importlib.resources.files("package_of_data").joinpath("x.npz").read_bytes(),
            lambda: module.__loader__.get_data(str(data / "values.py")),
            lambda: (data / "values.py").read_text(),
            lambda: zipimport.zipimporter(str(data / "x.npz")),
        ):
            with pytest.raises(NoDataViolation):
                read()
    assert {Path(v["path"]).name for v in guard.violations} == {"x.npz", "values.py"}


# -- the run directory


def test_a_file_that_others_put_into_the_run_directory_is_not_the_runs(data, run_dir):
    np.save(run_dir / "train.npy", np.ones(3))
    os.link(data / "x.npz", run_dir / "hard.npz")
    (run_dir / "samples").mkdir()
    os.link(data / "x.npz", run_dir / "samples" / "step-000000001.npz")
    with NoDataGuard("strict", {}, run_dir) as guard:
        for name in ("train.npy", "hard.npz"):
            with pytest.raises(NoDataViolation, match=name):
                np.load(run_dir / name)
        np.load(run_dir / "samples" / "step-000000001.npz")
    entry = guard.record()["files"][0]  # a name of ours: read, and its hash says what it was
    assert entry["sha256"] == hashlib.sha256((data / "x.npz").read_bytes()).hexdigest()
    assert entry["role"] == "run"


@pytest.mark.parametrize("move", [os.replace, os.rename, os.link])
def test_a_file_that_is_moved_in_is_not_the_runs(move, data, run_dir):
    with NoDataGuard("strict", {}, run_dir):
        (run_dir / "own.bin").write_bytes(b"1")
        with pytest.raises(NoDataViolation, match=r"x\.npz"):
            move(data / "x.npz", run_dir / "samples.npz")
        folder = os.open(data, os.O_RDONLY)
        with pytest.raises(NoDataViolation, match=r"x\.csv"):
            move("x.csv", run_dir / "samples.csv", src_dir_fd=folder)
        os.close(folder)
        os.replace(run_dir / "own.bin", run_dir / "renamed.bin")
        assert (run_dir / "renamed.bin").read_bytes() == b"1"
        (run_dir / "work").mkdir()
        (run_dir / "work" / "own.bin").write_bytes(b"2")
        os.replace(run_dir / "work", run_dir / "final")
        assert (run_dir / "final" / "own.bin").read_bytes() == b"2"


def test_the_hash_is_that_of_the_first_read_and_a_change_is_another_entry(data, run_dir):
    path = data / "x.safetensors"
    first = hashlib.sha256(path.read_bytes()).hexdigest()
    with NoDataGuard("strict", {path: "teacher"}, run_dir) as guard:
        for _ in range(2):
            safetensors.torch.load_file(path)
        safetensors.torch.save_file({"a": torch.zeros(5)}, path)
        assert [entry["sha256"] for entry in guard.record()["files"]] == [first]
        safetensors.torch.load_file(path)
    second = hashlib.sha256(path.read_bytes()).hexdigest()
    assert {entry["sha256"] for entry in guard.record()["files"]} == {first, second}


# -- arming and leaving


def test_a_module_that_is_imported_in_a_run_is_not_watched_after_it(data, run_dir):
    kept = sys.modules.pop("safetensors.numpy")
    try:
        with NoDataGuard("strict", {}, run_dir), pytest.raises(NoDataViolation):
            importlib.import_module("safetensors.numpy").load_file(data / "x.safetensors")
        assert importlib.import_module("safetensors.numpy").load_file(data / "x.safetensors")["a"].sum() == 3
    finally:
        sys.modules["safetensors.numpy"] = safetensors.numpy = kept


def test_nothing_is_armed_or_wrapped_afterwards(data, run_dir):
    places = [(safetensors, "safe_open"), (safetensors.torch, "safe_open"), (torch, "from_file"), (os, "open"),
              (torch._C, "import_ir_module"), (torch.UntypedStorage, "from_file")]  # fmt: skip
    before = [(getattr(owner, name), name in vars(owner)) for owner, name in places]
    for mode in ("strict", "record"):
        with NoDataGuard(mode, {}, run_dir):
            assert [getattr(owner, name) is not old for (owner, name), (old, _) in zip(places, before)] == [True] * 6
    assert [(getattr(owner, name), name in vars(owner)) for owner, name in places] == before
    assert events._armed is None
    for file, read in READERS.values():
        if file != "x.pt":
            read(data / file)
    subprocess.run([sys.executable, "-c", ""], check=True)


def test_it_is_disarmed_after_a_fault(data, run_dir):
    with pytest.raises(KeyError), NoDataGuard("strict", {}, run_dir):
        raise KeyError
    assert np.load(data / "x.npy").sum() == 8


def test_two_runs_at_once_are_refused_and_the_first_stays_armed(data, run_dir):
    with NoDataGuard("strict", {}, run_dir):
        with pytest.raises(RuntimeError, match="already under way"), NoDataGuard("strict", {}, run_dir):
            pass
        with pytest.raises(NoDataViolation):
            np.load(data / "x.npy")


def test_a_later_run_begins_with_an_empty_ledger(data, run_dir):
    first = NoDataGuard("record", {}, run_dir)
    with first:
        np.load(data / "x.npy")
    second = NoDataGuard("strict", {}, run_dir)
    with second:
        pass
    second.check()
    assert second.record()["violations"] == []
    assert len(first.record()["violations"]) == 1


def test_the_ledger_is_sealed_with_a_time(run_dir):
    guard = NoDataGuard("strict", {}, run_dir)
    assert guard.record()["sealed"] is None
    with guard:
        assert guard.record()["sealed"] is None
    assert guard.record()["sealed"].endswith("Z")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="Linux tells what is open")
def test_a_file_left_open_is_noted_even_where_its_opening_was_not_seen(data, run_dir):
    guard = NoDataGuard("record", {}, run_dir)
    with guard:
        events._here.busy = True  # as a reader in C would be: unseen
        handle = os.open(data / "x.npy", os.O_RDONLY)
        events._here.busy = False
    os.close(handle)
    assert [(Path(v["path"]).name, v["event"]) for v in guard.violations] == [("x.npy", "left open")]
