"""Files that a verb is about to write."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ConfigError


def require_free(*files: Path) -> None:
    """Raises ConfigError where one of the files is there already, or where its folder is not or cannot be written to.
    Asked before the work begins: what stands there may be the user's."""
    for file in files:
        if os.path.lexists(file):
            raise ConfigError(f"{file}: is there already; name another file with --out")
        if not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
            raise ConfigError(f"{file}: its folder is not there, or cannot be written to; name another with --out")
