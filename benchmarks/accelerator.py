"""What is worth measuring in ten minutes of one accelerator, into one JSON file.

    python benchmarks/accelerator.py --minutes 9 --json accelerator.json [--toy]

Matrix rate; seconds and memory of a synthesis round and a student step of `fm`, ResNet-34 to ResNet-18 and ResNet-56 to
ResNet-20, in fp32 and bf16; a run that is stopped and resumed, compared bit for bit with one that was not; and in the
minutes that are left, the public ResNet-56 distilled into a ResNet-20 from random weights, judged on real images. What
is not at hand (an accelerator, SANSDATA_DATA) is left out, and the file says so. --toy: small networks and images, for
trying the script on a processor.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ours import Ours, Size, settled

import sansdata
from sansdata.engine.manifest import processor
from sansdata.files import sha256
from sansdata.runtime import resolve_device, resolve_precision

REPEATS = 10
PAIRS = {"resnet34 to resnet18": ("resnet34", "resnet18"), "resnet56 to resnet20": ("resnet56", "resnet20")}
TOY_PAIRS = {"resnet8 to resnet8": ("resnet8", "resnet8")}
BATCHES, TOY_BATCHES = (256, 1024), (16,)
PUBLIC = "checkpoints/cifar10_resnet/resnet56-4bfd9763.th"
KEPT_BACK = 40.0
"""Seconds of the whole that judging and writing need."""
LEAST = 60.0
"""Seconds of distillation, below which a run says nothing."""


def waited(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds of `work`, until the device is done with it."""
    _settle(device)
    start = time.perf_counter()
    work()
    _settle(device)
    return time.perf_counter() - start


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def machine(device: torch.device) -> dict[str, Any]:
    """What was measured on."""
    about: dict[str, Any] = {"torch": torch.__version__, "sansdata": sansdata.__version__, "processor": processor()}
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        about |= {"accelerator": card.name, "memory_gib": card.total_memory / 2**30, "cuda": torch.version.cuda}
    return about


def matrix_rate(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """FLOP/s of a product of two square matrices: the best of ten that are timed together, three times."""
    a = torch.randn(size, size, dtype=dtype, device=device)
    a @ a
    return 10 * 2 * size**3 / min(waited(device, lambda: [a @ a for _ in range(10)]) for _ in range(3))


def steps(device: torch.device, pair: tuple[str, str], batch: int, precision: str, size: Size) -> dict[str, float]:
    """Median seconds of a synthesis round and of a student step with fresh views, and peak memory in GiB."""
    side = Ours(size, view="crop+flip", pair=pair, device=str(device), precision=precision)
    side.fill()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    found: dict[str, float] = {}
    for name, move in (("synthesis round, s", side.synthesise), ("student step, s", side.transfer)):
        waited(device, move)
        found[name] = statistics.median(waited(device, move) for _ in range(REPEATS))
    found["images a second in a student step"] = batch / found["student step, s"]
    if device.type == "cuda":
        found["peak memory, GiB"] = torch.cuda.max_memory_allocated(device) / 2**30
    return found


def resumed_alike(device: str, toy: bool) -> dict[str, Any]:
    """Whether a run in two parts ends with the bytes of one that was not stopped."""
    from sansdata.errors import Interrupted
    from sansdata.tasks import KNOWN_TASKS

    task = KNOWN_TASKS["digits"] if toy else KNOWN_TASKS["cifar10"]
    pair = TOY_PAIRS["resnet8 to resnet8"] if toy else PAIRS["resnet56 to resnet20"]
    torch.manual_seed(0)
    teacher = sansdata.Teacher.from_module(settled(pair[0], task), task)
    how: dict[str, Any] = {
        "student": pair[1], "method": "fm", "budget": "60steps", "preset": "small",
        "options": {"warmup_rounds": 1, "steps_per_round": 20, "batch": 32},
        "settings": {"device": device, "engine": {"images": 0, "snapshots": 1}},
    }  # fmt: skip

    def stop(step: int, _: dict[str, float]) -> None:
        if step == 30:
            os.kill(os.getpid(), 15)

    with tempfile.TemporaryDirectory() as folder:
        whole, parts = Path(folder) / "whole", Path(folder) / "parts"
        sansdata.distill(teacher, out=whole, **how)
        try:
            sansdata.distill(teacher, out=parts, on_step=stop, **how)
            stopped = False
        except Interrupted:
            stopped = True
            sansdata.distill(teacher, out=parts, resume=True, **how)
        same = sha256(whole / "student.safetensors") == sha256(parts / "student.safetensors")
    return {"stopped": stopped, "bitwise": same}


def public_pair(device: str, seconds: float) -> dict[str, Any]:
    """Accuracy of a ResNet-20 from random weights after `seconds`, beside its public teacher. Raises DataError where
    the set is not at hand."""
    file = Path(os.environ["SANSDATA_DATA"]) / PUBLIC
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run = sansdata.distill(
            f"resnet56@{file}", "resnet20", "fm", f"{seconds:.0f}s", Path(folder) / "run", task="cifar10",
            preset="medium", settings={"device": device},
        )  # fmt: skip
        spent = time.perf_counter() - start
        judged = sansdata.evaluate(run, "cifar10", teacher=f"resnet56@{file}")
        summary = json.loads((Path(folder) / "run" / "summary.json").read_text())
    return {
        "budget, s": seconds, "spent, s": spent, "images judged": judged.count, "student": judged.accuracy,
        "teacher": judged.teacher_accuracy, "student steps": summary.get("steps"),
    }  # fmt: skip


def measure(minutes: float, toy: bool) -> dict[str, Any]:
    """Everything that is at hand, in the order of what it is worth; the longest last."""
    end = time.monotonic() + 60 * minutes
    device = torch.device(resolve_device("auto"))
    found: dict[str, Any] = {"machine": machine(device), "left out": {}}
    if device.type == "cpu":
        found["left out"]["accelerator"] = "none is at hand: all figures are of the processor"
    side = 512 if toy else 8192
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
    found["matrix rate, FLOP/s"] = {name: matrix_rate(device, kind, side) for name, kind in kinds.items()}
    found["resume"] = resumed_alike(str(device), toy)
    found["steps"] = []
    for name, pair in (TOY_PAIRS if toy else PAIRS).items():
        for batch in TOY_BATCHES if toy else BATCHES:
            for precision in dict.fromkeys(["fp32", resolve_precision("auto", str(device))]):
                if time.monotonic() > end - KEPT_BACK:
                    found["left out"][f"{name}, {batch}, {precision}"] = "no time was left"
                    continue
                size = Size(8, batch, 8) if toy else Size(batch=batch)
                row = steps(device, pair, batch, precision, size)
                found["steps"].append({"pair": name, "batch": batch, "precision": precision} | row)
    left = end - time.monotonic() - KEPT_BACK
    if toy or "SANSDATA_DATA" not in os.environ:
        found["left out"]["public pair"] = "a toy measures none" if toy else "SANSDATA_DATA is not set"
    elif left < LEAST:
        found["left out"]["public pair"] = f"{left:.0f} s were left"
    else:
        found["public pair"] = public_pair(str(device), left)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--toy", action="store_true")
    args = parser.parse_args()
    if not args.json.parent.is_dir():
        parser.error(f"{args.json.parent}: there is no such folder to write into")
    found = measure(args.minutes, args.toy)
    args.json.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
