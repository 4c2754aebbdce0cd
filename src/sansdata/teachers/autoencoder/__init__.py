"""Teachers that draw latents and decode them: fair autoencoders of a table, and of pictures."""

from .base import ENCODES, MODES, AutoEncoder
from .file import is_autoencoder, load_autoencoder, save_autoencoder
from .picture_file import (
    is_picture_autoencoder,
    load_picture_autoencoder,
    load_picture_teacher,
    picture_task_of,
    picture_teacher_of,
    save_picture_autoencoder,
)
from .pictures import PictureAutoEncoder
from .role import role_of
from .teacher import load_autoencoder_teacher, task_of, teacher_of

__all__ = [
    "ENCODES",
    "MODES",
    "AutoEncoder",
    "PictureAutoEncoder",
    "is_autoencoder",
    "is_picture_autoencoder",
    "load_autoencoder",
    "load_autoencoder_teacher",
    "load_picture_autoencoder",
    "load_picture_teacher",
    "picture_task_of",
    "picture_teacher_of",
    "role_of",
    "save_autoencoder",
    "save_picture_autoencoder",
    "task_of",
    "teacher_of",
]
