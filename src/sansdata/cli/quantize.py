"""`sansdata quantize`: a file of integers from a trained network, without data."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..tasks import load_task
from . import words

CALIBRATE = (
    "where ranges come from: dfq (BatchNorm), zeroq, noise, a method of `sansdata list methods` (makes a run of "
    "--budget), a run directory, or images as of evaluate"
)


class Bits(StrEnum):
    int8 = "int8"


class Per(StrEnum):
    tensor = "tensor"
    channel = "channel"


class Runtime(StrEnum):
    onnx = "onnx"
    pt2 = "pt2"


def quantize(
    model: Annotated[str, typer.Argument(metavar="DIR_OR_SPEC", help="a run directory, or a SPEC with --task")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="the file to write; must not exist yet")],
    to: Annotated[Bits, typer.Option(help="the numbers that it computes with")] = Bits.int8,
    calibrate: Annotated[str, typer.Option(metavar="HOW", help=CALIBRATE)] = "dfq",
    per: Annotated[Per, typer.Option(help="one scale for a weight, or for each of its output channels")] = Per.channel,
    runtime: Annotated[Runtime, typer.Option(help="onnxruntime, or torch (needs torchao)")] = Runtime.onnx,
    task: words.OptionalTask = None,
    budget: Annotated[str, typer.Option(metavar="B", help="of the run, where a method calibrates")] = "60s",
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
) -> None:
    """Write a classifier of images as INT8: BatchNorm folded, layers evened out, biases corrected, ranges found."""
    job = load_task(task).model_dump(mode="json") if task else None
    from ..api.quantize import to_int8

    done = to_int8(
        model, out, calibrate, per=per.value, runtime=runtime.value, task=job, budget=budget, seed=seed
    )  # fmt: skip
    for note in done.notes:
        print(f"note      {note}")
    if done.by_inputs:
        why = ", since BatchNorm does not tell them" if calibrate == "dfq" else ""
        print(f"ranges    by inputs{why}: {', '.join(done.by_inputs)}")
    print(f"agreement {words.percent(done.agreement)} with the float network on what calibrated it")
    print(f"file      {done.file}  ({done.size:,} bytes)")
