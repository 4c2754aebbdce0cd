"""`sansdata export`: the student for other runtimes, parity checked."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import words

if TYPE_CHECKING:
    from ..api.export import Exported


class Target(StrEnum):
    onnx = "onnx"
    int8 = "onnx-int8"
    pt2 = "pt2"
    executorch = "executorch"
    diffusers = "diffusers"
    adapters = "adapters"


def export(
    model: Annotated[Path, typer.Argument(metavar="DIR_OR_FILE", help="a run directory, or a student file")],
    to: Annotated[Target, typer.Option(help="the format")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="default: DIR/student.FORMAT, or beside FILE"),
    ] = None,
) -> None:
    """Write the student with its preprocessing inside: images in 0..1, columns of a table or token ids go in."""
    from ..api.export import export as write

    for line in lines_of(write(model, to.value, out)):
        print(line)


def lines_of(done: Exported) -> list[str]:
    """What is said of a file that was exported."""
    lines = [f"file      {done.file}  ({done.size:,} bytes)"]
    lines += [f"note      {note}" for note in done.notes]
    if done.float_size and done.float_p50:
        share, faster = done.size / done.float_size, done.float_p50 / done.cost.p50
        lines.append(f"          {words.percent(share)} of the float file, {faster:.2f} times as fast here")
    else:
        allowed = f"{done.allowed_difference:.0e} allowed, on {done.inputs} inputs"
        lines.append(f"parity    differs by {done.max_abs_difference:.2e} at most, {allowed}")
    if done.argmax_agreement is not None:
        lines.append(f"          same class on {words.percent(done.argmax_agreement)}")
    cost = done.cost
    ends = f"{cost.p50:.3f} / {cost.p95:.3f} / {cost.p99:.3f} ms"
    memory = f", peak memory {cost.peak_memory_mb:.0f} MB" if cost.peak_memory_mb else ""
    lines.append(f"latency   {ends} (p50 / p95 / p99) for one input on {cost.threads} thread{memory}")
    if done.self_test:
        lines.append(f"self-test {done.self_test}")
    return lines
