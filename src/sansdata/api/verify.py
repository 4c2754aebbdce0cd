"""Whether the record of a sealed run can be believed."""

from __future__ import annotations

from pathlib import Path

from ..engine.seal.check import Checked, check
from ..errors import SealError
from ..signing import public_key


def verify_run(run_dir: str | Path, key: str | Path | None = None) -> Checked:
    """Checks the chain of a sealed run: that no line was changed, removed or moved, that no phase was broken, that the
    files are those that were recorded, and with the public key in the file `key` who signed its end.

    Raises SealError that names all that is wrong, ConfigError for a key that is none.
    """
    checked = check(Path(run_dir), None if key is None else public_key(key))
    if checked.faults:
        raise SealError(f"{run_dir}: this record does not hold.\n  " + "\n  ".join(checked.faults))
    return checked
