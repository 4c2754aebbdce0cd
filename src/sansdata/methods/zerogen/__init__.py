"""ZeroGen: a language model writes a labelled set of texts, and the student learns from it."""

from .method import ZeroGen

__all__ = ["ZeroGen"]
