"""What a run writes into its directory, by name: a file of another name was put there by somebody else."""

from __future__ import annotations

import re

NAMES = re.compile(
    r"""lock | (config\.yaml) | ((run|plan|ledger|summary|evaluation)\.json) | (metrics\.jsonl) | (events\.log)
    | (student(\.best)?\.safetensors) | ((images|kept)\.npz)
    | ledger/[^/]+\.json
    | snapshots/step-\d+\.safetensors | samples/step-\d+\.npz
    | checkpoints/LATEST
    | checkpoints/(\.tmp-[^/]+-)?step-[\d-]+/(MANIFEST\.json | rank-\d+\.(json|safetensors))
    """,
    re.VERBOSE,
)


def is_run_file(name: str) -> bool:
    """Of a path relative to the run directory."""
    return NAMES.fullmatch(name) is not None
