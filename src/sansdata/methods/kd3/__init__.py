"""KD3: the method, how it chooses images of the pool, and how it mixes their styles."""

from .method import KD3, KD3Config

__all__ = ["KD3", "KD3Config"]
