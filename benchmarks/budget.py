"""Where the time of a phase goes, and what its multiplications would take at the machine's matrix rate."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

GROUPS = {
    "convolutions backward": r"^ConvolutionBackward|convolution_backward|^AddmmBackward|^MmBackward",
    "convolutions forward": r"^aten::(conv2d|conv_transpose2d|convolution|linear|addmm)$",
    "BatchNorm and statistics": r"^aten::(native_|_)?batch_norm|^NativeBatchNormBackward|^_ChannelStatistics"
    r"|^aten::(var|mean|norm|linalg_vector_norm)$|^(Var|Mean|Norm|LinalgVectorNorm)Backward",
    "elementwise": r"^aten::(relu|clamp|threshold|leaky_relu|sigmoid|add|sub|mul|div|sqrt|copy_|_?to|where|fill_|zero_"
    r"|round|upsample|_foreach)|^Optimizer",
}
"""An operator belongs to the first group that it, or an operator around it, is named by; linear layers count with the
convolutions."""
REST = "the rest"


def budget(run: Callable[[], None]) -> dict[str, Any]:
    """Seconds of one run, in all and by group, and its floating-point operations, two to a multiply-add."""
    counter = FlopCounterMode(display=False)
    with counter:
        run()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        start = time.perf_counter()
        run()
        spent = time.perf_counter() - start
    seconds = dict.fromkeys([*GROUPS, REST], 0.0)
    for event in profiler.events() or []:
        seconds[group_of(event)] += event.self_cpu_time_total / 1e6
    seconds[REST] += spent - sum(seconds.values())  # Python, between operators
    return {"seconds": spent, "groups": seconds, "flops": counter.get_total_flops()}


def group_of(event: Any) -> str:
    names = []
    while event is not None:
        names.append(event.name)
        event = event.cpu_parent
    return next((group for group, pattern in GROUPS.items() if any(re.search(pattern, name) for name in names)), REST)


def matrix_rate(precision: str) -> float:
    """FLOP/s of a product of two square matrices in 'fp32' or 'bf16': the best that this machine is seen to do."""
    size = 2048
    a = torch.randn(size, size, dtype={"fp32": torch.float32, "bf16": torch.bfloat16}[precision])
    times = []
    for _ in range(6):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)
