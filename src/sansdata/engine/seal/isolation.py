"""How far a process is cut off from networks and from other files, beyond what Python tells the guard.

The guard sees what goes through Python. What a native library reads by itself it does not see; what is not there cannot
be read. So a sealed run says which of three levels held, with what was found, and says no more than that.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PROC = Path("/proc")
HOOK, NO_NETWORK, CONTAINER = "audit hook only", "no network", "no network, read-only, no other mounts"
LEVELS = (HOOK, NO_NETWORK, CONTAINER)
"""The weakest first."""
LIMITS = {
    HOOK: "Undeclared reads and connections through Python were stopped. What native code reads by itself, and what "
    "other programs hand over, was not watched; the machine had a network and its other files.",
    NO_NETWORK: "The process lay in a network namespace without interfaces: nothing could leave or come by a network. "
    "Other files of the machine were there; reads of them through Python were stopped, by native code they were not "
    "watched.",
    CONTAINER: "The process had no network, could write nowhere but to its own folders, and no file system was mounted "
    "but those of the system and of the declared inputs and output. What the system's image holds is not judged.",
}
VIRTUAL = frozenset((
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs",
    "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "ramfs", "rpc_pipefs", "securityfs", "sysfs", "tmpfs",
    "tracefs",
))  # fmt: skip
"""File systems that hold nothing of a disk."""
OF_A_CONTAINER = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
"""Files that engines of containers mount by themselves."""
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000
"""Flags of unshare(2)."""


@dataclass(frozen=True)
class Isolation:
    """level: the strongest of the three that held. interfaces: of networks, without the loop; None where the system
    does not say. mounts: places where a disk or a share is mounted, beside the root and what the run may use."""

    level: str
    interfaces: tuple[str, ...] | None
    root_read_only: bool
    mounts: tuple[str, ...] | None

    def to_dict(self) -> dict[str, Any]:
        """With what the level does not say."""
        return asdict(self) | {"limits": LIMITS[self.level]}


def detect(run_directory: Path, declared: Iterable[str]) -> Isolation:
    """What holds for this process now. declared: real paths that the run may read."""
    interfaces = _interfaces()
    mounts = list(_mounts())
    root = [options for place, _, options in mounts if place == "/"]
    read_only = bool(root) and "ro" in root[-1].split(",")
    used = {os.path.realpath(run_directory), os.path.realpath(run_directory.parent)}
    for path in declared:
        used |= {path, os.path.dirname(path)}
    others = sorted({place for place, kind, _ in mounts if _holds_files(place, kind) and place not in used})
    level = HOOK
    if interfaces is not None and not interfaces:
        level = CONTAINER if read_only and mounts and not others else NO_NETWORK
    return Isolation(level, interfaces, read_only, tuple(others) if mounts else None)


def leave_networks() -> bool:
    """Puts this process, and whatever it starts, into a network namespace of its own, which has no interface. False
    where the system does not allow that: then nothing has changed.

    To be called before any thread begins, for a namespace is a thread's.
    """
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        user, group = os.getuid(), os.getgid()
        if libc.unshare(NEW_NETWORK) == 0:
            return True
        if libc.unshare(NEW_USER | NEW_NETWORK) != 0:
            return False
    except (OSError, AttributeError):  # no Linux
        return False
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with contextlib.suppress(OSError):  # without a map the process has no name for its user, and the same rights
            (PROC / "self" / name).write_text(text)
    return True


def _interfaces() -> tuple[str, ...] | None:
    try:
        lines = (PROC / "self/net/dev").read_text().splitlines()[2:]
    except OSError:
        return None
    return tuple(sorted(name for line in lines if (name := line.partition(":")[0].strip()) and name != "lo"))


def _mounts() -> Iterator[tuple[str, str, str]]:
    """(place, kind of the file system, options) of each mount, in order."""
    with contextlib.suppress(OSError):
        for line in (PROC / "self/mountinfo").read_text(errors="surrogateescape").splitlines():
            before, _, after = line.partition(" - ")
            fields, rest = before.split(), after.split()
            if len(fields) >= 6 and rest:
                yield fields[4].replace("\\040", " "), rest[0], fields[5]


def _holds_files(place: str, kind: str) -> bool:
    return place not in ("/", *OF_A_CONTAINER) and kind not in VIRTUAL
