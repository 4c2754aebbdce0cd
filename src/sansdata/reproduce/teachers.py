"""The teachers of the recipes, public files or trained once and kept, and the real images beside them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files import sha256
from .recipes.model import Recipe


def cache() -> Path:
    """Where trained teachers are kept between recipes."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sansdata" / "teachers"


def ensure_teacher(recipe: Recipe) -> dict[str, Any]:
    """The teacher's file, hash and accuracy on the test set; trained first where no public file is named."""
    import torch

    from .. import api
    from ..tasks import load_task

    task = load_task(recipe.task)
    if recipe.teacher.file:
        root = os.environ.get("SANSDATA_DATA")
        path = Path(root or ".") / recipe.teacher.file
        if not path.is_file():
            raise DataError(
                f"the recipe's teacher {recipe.teacher.file} is not below SANSDATA_DATA ({root or 'not set'})"
            )
    else:
        path = cache() / f"{recipe.name}-{recipe.teacher.network}.safetensors"
        if not path.is_file():
            _train_teacher(recipe, path)
    torch.set_num_threads(os.cpu_count() or 1)
    spec = f"{recipe.teacher.network}@{path}"
    score = api.evaluate(spec, recipe.data, task)
    return {
        "spec": recipe.teacher.network, "path": str(path), "file": path.name, "sha256": sha256(path),
        "accuracy": score.accuracy,
    }  # fmt: skip


def training_set(recipe: Recipe) -> Any:
    """The training images without those held out for choosing settings."""
    from ..datasets.images import holdout, load_images
    from ..tasks import load_task

    rest, _ = holdout(load_images(recipe.data, load_task(recipe.task), "train"), recipe.held_out, seed=0)
    return rest


def _train_teacher(recipe: Recipe, path: Path) -> None:
    from safetensors.torch import save

    from ..files import write_atomic
    from ..tasks import load_task
    from .supervised import train

    print(f"training the teacher {recipe.teacher.network} for {recipe.teacher.epochs} epochs", flush=True)
    view = "crop+flip" if recipe.data not in ("mnist", "digits") else "crop"
    module = train(
        recipe.teacher.network, training_set(recipe), load_task(recipe.task), recipe.teacher.epochs, view=view
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, save({name: value.contiguous() for name, value in module.state_dict().items()}))
