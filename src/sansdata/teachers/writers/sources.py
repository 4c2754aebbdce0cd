"""From what a user writes to a writer: the specs that name one."""

from __future__ import annotations

from pathlib import Path

from .base import Writer
from .files import is_writer_file, load_writer_file


def is_writer(spec: str) -> bool:
    """Whether a spec names a teacher that writes."""
    return is_writer_file(Path(spec))


def load_writer(spec: str) -> Writer:
    """Raises TeacherError for what cannot be read."""
    return load_writer_file(Path(spec))
