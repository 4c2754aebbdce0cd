"""Files that a verb is about to write."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..errors import ConfigError


def require_free(*files: Path, ours: Callable[[Path], bool] = lambda file: False, flag: str = "--out") -> None:
    """Raises ConfigError where one of the files is there already, or where its folder is not or cannot be written to.
    Asked before the work begins: what stands there may be the user's.

    ours: whether a file is an earlier one of the same verb, which gives way. flag: by which another is named.
    """
    for file in files:
        if not file.name:  # '', or the folder one is in
            raise ConfigError(f"'{file}' names no file; name one with {flag}")
        if os.path.lexists(file) and not ours(file):
            raise ConfigError(f"{file}: is there already; name another file with {flag}")
        if not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
            raise ConfigError(f"{file}: its folder is not there, or cannot be written to; name another with {flag}")
