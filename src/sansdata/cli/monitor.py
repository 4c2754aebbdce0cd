"""`sansdata monitor`: whether what a deployed model meets has moved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import words


def monitor(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="a folder or a .zip file")],
    data: words.OptionalData = None,
    aggregates: Annotated[
        Path | None, typer.Option(metavar="FILE", help="counts that were made before, instead of --data")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(metavar="FILE", help="aggregates to compare with, instead of the bundle's own")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="keep the aggregates of --data")] = None,
) -> None:
    """Compare counts of inputs and scores with a reference; exit code 1 where something moved (PSI above 0.2)."""
    from ..api.monitor import monitor as compare

    done = compare(bundle, data, aggregates, reference, out)
    print(f"reference {done.reference.count:,} inputs ({done.reference.source or 'of unknown origin'})")
    print(f"now       {done.now.count:,} inputs ({done.now.source or 'of unknown origin'})")
    for one in done.drifts:
        mark = "MOVED" if one.flagged else "ok"
        note = f"   {one.note}" if one.note else ""
        print(f"{mark:<9} PSI {one.psi:6.3f} (by chance up to {one.by_chance:.3f})  {one.what}{note}")
    if out is not None:
        print(f"aggregates {out}")
    if done.flagged:
        print("verdict   something moved: look at what the model meets, and validate it anew")
        raise typer.Exit(1)
    print("verdict   nothing moved")
