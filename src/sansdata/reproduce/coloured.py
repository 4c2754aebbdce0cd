"""Real pictures with a sensitive attribute that is planted: grey pictures of a known set, each dyed in one of two
colours, of which the classes know. Nobody was measured or asked for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..datasets.images import load_images
from ..datasets.imageset import ImageSet
from ..tasks import load_task

COLOURS: dict[str, tuple[float, float, float]] = {"red": (1.0, 0.3, 0.3), "green": (0.3, 1.0, 0.3)}


@dataclass(frozen=True)
class Coloured:
    """pictures of three channels, and the colour of each, (N,) int64."""

    pictures: ImageSet
    groups: Tensor

    def at(self, places: np.ndarray) -> Coloured:
        return Coloured(self.pictures.subset(places, f"{len(places)} of them"), self.groups[torch.from_numpy(places)])


def coloured(data: str, split: str, rare: float, seed: int) -> Coloured:
    """A known set of grey pictures. rare: how often a picture has the colour that its class mostly has not: the first
    half of the classes is mostly red, the others green; 0.5 is a colour that says nothing."""
    grey = load_images(data, load_task(data), split)
    late = torch.from_numpy(grey.labels) >= (len(grey.class_names) + 1) // 2
    odd = torch.rand(len(grey), generator=torch.Generator().manual_seed(seed)) < rare
    groups = (late ^ odd).long()
    dyes = np.array(list(COLOURS.values()), np.float32)[groups.numpy()]
    images = np.rint(grey.images.astype(np.float32) * dyes[:, None, None, :]).astype(np.uint8)
    note = f"dyed {' and '.join(COLOURS)}: {rare:.0%} in the colour that is rare for their class"
    return Coloured(
        ImageSet(images, grey.labels, grey.class_names, f"{grey.source}, dyed", (*grey.notes, note)), groups
    )
