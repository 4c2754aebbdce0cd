"""Run directories that somebody prepared: what is done to a copy of a real one, by name.

Each entry takes (the run, a canary: a folder with files that nobody may change, of which the names are those of a run).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Change = Callable[[Path, Path], object]

RECORDS = ("run.json", "config.yaml", "plan.json", "metrics.jsonl", "events.log", "ledger.json", "summary.json", "lock",
           "student.safetensors", "images.npz", "evaluation.json", "report.html")  # fmt: skip
TREES = ("run.json", "plan.json", "summary.json", "ledger.json", "evaluation.json")
TB = 10**12


def sample(run: Path) -> Path:
    return sorted((run / "samples").iterdir())[0]


def snapshot(run: Path) -> Path:
    return sorted((run / "snapshots").iterdir())[0]


def checkpoint(run: Path) -> Path:
    return sorted((run / "checkpoints").glob("step-*"))[-1]


def inside(name: str) -> Callable[[Path], Path]:
    """Where a file of a run lies, by a word for it."""
    places = {
        "sample": sample, "snapshot": snapshot, "a record": lambda run: sorted((run / "ledger").iterdir())[0],
        "MANIFEST.json": lambda run: checkpoint(run) / "MANIFEST.json",
        "rank-0.json": lambda run: checkpoint(run) / "rank-0.json",
        "rank-0.safetensors": lambda run: checkpoint(run) / "rank-0.safetensors", "a checkpoint": checkpoint,
    }  # fmt: skip
    return places.get(name, lambda run: run / name)


def gone(path: Path) -> Path:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return path


def link(name: str, target: str = "") -> Change:
    """target: '' is the canary's file, or its folder in the place of a folder."""

    def act(run: Path, canary: Path) -> None:
        path = inside(name)(run)
        to = Path(target) if target else canary if path.is_dir() else canary / "file"
        gone(path).symlink_to(to)

    return act


def hard_link(name: str) -> Change:
    return lambda run, canary: gone(inside(name)(run)).hardlink_to(canary / "file")


def pipe(name: str) -> Change:
    return lambda run, _: os.mkfifo(gone(inside(name)(run)))


def folder(name: str) -> Change:
    return lambda run, _: (gone(inside(name)(run)) / "inner").mkdir(parents=True)


def file(name: str) -> Change:
    return lambda run, _: gone(run / name).write_text("a file")


def content(name: str, data: str | bytes) -> Change:
    raw = data.encode() if isinstance(data, str) else data
    return lambda run, _: inside(name)(run).write_bytes(raw)


def sparse(name: str) -> Change:
    def act(run: Path, _: Path) -> None:
        path = inside(name)(run)
        path.touch()
        os.truncate(path, TB)

    return act


def flip(name: str, seed: int) -> Change:
    def act(run: Path, _: Path) -> None:
        path = inside(name)(run)
        data, numbers = bytearray(path.read_bytes()), random.Random(f"{name}/{seed}")
        place = numbers.randrange(min(len(data), 2_000))  # where headers are
        data[place] ^= 1 << numbers.randrange(8)
        path.write_bytes(data)

    return act


# -- JSON


def spoiled(value: Any) -> Any:
    """Of another type, everywhere."""
    if isinstance(value, dict):
        return {key: spoiled(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return {"a": spoiled(value[0])} if value else 7
    return [value] if isinstance(value, str) else "text" if value is not None else {}


def extreme(value: Any) -> Any:
    """The same shape with numbers that no run has."""
    if isinstance(value, dict):
        return {key: extreme(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [extreme(inner) for inner in value]
    return -(10**300) if isinstance(value, int) and not isinstance(value, bool) else value


def changed(name: str, change: Callable[[Any], Any]) -> Change:
    def act(run: Path, _: Path) -> None:
        path = run / name
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return act


DEEP = "[" * 100_000 + "]" * 100_000
KEYS = json.dumps({f"k{place}": place for place in range(1_000_000)})


def trees() -> dict[str, Change]:
    cases: dict[str, Change] = {}
    for name in TREES:
        cases |= {
            f"{name} is a list": content(name, "[1, 2]"),
            f"{name} is deep": content(name, '{"task": ' + DEEP + ', "figures": ' + DEEP + "}"),
            f"{name} is deep, not too deep": content(name, '{"a": ' + "[" * 900 + "]" * 900 + "}"),
            f"{name} has no numbers": content(name, '{"status": NaN, "accuracy": Infinity, "steps": -Infinity}'),
            f"{name} has a number without end": content(name, '{"steps": ' + "9" * 5_000 + "}"),
            f"{name} has other types": changed(name, spoiled),
            f"{name} has extreme numbers": changed(name, extreme),
        }
    cases["run.json has a million keys"] = content("run.json", KEYS)
    cases["evaluation.json has a million keys"] = content("evaluation.json", KEYS)
    cases["metrics.jsonl is deep"] = content("metrics.jsonl", DEEP + "\n" + '{"step": 1, "losses": {"a": 1}}\n')
    cases["metrics.jsonl goes back and forth"] = content("metrics.jsonl", '{"step": 2}\n{"step": 1}\n' * 5_000)
    cases["config.yaml is deep"] = content("config.yaml", "[" * 5_000)
    cases["config.yaml names code"] = content("config.yaml", "a: !!python/object/apply:payload.make []\n")
    cases["config.yaml multiplies"] = content("config.yaml", "a: &a [1]\nb: [*a, *a]\n")
    cases["config.yaml has a number without end"] = content("config.yaml", "seed: " + "9" * 5_000)
    return cases


# -- archives


def bomb(run: Path, _: Path) -> None:
    """3 MB that claim, and give, 3 GB."""
    with (
        zipfile.ZipFile(sample(run), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("images.npy", "w", force_zip64=True) as out,
    ):
        header = {"descr": "|u1", "fortran_order": False, "shape": (3_000, 1_000, 1_000, 1)}
        np.lib.format.write_array_header_1_0(out, header)
        for _number in range(20):
            out.write(bytes(1_000_000))


def archive(name: str, body: bytes, members: int = 1) -> Change:
    def act(run: Path, _: Path) -> None:
        with zipfile.ZipFile(inside(name)(run), "w", zipfile.ZIP_DEFLATED) as out:
            for number in range(members):
                out.writestr(f"images{number or ''}.npy", body)

    return act


def npy(header: str, version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes((version, 0)) + length + header.encode()


LONG_HEADER = b"\x93NUMPY\x02\x00" + struct.pack("<I", 800_000_000) + b" " * 20_000_000
LIES = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n"


# -- checkpoints whose manifest is right


def forged(change: Callable[[dict[str, Any]], object]) -> Change:
    """rank-0.json as `change` leaves it, and a manifest that vouches for it."""

    def act(run: Path, _: Path) -> None:
        place = checkpoint(run)
        tree = json.loads((place / "rank-0.json").read_text())
        change(tree)
        (place / "rank-0.json").write_text(json.dumps(tree))
        vouch(place)

    return act


def vouch(place: Path) -> None:
    manifest = json.loads((place / "MANIFEST.json").read_text())
    for name, entry in manifest["files"].items():
        data = (place / name).read_bytes()
        entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (place / "MANIFEST.json").write_text(json.dumps(manifest))


def no_tensors(run: Path, _: Path) -> None:
    (checkpoint(run) / "rank-0.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    vouch(checkpoint(run))


def manifest_names(name: str) -> Change:
    def act(run: Path, canary: Path) -> None:
        place = checkpoint(run)
        files = {name.format(canary=canary): {"bytes": 6, "sha256": hashlib.sha256(b"canary").hexdigest()}}
        (place / "MANIFEST.json").write_text(json.dumps({"schema": 1, "files": files}))

    return act


def put(tree: dict[str, Any], path: str, value: Any) -> None:
    *parts, last = path.split(".")
    for part in parts:
        tree = tree[part]
    tree[last] = value


def forgeries() -> dict[str, Change]:
    cases: dict[str, Change] = {
        "a checkpoint without tensors": no_tensors,
        "a manifest that names a file elsewhere": manifest_names("../../../canary/file"),
        "a manifest that names a file from the root": manifest_names("{canary}/file"),
        "a manifest that names nothing": content("MANIFEST.json", '{"schema": 1, "files": {}}'),
        "a manifest of other types": content("MANIFEST.json", '{"schema": [], "files": {"rank-0.json": 3}}'),
        "a deep manifest": content("MANIFEST.json", DEEP),
        "a checkpoint that is a list": forged(lambda tree: (tree.clear(), tree.update(state=[], facts=[]))),
    }
    for path, value in {
        "facts": {}, "facts.elapsed": float("nan"), "facts.plan": [], "facts.plan.steps": -1, "facts.plan.moves": 3,
        "facts.marks": {"snapshots": "x"}, "facts.metrics_bytes": 10**17, "facts.latest": {"a": []}, "state": {},
        "state.student": {}, "state.reservoir": {"images": 3}, "state.counters": [1],
        "state.costs": {"count": 3, "total": 4}, "state.reservoir.images": {"$tensor": ["a"]},
        "state.student.first": {"$items": 3}, "state.reservoir.offered": 10**9,
        "state.position.moves": -5, "state.position.planned": 0,
    }.items():  # fmt: skip
        cases[f"a checkpoint with {path} = {value!r:.30}"] = forged(lambda tree, p=path, v=value: put(tree, p, v))
    return cases


# -- code


def student_of(architecture: dict[str, Any]) -> Change:
    """A student's file that names how its network is made."""

    def act(run: Path, _: Path) -> None:
        path = run / "student.safetensors"
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        described = json.loads(header["__metadata__"]["sansdata"])
        header["__metadata__"]["sansdata"] = json.dumps(described | {"architecture": architecture})
        raw = json.dumps(header).encode()
        raw += b" " * (-len(raw) % 8)
        path.write_bytes(len(raw).to_bytes(8, "little") + raw + data[8 + length :])

    return act


FACTORY = {"kind": "factory", "name": "payload:make", "args": {}}
GROUPED = {"kind": "group-norm", "of": FACTORY}


def hostile() -> dict[str, Change]:
    """Every case by its name."""
    cases: dict[str, Change] = {}
    for name in RECORDS:
        cases[f"{name} is a link to the canary"] = link(name)
        cases[f"{name} is a link to /etc/passwd"] = link(name, "/etc/passwd")
    for name in ("samples", "snapshots", "checkpoints", "ledger", "sample", "snapshot", "MANIFEST.json", "rank-0.json",
                 "rank-0.safetensors", "a checkpoint"):  # fmt: skip
        cases[f"{name} is a link to the canary"] = link(name)
    for name in ("lock", "events.log", "metrics.jsonl"):
        cases[f"{name} is a hard link to the canary"] = hard_link(name)
    for name in ("run.json", "config.yaml", "metrics.jsonl", "events.log", "lock", "student.safetensors",
                 "evaluation.json", "report.html", "sample", "snapshot", "MANIFEST.json", "rank-0.json"):  # fmt: skip
        cases[f"{name} is a pipe"] = pipe(name)
    for name in ("run.json", "config.yaml", "metrics.jsonl", "summary.json", "student.safetensors", "sample"):
        cases[f"{name} is a link to /dev/zero"] = link(name, "/dev/zero")
    for name in (*RECORDS, "sample", "snapshot", "MANIFEST.json", "rank-0.safetensors"):
        cases[f"{name} is a folder"] = folder(name)
    for name in ("samples", "snapshots", "checkpoints", "ledger"):
        cases[f"{name} is a file"] = file(name)
    for name in ("run.json", "config.yaml", "metrics.jsonl", "evaluation.json", "student.safetensors", "sample",
                 "snapshot", "rank-0.json", "rank-0.safetensors"):  # fmt: skip
        cases[f"{name} has a terabyte"] = sparse(name)
    for name in (*TREES, "config.yaml", "metrics.jsonl", "sample", "images.npz", "student.safetensors", "snapshot",
                 "rank-0.json", "rank-0.safetensors"):  # fmt: skip
        cases[f"{name} has one bit flipped"] = flip(name, 0)
    for name in ("sample", "images.npz"):
        cases |= {
            f"{name} claims a negative shape": archive(name, npy(LIES % ("|u1", "(-1, 8, 8, 1)"))),
            f"{name} claims a petabyte": archive(name, npy(LIES % ("|u1", "(1000000, 1000000, 1000)"))),
            f"{name} holds objects": archive(name, npy(LIES % ("|O", "(2,)")) + b"cos\nsystem\n"),
            f"{name} has a header without end": archive(name, LONG_HEADER),
            f"{name} has a nested header": archive(name, npy("(" * 9_000)),
            f"{name} has thousands of arrays": archive(name, b"", 3_000),
        }
    return cases | {"sample is a bomb": bomb} | trees() | forgeries() | {
        "a record has other types": content("a record", '{"mode": "strict", "violations": 3, "files": [[]]}'),
        "a record has entries that are none": content("a record", '{"mode": [], "violations": [{"path": {}}, 3]}'),
        "a record is a link to the canary": link("a record"),
        "student.safetensors names code": student_of(FACTORY),
        "student.safetensors names code inside": student_of(GROUPED),
        "run.json names code as its task": changed("run.json", lambda tree: tree | {"task": {"kind": "payload:make"}}),
        "run.json is of another kind of run": changed("run.json", lambda tree: tree | {"kind": "federated"}),
        "run.json is of no kind": changed("run.json", lambda tree: tree | {"kind": ["x"], "status": {}}),
    }  # fmt: skip
