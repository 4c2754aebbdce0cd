"""A small language model of texts that have nothing to do with a classifier's own, fitted once and kept: what a public
one is to a method that steers it."""

from __future__ import annotations

from pathlib import Path

from ..teachers.writers.continuing import ANY, KIND, ContinuingNGrams
from ..teachers.writers.files import save_writer
from ..teachers.writers.vocabulary import pieces
from .teachers import cache
from .texts import data_root, lines

TWEETS = ("emotion", "hate", "irony", "offensive")
SIGNS = {"@", "user", "url", "http", "amp", "#"}
"""What tweets are full of and sentences are not."""


def tweets() -> list[str]:
    """The training texts of four tasks on tweets, without labels, in small letters; each once."""
    files = [data_root() / f"text/tweeteval/{name}/train_text.txt" for name in TWEETS]
    texts = [" ".join(word for word in pieces(line, "letters") if word not in SIGNS)
             for file in files for line in lines(file)]  # fmt: skip
    return list(dict.fromkeys(filter(None, texts)))


def ensure_writer() -> Path:
    """The file of an n-gram model of these tweets."""
    path = cache() / f"tweets-{KIND}.safetensors"
    if not path.is_file():
        writer = ContinuingNGrams.fitted(tweets())
        path.parent.mkdir(parents=True, exist_ok=True)
        save_writer(path, KIND, [ANY], writer.vocabulary, writer.tensors())
    return path
