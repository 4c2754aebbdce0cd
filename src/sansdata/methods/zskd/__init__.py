"""ZSKD: the method, the soft labels that it draws, and the views of its impressions."""

from .method import ZSKD, ZSKDConfig

__all__ = ["ZSKD", "ZSKDConfig"]
