"""Paths compared by whole parts: `/data2` is not below `/data`."""

from __future__ import annotations

import os


def below(path: str, root: str) -> bool:
    """Whether the real path `path` is `root` or lies in it, at any depth."""
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
