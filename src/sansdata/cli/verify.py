"""`sansdata verify`: whether the record of a sealed run can be believed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import words

KEY = "the file of the public key of the house that sealed the run"


def verify(
    run: words.RunDir,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help=KEY)] = None,
) -> None:
    """Check the record of a sealed run; exit code 2 where a line was changed or a phase was broken."""
    from ..api.verify import verify_run

    checked = verify_run(run, key)
    counts = ", ".join(f"{phase} {count}" for phase, count in checked.counts.items())
    print(f"chain     {len(checked.records)} records, none changed, removed or moved ({counts})")
    print(f"files     {len({name for one in checked.records for name in one.files})}, each as it was recorded last")
    print(f"isolation {checked.isolation.get('level', 'not recorded')}")
    if limits := checked.isolation.get("limits"):
        print(f"limits    {limits}")
    signature = f"by the key {checked.signer[:16]}" if checked.signer else (
        "present, not checked: give the public key with --key" if checked.signed else "none: who can write here can "
        "write the whole record anew"
    )  # fmt: skip
    print(f"signature {signature}")
    print(f"head      {checked.head}")
