"""AS-DFD: the method, the vectors that it optimises, and the words that these come near to."""

from .method import ASDFD, ASDFDConfig

__all__ = ["ASDFD", "ASDFDConfig"]
