"""How far a process is cut off: what is claimed follows from what the kernel says, and is never more."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sansdata.engine.seal import isolation
from sansdata.engine.seal.isolation import CONTAINER, HOOK, LIMITS, NO_NETWORK, detect

DEV = "Inter-|   Receive\n face |bytes\n    lo: 1 2\n"
HEAD = """\
20 1 0:30 / / {root},relatime - overlay overlay rw
21 20 0:21 / /proc rw - proc proc rw
22 20 0:22 / /dev/shm rw - tmpfs shm rw
23 20 0:40 / /etc/hosts rw - ext4 /dev/sda1 rw
"""


def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dev: str | None, mounts: str | None) -> None:
    (tmp_path / "self/net").mkdir(parents=True)
    if dev is not None:
        (tmp_path / "self/net/dev").write_text(dev)
    if mounts is not None:
        (tmp_path / "self/mountinfo").write_text(mounts)
    monkeypatch.setattr(isolation, "PROC", tmp_path)


def mount(place: str, options: str = "ro") -> str:
    return f"30 20 8:1 / {place} {options} - ext4 /dev/sda1 rw\n"


@pytest.mark.parametrize(
    ("dev", "mounts", "level"),
    [
        (DEV + "  eth0: 1 2\n", HEAD.format(root="ro"), HOOK),
        (DEV, HEAD.format(root="rw"), NO_NETWORK),
        (DEV, HEAD.format(root="ro"), CONTAINER),
        (DEV, HEAD.format(root="ro") + mount("/bundle") + mount("/out", "rw"), CONTAINER),
        (DEV, HEAD.format(root="ro") + mount("/data"), NO_NETWORK),
        (DEV, HEAD.format(root="ro") + mount("/bundle/sub"), NO_NETWORK),
        (DEV, HEAD.format(root="ro") + "31 20 0:50 / /share rw - nfs server:/patients rw\n", NO_NETWORK),
        (DEV, None, NO_NETWORK),
        (None, HEAD.format(root="ro"), HOOK),
        (None, None, HOOK),
        ("", "broken", NO_NETWORK),
    ],
)
def test_a_level_is_claimed_where_it_holds(
    dev: str | None, mounts: str | None, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(tmp_path, monkeypatch, dev, mounts)
    found = detect(Path("/out/run"), ["/bundle/LICENSE"])
    assert found.level == level
    assert found.to_dict()["limits"] == LIMITS[level]


def test_what_was_found_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(tmp_path, monkeypatch, DEV + "  eth0: 1\n", HEAD.format(root="rw") + mount("/my\\040data"))
    found = detect(Path("/out/run"), [])
    assert (found.interfaces, found.mounts, found.root_read_only) == (("eth0",), ("/my data",), False)


def test_a_process_leaves_its_networks(tmp_path: Path) -> None:
    """In a process of its own; where the system does not allow it nothing changes."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom sansdata.engine.seal.isolation import detect, leave_networks\n"
        "left = leave_networks()\nassert 'torch' not in sys.modules\n"
        "found = detect(Path('/nowhere/run'), [])\n"
        "print(left, found.level != 'audit hook only', open(__file__).read(6))"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    before = Path("/proc/self/net/dev").read_text().count("\n")
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, env=os.environ, check=True)
    left, cut_off, readable = ended.stdout.split()
    assert readable == "import"
    assert left == "False" or cut_off == "True"
    assert Path("/proc/self/net/dev").read_text().count("\n") == before
    with socket.socket():
        pass
