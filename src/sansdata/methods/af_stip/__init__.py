"""AF-STip: the method, its ways to make fragments, and the cleaner of code."""

from .method import AFStip, AFStipConfig

__all__ = ["AFStip", "AFStipConfig"]
