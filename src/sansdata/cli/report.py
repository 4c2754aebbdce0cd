"""`sansdata report`: the page anew, with figures on real data where there is some."""

from __future__ import annotations

from typing import Annotated

import typer

from . import words


def report(
    run_dir: words.RunDir,
    data: Annotated[str | None, typer.Option(metavar="DATA", help="evaluate on this first")] = None,
) -> None:
    """Write DIR/report.html, one file that opens offline."""
    from ..api import report as write

    print(write(run_dir, data))
