"""DiffDFKD: the method, the denoiser that it steers, and the exchange of boxes between its images."""

from .method import DiffDFKD, DiffDFKDConfig

__all__ = ["DiffDFKD", "DiffDFKDConfig"]
