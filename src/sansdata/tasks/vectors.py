"""The output side of a network that answers with a vector, such as a latent of an autoencoder."""

from __future__ import annotations

from typing import Literal

import pydantic

from .noise import NoiseSpec
from .side import Side

MAX_SIZE = 1_000_000


class VectorsSpec(Side):
    """size: numbers of a vector; 0 is as many as the inputs have, which must then be noise."""

    kind: Literal["vectors"] = "vectors"
    size: int = pydantic.Field(default=0, ge=0, le=MAX_SIZE)

    def fitted_to(self, inputs: Side) -> VectorsSpec:
        """With the size of the noise, where none is given."""
        if self.size:
            return self
        if not isinstance(inputs, NoiseSpec):
            raise ValueError(f"vectors of inputs of kind '{inputs.kind}' need a size")  # type: ignore[attr-defined]
        return self.model_copy(update={"size": inputs.numbers})
