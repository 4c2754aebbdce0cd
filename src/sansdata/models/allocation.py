"""A limit on what a piece of code may allocate, kept while it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from ..errors import StudentError

FROM_SIZE = frozenset(("empty", "empty_strided", "zeros", "ones", "full", "rand", "randn"))
"""Operators that make a tensor of the size that is their first argument."""
FROM_NEXT_SIZE = frozenset(("new_empty", "new_empty_strided", "new_zeros", "new_ones", "new_full"))
"""The same of the second argument."""
FROM_TENSOR = frozenset(("empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "clone"))


class Allocation(TorchDispatchMode):
    """Within it no more than `most` elements of tensors are made, what was freed included; the rest is not begun.

    A network's own sizes come from a file, so they are counted where its layers ask for memory, whoever wrote them.
    what: whose memory it is, for the StudentError.
    """

    def __init__(self, most: int, what: str) -> None:
        super().__init__()
        self.most, self.what, self.made = most, what, 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in FROM_SIZE:
            self.made += math.prod(args[0])
        elif name in FROM_NEXT_SIZE:
            self.made += math.prod(args[1])
        elif name in FROM_TENSOR:
            self.made += args[0].numel()
        if self.made > self.most:
            raise StudentError(f"{self.what} asks for more than {self.most:,} numbers")
        return func(*args, **(kwargs or {}))
