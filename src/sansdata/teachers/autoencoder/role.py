"""What a run's ledger calls the file of a teacher."""

from __future__ import annotations

from pathlib import Path

from ...models.tensor_file import has_key, read_metadata
from . import file, picture_file
from .stored import description_in


def role_of(spec: str) -> str:
    """'teacher', unless it holds latents of real rows or pictures."""
    path = Path(spec)
    for key, form, what in (
        (file.KEY, file.Description, "rows"),
        (picture_file.KEY, picture_file.Description, "pictures"),
    ):
        if has_key(path, key):
            count = description_in(path, read_metadata(path), key, form).real_latents
            return f"teacher with latents of {count:,} real {what}: personal data" if count else "teacher"
    return "teacher"
