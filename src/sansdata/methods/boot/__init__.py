"""BOOT: a denoiser into a generator in one step or a few, from noise alone."""

from .method import BOOT

__all__ = ["BOOT"]
