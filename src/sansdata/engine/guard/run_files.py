"""What a run writes into its directory, by name: a file of another name was put there by somebody else."""

from __future__ import annotations

import re

from ..run_directory import FILES

BELOW = re.compile(
    r"""ledger/[^/]+\.json
    | snapshots/step-[\d-]+\.safetensors | samples/step-[\d-]+\.npz
    | checkpoints/LATEST
    | checkpoints/(\.tmp-[^/]+-)?step-[\d-]+/(MANIFEST\.json | rank-\d+\.(json|safetensors))
    """,
    re.VERBOSE,
)


def is_run_file(name: str) -> bool:
    """Of a path relative to the run directory."""
    return name in FILES or BELOW.fullmatch(name) is not None
