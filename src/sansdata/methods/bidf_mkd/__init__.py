"""BiDf-MKD: the method, its settings and what they cost, and how the images of one API are recovered."""

from .method import BiDfMKD
from .settings import BiDfMKDConfig

__all__ = ["BiDfMKD", "BiDfMKDConfig"]
