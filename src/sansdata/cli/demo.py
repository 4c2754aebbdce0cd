"""`sansdata demo`: the whole story in under three minutes, each part in a process of its own, as in real life."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from ..errors import RunDirectoryError, SansdataError
from ..files import user_path

VENDOR = """
import sys
from sansdata.cli.vendor import train_vendor_teacher
train_vendor_teacher(sys.argv[1])
"""


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="where everything goes")] = Path("demo-run"),
    budget: Annotated[str, typer.Option(metavar="B", help="of the distillation")] = "45s",
) -> None:
    """A vendor trains a teacher on digits; we distil it without ever seeing one, then evaluate and export."""
    out = user_path(out, "--out")
    if out.exists():
        raise RunDirectoryError(f"{out} already exists; remove it or give --out another name")
    out.mkdir(parents=True)
    start = time.perf_counter()
    teacher, run = str(out / "vendor.safetensors"), str(out / "student")
    python = [sys.executable, "-m", "sansdata"]
    _step("1. The vendor trains a teacher on real digits (its own process)", [sys.executable, "-c", VENDOR, teacher])
    spec = ["--teacher", f"resnet8@{teacher}", "--task", "digits"]
    _step("2. We look at the file we were given", [*python, "check", *spec, "--student", "shrink:0.5"])
    _step(
        "3. We distil it in a strict run: reading any data file would stop it",
        [*python, "distill", *spec, "--student", "shrink:0.5", "--method", "fm", "--preset", "small", "--out", run,
         "--budget", budget, "--strict", "--threads", "1", "view=crop"],
    )  # fmt: skip
    _step(
        "4. Only now are real digits opened: held-out ones, to see what the student is worth",
        [*python, "evaluate", run, "--data", "digits", "--teacher", f"resnet8@{teacher}"],
    )
    _step("5. The student for other runtimes, parity checked", [*python, "export", run, "--to", "onnx"])
    _step("6. The report, now with figures on real digits", [*python, "report", run])
    print(f"\nDone in {time.perf_counter() - start:.0f} s. Open {out / 'student' / 'report.html'}")


def _step(title: str, command: list[str]) -> None:
    print(f"\n== {title}", flush=True)
    shown = " ".join(part if "\n" not in part else "..." for part in command[1:])
    print(f"$ python {shown}", flush=True)
    code = subprocess.run(command, check=False).returncode
    if code != 0:
        raise SansdataError(f"this step ended with exit code {code}; the demo stops here")
