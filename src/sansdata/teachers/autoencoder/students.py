"""Students of an autoencoder of pictures: a small network that draws latents, before the teacher's own decoder."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from ...errors import StudentError
from ...models.build import architecture_of, build
from ...models.fair_image_vae import LatentPictures
from ...tasks import NoiseSpec, PairTask, VectorsSpec
from ..base import Teacher
from .base import ENCODES
from .pictures import PictureAutoEncoder

LATENTS = "latents:"
"""How the spec of such a student begins; then the name of a network of noise into vectors."""


def before_decoder(spec: str, teacher: Teacher) -> tuple[nn.Module, dict[str, Any]]:
    """(the student, how it is built again). Random weights come from torch's global generator. Raises StudentError."""
    model = teacher.capabilities.get(ENCODES)
    if not isinstance(model, PictureAutoEncoder):
        raise StudentError(
            f"'{spec[:80]}' stands before the decoder of an autoencoder of pictures, which the teacher is not"
        )
    task = PairTask(inputs=NoiseSpec(shape=(model.latent,)), outputs=VectorsSpec(size=model.latent))
    of = architecture_of(spec.removeprefix(LATENTS), task)
    if of["kind"] != "zoo":
        raise StudentError(f"'{spec[:80]}': latents are drawn by latent-mlp or latent-mlp-small")
    made = {"kind": "latents", "shape": list(model.shape), "groups": len(model.names), "latent": model.latent, "of": of}
    return LatentPictures(build(of), copy.deepcopy(model.vae.decoder)), made
