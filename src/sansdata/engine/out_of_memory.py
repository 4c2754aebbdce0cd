"""Where memory does not suffice: what was asked for, what was there, and which settings ask for less.

Nothing is lowered by itself: another batch would be another student, without a word.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from ..errors import OutOfMemory, first_line

SIZES = ("batch", "width", "pool", "copies", "memory")
"""Settings with such a word in their name decide how much is held at once."""


def is_out_of_memory(fault: BaseException) -> bool:
    """Whether a fault of torch, NumPy or Python says that memory was refused."""
    text = str(fault)
    refused = "can't allocate memory" in text or "out of memory" in text or "ALLOC_FAILED" in text
    return isinstance(fault, (MemoryError, torch.OutOfMemoryError)) or (isinstance(fault, RuntimeError) and refused)


def out_of_memory(fault: BaseException, settings: Mapping[str, Any], device: torch.device) -> OutOfMemory:
    """The fault in our words. settings: the method's own, as a tree."""
    sizes = [f"{name}={value}" for name, value in _sizes(settings)]
    lower = f"Lower one of {', '.join(sizes)}" if sizes else "Lower the batch, the width or the pool of the method"
    return OutOfMemory(
        f"{_held(device)}, and more was asked for ({_reason(fault)}). {lower}, or take a smaller --preset; nothing was "
        "lowered by itself. What was saved stands: continue with --resume where there is more memory."
    )


def _held(device: torch.device) -> str:
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        peak = torch.cuda.max_memory_allocated(device)
        return f"out of memory on {device}: {_gb(peak)} of {_gb(total)} were in use at most, {_gb(free)} are free"
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"out of memory: this process held {_gb(peak)} at most, of {_gb(total)} in this machine"


def _reason(fault: BaseException) -> str:
    """torch's first line names its own source file first; what was asked for comes behind it."""
    line = first_line(fault)
    return line[line.index("you tried") :] if "you tried" in line else line


def _gb(count: float) -> str:
    return f"{count / 2**30:.2f} GB"


def _sizes(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, int]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _sizes(value, f"{path}{name}.")
        elif isinstance(value, int) and not isinstance(value, bool) and any(word in name for word in SIZES):
            yield f"{path}{name}", value
