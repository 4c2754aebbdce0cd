"""A student that learned from a folder of unrelated images, and what its method chose from it.

Of an arm's `experiment`: near and far, name of a known set -> how many of its training images lie in the folder. Near
ones look like the task's, from another source; far ones show other things. contrast: of the near ones, 0..1, about
each one's mean.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from ...api.evaluate import evaluate
from ...datasets.images import holdout, load_images
from ...engine.checkpoint import Checkpoints
from ...engine.encode import decode
from ...runtime import Runtime
from ..recipes.model import Arm, Recipe
from . import distil

CHOSEN = ("method.schedule", "method.kept")
"""Where the methods keep the ids of the images that they chose."""


def run(recipe: Recipe, arm: Arm, seed: int, teacher: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The figures of one arm. Measures of methods that choose: 'kept', and 'kept near', in percent."""
    if arm.method == "real-data":
        return distil.run(recipe, arm, seed, teacher, folder)
    far = export(arm.experiment, folder / "pool")
    run = dict(arm.run) | {"pool": folder / "pool"}
    result = distil.distilled(recipe, arm.model_copy(update={"run": run}), seed, teacher, folder / "run")
    figures = {"accuracy": evaluate(result, recipe.data).accuracy, **distil.of_run(result)}
    ids = chosen(folder / "run")
    if ids is not None:
        count = sum(arm.experiment["near"].values()) + far
        near = 100 * (ids >= far).float().mean().item()
        figures["measures"] = {"kept": 100 * len(ids) / count, "kept near": near}
    return figures


def export(sets: dict[str, Any], folder: Path) -> int:
    """Writes the images as PNG files, the same ones each time; gives how many of them are far, which come first."""
    folder.mkdir()
    for distance in ("far", "near"):
        for name, count in sets[distance].items():
            _, some = holdout(load_images(name, None, "train"), count, seed=0)
            images = faded(some.images, sets.get("contrast", 1.0)) if distance == "near" else some.images
            for number, image in enumerate(images):
                picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
                picture.save(folder / f"{distance}-{name}-{number:05d}.png", compress_level=1)
    return sum(sets["far"].values())


def faded(images: np.ndarray, contrast: float) -> np.ndarray:
    """images (N, H, W, C) uint8, each drawn towards its own mean; contrast 1 leaves them."""
    means = images.mean((1, 2, 3), keepdims=True)
    return (means + contrast * (images - means)).round().astype(np.uint8)


def chosen(run: Path) -> torch.Tensor | None:
    """Ids (n,) of the images of the last choice, in the order of the folder; None for a method that chooses none."""
    newest, _ = Checkpoints(run / "checkpoints", Runtime()).newest()
    if newest is None:
        return None
    state = json.loads((newest / "rank-0.json").read_text())["state"]
    for part in CHOSEN:
        if part in state:
            tensors = load_file(newest / "rank-0.safetensors")
            return decode(state[part], tensors, torch.device("cpu")).get("ids")
    return None
