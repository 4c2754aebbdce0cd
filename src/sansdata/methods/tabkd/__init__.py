"""TabKD: the method, the pairs of bins that it covers, and rows made of other rows."""

from .method import TabKD, TabKDConfig

__all__ = ["TabKD", "TabKDConfig"]
