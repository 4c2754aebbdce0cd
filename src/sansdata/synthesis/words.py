"""A teacher's words as vectors, and which of them a free vector is a mean of."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import columns
from ..columns import Inputs
from ..errors import MethodError
from ..kinds.index import input_kind
from ..kinds.inputs.tokens import Tokens
from ..method import Context
from ..models.entry import layer_of_words
from ..models.modes import in_mode
from ..network import Network

WIDTH = 0.1
"""Of the kernel that shares a vector out among its words, in the mean squared length of a word's vector; ours."""
PART = 1024
"""Places of which the distances to all words are held at a time."""


class Words:
    """The table of a teacher (V, D), without the ids that stand for nothing: padding, unknown, special ones."""

    def __init__(self, context: Context, kind: Tokens) -> None:
        """Raises MethodError where the teacher has no table that reads the task's ids."""
        self.kind = kind
        teacher, probe = context.teacher, context.runtime.place(kind.draw(2, torch.Generator().manual_seed(0)))
        layer = layer_of_words(teacher.inside.module, teacher.network.preprocessor(probe), probe["tokens"])
        if layer is None:
            raise MethodError(
                "vectors are put in the place of the teacher's words, and no layer of words (nn.Embedding) of it reads "
                "the task's ids: give the task the teacher's own tokenizer"
            )
        self.table = layer.forward(torch.arange(kind.spec.vocabulary, device=layer.weight.device)).detach()
        plain = list(range(kind.spec.vocabulary)) if kind.tokenizer is None else kind.tokenizer.plain_ids
        self.ids = torch.tensor([place for place in plain if place != kind.spec.padding], device=self.table.device)
        self.plain = self.table[self.ids]
        self.mean, self.std = self.plain.mean(0), self.plain.std()
        """(D,) and a scalar, over the table: weights, no data."""
        self.width = WIDTH * self.plain.square().sum(1).mean()

    def framed(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Vectors (B, L, D) with those of the special tokens that frame a text at their places: nothing moves them."""
        frame = self.kind.frame(mask)
        return torch.where(frame[:, :, None] < 0, vectors, self.table[frame.clamp_min(0)])

    def nearest(self, vectors: Tensor, mask: Tensor, count: int) -> Tensor:
        """(B, L, count) ids of the words that come nearest to vectors (B, L, D), the nearest first; special tokens
        stand where they frame a text."""
        rows, lengths = vectors.detach().flatten(0, 1), self.plain.square().sum(1)
        near = [(lengths - 2 * part @ self.plain.T).topk(count, largest=False).indices for part in rows.split(PART)]
        frame = self.kind.frame(mask)[:, :, None]
        return torch.where(frame < 0, self.ids[torch.cat(near)].view(*vectors.shape[:2], count), frame)

    def distance(self, vectors: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """(B,) mean squared distance of vectors (B, L, D) to the vectors of `words` (B, L), in the variance of the
        table, over the places of `mask`."""
        squares = ((vectors - self.table[words]) / self.std).square().mean(2) * mask
        return squares.sum(1) / mask.sum(1)

    def shares(self, vectors: Tensor, choices: Tensor) -> Tensor:
        """(B, L, k) how much of each word in `choices` (B, L, k) a vector (B, L, D) is, summing to 1; with gradient."""
        distance = (vectors[:, :, None] - self.table[choices]).square().sum(3)
        return F.softmax(-distance / self.width, dim=2)


class AsMade:
    """The codec of a pool whose inputs carry more than their kind stores."""

    def pack(self, inputs: Inputs) -> Inputs:
        return columns.each(lambda column: column.detach().to("cpu", copy=True), inputs)

    def unpack(self, packed: Inputs) -> Inputs:
        return packed


def as_text(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Only the words that come nearest: an ordinary text."""
    return {name: inputs[name] for name in ("tokens", "mask")}


def give_words(words: Words, student: Network, context: Context) -> bool:
    """Puts the teacher's table into the student's layer of words, where it fits, and holds it still; whether it did."""
    kind = input_kind(context.task)
    probe = context.runtime.place(kind.draw(2, torch.Generator().manual_seed(0)))
    assert not isinstance(probe, Tensor)
    with in_mode(student.module, train=False):
        layer = layer_of_words(student.module, student.preprocessor(probe), probe["tokens"])
    if layer is None or layer.weight.shape != words.table.shape:
        return False
    with torch.no_grad():
        layer.weight.copy_(words.table)
    layer.weight.requires_grad_(False)
    return True
