"""CAE-DFKD: the method, and the noise that diffuses its class embeddings."""

from .method import CAEDFKD, CAEDFKDConfig

__all__ = ["CAEDFKD", "CAEDFKDConfig"]
