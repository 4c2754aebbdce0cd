"""`sansdata report`: the page of a run anew, or several runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run_dirs: Annotated[list[Path], typer.Argument(metavar="DIR...", help="a run directory, or several to compare")],
    data: Annotated[str | None, typer.Option(metavar="DATA", help="evaluate on this first")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="the page; else DIR/report.html, for several comparison.html")
    ] = None,
) -> None:
    """Write DIR/report.html, or of several runs one page side by side. One file that opens offline."""
    from ..api.report import report as write

    print(write(run_dirs, data, out))
