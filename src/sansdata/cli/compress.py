"""`sansdata compress`: a smaller network, calibrated with synthesised images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigError
from ..tasks import load_task
from . import words


def compress(
    model: Annotated[str, typer.Argument(metavar="DIR_OR_SPEC", help="a run directory, or a SPEC with --task")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="the student file to write; must not exist yet")],
    images: Annotated[
        str | None, typer.Option(metavar="DIR_OR_DATA", help="a run, or images as of evaluate; default: the run itself")
    ] = None,
    keep: Annotated[float | None, typer.Option(metavar="SHARE", help="prune: the share of weights to keep")] = None,
    steps: Annotated[int, typer.Option(metavar="N", help="after pruning, steps of learning the old answers")] = 0,
    bits: Annotated[int | None, typer.Option(metavar="N", help="quantize: bits of weights and inputs, 2 to 8")] = None,
    input_bits: Annotated[
        int | None, typer.Option(metavar="N", help="bits of inputs where they differ; 32: float")
    ] = None,
    task: words.OptionalTask = None,
    device: words.Device = "auto",
) -> None:
    """Prune, quantize, or both in this order; needs images that a run synthesised, no data."""
    if keep is None and bits is None and input_bits is None:
        raise ConfigError("nothing to do: give --keep SHARE to prune, --bits N to quantize, or both")
    job = load_task(task).model_dump(mode="json") if task else None
    from ..api.compress import prune, quantize

    source, done = model if images is None else images, None
    if keep is not None:
        last = out if bits is None and input_bits is None else None
        done = prune(model, source, keep, steps, task=job, out=last, device=device)
        print(f"pruned    {words.percent(done.kept)} of the weights kept")
        print(f"agreement {words.percent(done.agreement)} with the original on the images")
    if bits is not None or input_bits is not None:
        weights = 32 if bits is None else bits
        inputs = weights if input_bits is None else input_bits
        done = quantize(done or model, source, weights, inputs, task=job, out=out, device=device)
        print(f"quantized weights {weights} bits, inputs {inputs} bits, simulated")
        print(f"agreement {words.percent(done.agreement)} with the network before, on the images")
    print(f"student   {out}")
