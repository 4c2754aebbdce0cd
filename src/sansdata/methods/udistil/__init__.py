"""uDistil-Whisper (Waheed et al. 2024): pseudo-labels that scores without labels have sifted."""

from .method import UDistil
from .settings import UDistilConfig

__all__ = ["UDistil", "UDistilConfig"]
