"""`sansdata doctor`: what this machine offers, and what would slow or break a run."""

from __future__ import annotations

import importlib.util
import os
import platform


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
    for extra, names in {
        "edge": ("onnx", "onnxscript", "onnxruntime"),
        "track": ("tensorboard",),
        "vision": ("timm",),
    }.items():
        missing = [name for name in names if importlib.util.find_spec(name) is None]
        print(f"extra     {extra:<8} {'installed' if not missing else 'missing ' + ', '.join(missing)}")
    data = os.environ.get("SANSDATA_DATA")
    print(f"data      {data or 'SANSDATA_DATA is not set: known sets are looked for by their usual download'}")
