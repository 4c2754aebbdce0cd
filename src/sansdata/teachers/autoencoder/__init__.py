"""A teacher that draws latents and decodes them into rows: a fair autoencoder of a table."""

from .base import ENCODES, MODES, AutoEncoder
from .file import is_autoencoder, load_autoencoder, role_of, save_autoencoder
from .teacher import load_autoencoder_teacher, task_of, teacher_of

__all__ = [
    "ENCODES",
    "MODES",
    "AutoEncoder",
    "is_autoencoder",
    "load_autoencoder",
    "load_autoencoder_teacher",
    "role_of",
    "save_autoencoder",
    "task_of",
    "teacher_of",
]
