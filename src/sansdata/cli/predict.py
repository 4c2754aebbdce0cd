"""`sansdata predict`: an exported model asked, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import DataError, RunDirectoryError
from ..files import exists


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="an exported model")],
    inputs: Annotated[
        Path | None, typer.Argument(metavar="INPUTS", help=".npy, .npz, or a picture; columns under their names")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="an .npz file for the answers as numbers")] = None,
    test: Annotated[bool, typer.Option("--self-test", help="ask what the file beside the model asks")] = False,
    measure: Annotated[bool, typer.Option("--measure", help="latency of one input and peak memory, as JSON")] = False,
    threads: Annotated[int, typer.Option(metavar="N", min=1)] = 1,
) -> None:
    """Print the class of each input and how surely; needs onnxruntime and numpy, not torch."""
    if out is not None and exists(out):
        raise RunDirectoryError(f"--out {out} already exists; give another name")
    from ..deploy import predict as alone

    try:
        alone.run(model, inputs, out, test, measure, threads)
    except alone.PredictError as fault:
        raise DataError(str(fault)) from None
