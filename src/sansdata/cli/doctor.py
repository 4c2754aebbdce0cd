"""`sansdata doctor`: what this machine offers, and what would slow or break a run."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata

_REQUIREMENT = re.compile(r"""(?P<name>[\w.-]+)(\[(?P<extra>[\w-]+)\])?.*\bextra == ['"](?P<of>[\w-]+)""")
"""As in `flwr[simulation]>=1.40; extra == 'flower-sim'`."""


def doctor() -> None:
    """Say what this machine offers and what to mend."""
    import torch

    from ..runtime import has_fast_bf16, resolve_device

    device = resolve_device("auto")
    print(f"python    {platform.python_version()}   torch {torch.__version__}")
    print(f"device    {device}   bf16 {'in hardware' if has_fast_bf16(device) else 'not in hardware: fp32 is used'}")
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    load = os.getloadavg()[0]
    print(f"cores     {cores}   threads {threads}   load {load:.1f}")
    if load > 0.75 * cores:
        print("warning   the machine is busy; give each process its share with --threads")
    if os.environ.get("OMP_WAIT_POLICY", "").upper() != "PASSIVE":
        print("warning   OMP_WAIT_POLICY is not PASSIVE: busy processes will slow each other many times over")
    for extra in metadata.metadata("sansdata").get_all("Provides-Extra") or ():
        missing = _missing("sansdata", extra)
        print(f"extra     {extra:<13} {'missing ' + ', '.join(dict.fromkeys(missing)) if missing else 'installed'}")
    data = os.environ.get("SANSDATA_DATA")
    print(f"data      {data or 'SANSDATA_DATA is not set: known sets are looked for by their usual download'}")


def _missing(package: str, extra: str) -> list[str]:
    """What is not installed of the packages that an extra brings, as the installed `package` says; itself if it is not
    there."""
    try:
        wanted = [_REQUIREMENT.match(line) for line in metadata.requires(package) or ()]
        return [name for one in wanted if one and one["of"] == extra for name in _missing(one["name"], one["extra"])]
    except metadata.PackageNotFoundError:
        return [package]
