"""What is no data wherever a run meets it: what the system itself reads, as an explicit list (the kernel's tables,
locales, fonts, caches of device code), what a run writes into its own directory, and hosts that are this machine."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from typing import Any

from ..run_directory import FILES
from .paths import below

FOLDERS = (
    "/sys", "/etc", "/run/systemd", "/run/udev", "/run/nvidia-persistenced", "/usr/share/zoneinfo",
    "/usr/share/locale", "/usr/lib/locale", "/usr/share/i18n", "/usr/share/terminfo", "/lib/terminfo",
    "/usr/lib/terminfo", "/usr/share/fonts", "/usr/lib/ssl", "/var/cache/fontconfig",
    "/usr/lib/x86_64-linux-gnu/gconv", "/usr/lib/aarch64-linux-gnu/gconv",
)  # fmt: skip
DEVICE_CACHES = (".nv/ComputeCache", ".triton/cache", ".cache/torch/kernels", ".cache/torch_extensions")
"""Below the home folder: compiled code of devices."""
DOORS = re.compile(r"/proc/[^/]+/(task/[^/]+/)?(fd|mem|map_files|root|cwd)(/|$)")
"""Entries of /proc through which other files, pipes and memory are read."""
RUN_FILES = re.compile(
    r"""ledger/[^/]+\.json
    | snapshots/step-[\d-]+\.safetensors | samples/step-[\d-]+\.npz
    | checkpoints/LATEST
    | checkpoints/(\.tmp-[^/]+-)?step-[\d-]+/(MANIFEST\.json | rank-\d+\.(json|safetensors))
    """,
    re.VERBOSE,
)
"""In folders of a run directory: a file of another name was put there by somebody else."""
HOME = os.path.realpath(os.path.expanduser("~"))


def is_system(path: str) -> bool:
    """Whether the real path `path` belongs to the system. Of /dev only character devices do: no disk, no file."""
    if below(path, "/proc"):
        return DOORS.match(path) is None
    if below(path, "/dev"):
        return _is_character_device(path)
    folders = (*FOLDERS, *(os.path.join(HOME, cache) for cache in DEVICE_CACHES))
    return any(below(path, folder) for folder in folders)


def is_run_file(name: str) -> bool:
    """Whether a run writes a file of this name, a path relative to its directory."""
    return name in FILES or RUN_FILES.fullmatch(name) is not None


def keeps_no_bytes(path: str) -> bool:
    """Whether what is read there is made as it is read, so that it has no hash."""
    return any(below(path, root) for root in ("/proc", "/sys", "/dev"))


def is_this_machine(address: Any) -> bool:
    """Of a socket's address: a path, or a loopback host by its whole name."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0]).partition("%")[0]
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_character_device(path: str) -> bool:
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except OSError:
        return False
