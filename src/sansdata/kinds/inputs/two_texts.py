"""Two texts of one vocabulary. They travel as {'first': (B, L1) int64, 'first_mask': (B, L1) bool, 'second': (B, L2)
int64, 'second_mask': (B, L2) bool}, each padded to its own length; a mask is true where a token is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from torch import Generator, Tensor, nn

from ...columns import Inputs
from ...errors import TaskError
from ...figures import Figure, Finding, Preview, Text, Warned
from ...tasks import TwoTextsSpec
from ..base import Axes, InputKind, Preprocessor
from .tokenizer import Tokenizer
from .tokens import FEW, Columns, Tokens

NAMES = ("first", "first_mask", "second", "second_mask")


class TwoTexts(InputKind):
    """Each text is as `Tokens` has it; spec says how long either may be, and how both are read."""

    Spec = TwoTextsSpec
    unit = "pairs of texts"
    differentiable = False
    sources = Tokens.sources

    @cached_property
    def sides(self) -> tuple[Tokens, Tokens]:
        """The kinds of the first text and of the second."""
        first, second = self.spec.sides
        return Tokens(first), Tokens(second)

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The task's, where it names one. Raises TaskError where it cannot be read."""
        return self.sides[0].tokenizer

    def read(self, firsts: Sequence[str], seconds: Sequence[str]) -> dict[str, Tensor]:
        """As many texts of either sort as they travel. Raises TaskError where the task has no tokenizer."""
        return _joined(self.sides[0].read(firsts), self.sides[1].read(seconds))

    def draw(
        self, count: int, generator: Generator, source: str = "", door: Preprocessor | None = None
    ) -> dict[str, Tensor]:
        """Both texts apart, as `Tokens` draws them: the second knows nothing of the first."""
        first, second = (side.draw(count, generator, source) for side in self.sides)
        return _joined(first, second)

    def preprocessor(self, described: Mapping[str, Any]) -> Preprocessor:
        """Deviation: one door alone. A module with a vocabulary of its own, which `Tokens` retokenises for, is not
        taken: no teacher of two texts but a language model has been asked for."""
        door, names = described.get("door", "columns"), described.get("names", NAMES)
        if door != "columns":
            raise TaskError(f"preprocessing: unknown door '{door!s:.80}' of two texts. Known: columns.")
        if not (isinstance(names, (list, tuple)) and len(names) == 4 and all(isinstance(n, str) for n in names)):
            raise TaskError(
                "preprocessing of two texts needs names: [the argument for the ids of the first, for its mask, and the "
                "same of the second]"
            )
        return Columns(NAMES, tuple(names))

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        missing = [name for name in NAMES if name not in arrays]
        if missing:
            raise ValueError(f"has no {', '.join(missing)}")
        first, second = (
            side.from_arrays({"tokens": arrays[ids], "mask": arrays[mask]})
            for side, (ids, mask) in zip(self.sides, (NAMES[:2], NAMES[2:]))
        )
        if len(first["tokens"]) != len(second["tokens"]):
            raise ValueError(f"has {len(first['tokens'])} first texts and {len(second['tokens'])} second ones")
        return _joined(first, second)

    def statistics(self, packed: Inputs) -> list[Finding]:
        """Of the second texts what `Tokens` says, and how varied the first ones are beside them."""
        first, second = _parted(packed)
        share = len(first["tokens"].unique(dim=0)) / len(first["tokens"])
        return [
            *self.sides[1].statistics(second),
            Figure("first_distinct", share, "share", "first texts that are not repeated", "higher"),
            Figure("first_length", float(first["mask"].sum(1).float().mean()), "number", "mean tokens of a first text"),
        ]

    def warnings(self, statistics: Mapping[str, Any]) -> list[Warned]:
        """One first text may well stand beside many second ones."""
        if statistics["distinct"] >= FEW or statistics["first_distinct"] >= FEW:
            return []
        return [Warned("identical samples", statistics["distinct"], "hardly any text differs from the others")]

    def preview(self, packed: Inputs) -> list[Preview]:
        previews: list[Preview] = []
        for one, other in zip(*(side.preview(part) for side, part in zip(self.sides, _parted(packed)))):
            assert isinstance(one, Text)
            assert isinstance(other, Text)
            previews.append(Text(f"{one.text}\n{other.text}"))
        return previews

    def describe(self) -> str:
        spec = self.spec
        return f"two texts of at most {spec.first_length} and {spec.length} tokens of {spec.vocabulary:,}"

    def signature(self) -> Mapping[str, Axes]:
        of_side = [list(side.signature().values()) for side in self.sides]
        return dict(zip(NAMES, [*of_side[0], *of_side[1]]))

    def hint(self, module: nn.Module) -> str:
        return self.sides[1].hint(module)


def _joined(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(zip(NAMES, (first["tokens"], first["mask"], second["tokens"], second["mask"])))


def _parted(packed: Inputs) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    assert not isinstance(packed, Tensor)
    first, first_mask, second, second_mask = (packed[name] for name in NAMES)
    return {"tokens": first, "mask": first_mask}, {"tokens": second, "mask": second_mask}
