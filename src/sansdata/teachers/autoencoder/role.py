"""What a run's ledger calls the file of a teacher."""

from __future__ import annotations

from pathlib import Path

from . import file, picture_file


def role_of(spec: str) -> str:
    """'teacher', unless it holds latents of real rows or pictures."""
    path = Path(spec)
    for holds, count_in, what in (
        (file.is_autoencoder, file.real_latents_in, "rows"),
        (picture_file.is_picture_autoencoder, picture_file.real_latents_in, "pictures"),
    ):
        if holds(path):
            count = count_in(path)
            return f"teacher with latents of {count:,} real {what}: personal data" if count else "teacher"
    return "teacher"
