"""ZSDB3KD: the method, and the search for the boundary of a classifier that names classes only."""

from .method import ZSDB3KD, ZSDB3KDConfig

__all__ = ["ZSDB3KD", "ZSDB3KDConfig"]
