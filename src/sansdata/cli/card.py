"""`sansdata card`: the model card of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..config import parse_override, read_yaml, set_dotted
from . import words


def card(
    run: words.RunDir,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[key=value ...]", help="license, intended_use, authors and so on")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="default: DIR/README.md")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="the maker's word, as YAML")] = None,
    mlflow: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="also write the run's ONNX file as a model of MLflow's")
    ] = None,
) -> None:
    """Write the model card: hashes from the teacher to each exported file, which data was met, what was measured."""
    settings: dict[str, Any] = {} if config is None else dict(read_yaml(config))
    for text in overrides or ():
        set_dotted(settings, *parse_override(text))
    from ..api.card import write_card

    print(f"card      {write_card(run, out, settings, mlflow)}")
    if mlflow is not None:
        print(f"mlflow    {mlflow}")
