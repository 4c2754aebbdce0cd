"""The teachers of the recipes, public files or trained once and kept, and the real images beside them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..files import cache_root, sha256, write_atomic
from .recipes.model import Recipe, TeacherRecipe

if TYPE_CHECKING:
    from torch import nn


def cache() -> Path:
    """Where trained teachers are kept between recipes."""
    return cache_root() / "teachers"


def keep_weights(path: Path, module: nn.Module) -> None:
    """Writes the weights and buffers of a module, its folder too where that is not there."""
    from safetensors.torch import save

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, save({name: value.contiguous() for name, value in module.state_dict().items()}))


def below_root(name: str) -> Path:
    """A file of the recipes' data. Raises DataError where it is not there."""
    root = os.environ.get("SANSDATA_DATA")
    path = Path(root or ".") / name
    if not path.is_file():
        raise DataError(f"the recipe's {name} is not below SANSDATA_DATA ({root or 'not set'})")
    return path


def ensure_teacher(recipe: Recipe) -> dict[str, Any]:
    """The teacher's file, hash and accuracy on the test set, and the same of its helpers; trained first where no public
    file is named.

    Recipes on the same data share a teacher that was trained here.
    """
    if recipe.teacher is None:
        return {"spec": "none", "sha256": "none"}
    ready = _ensure(recipe, recipe.teacher)
    if not recipe.helpers:
        return ready
    return ready | {"helpers": [_ensure(recipe, helper) for helper in recipe.helpers]}


def without_paths(teacher: dict[str, Any]) -> dict[str, Any]:
    """What `ensure_teacher` gave, without where the files lie on this machine."""
    kept = {name: value for name, value in teacher.items() if name != "path"}
    if "helpers" in kept:
        kept["helpers"] = [without_paths(helper) for helper in kept["helpers"]]
    return kept


def _ensure(recipe: Recipe, wanted: TeacherRecipe) -> dict[str, Any]:
    import torch

    from ..api.evaluate import evaluate
    from ..tasks import load_task

    task = load_task(recipe.task)
    if wanted.file:
        path = below_root(wanted.file)
    else:
        size = "" if recipe.task == recipe.data else "-" + "x".join(map(str, task.shape[1:]))
        path = cache() / f"{recipe.data}{size}-{wanted.network}.safetensors"
        if not path.is_file():
            _train_teacher(recipe, wanted, path)
    torch.set_num_threads(os.cpu_count() or 1)
    spec = f"{wanted.network}@{path}"
    score = evaluate(spec, recipe.data, task)
    return {
        "spec": wanted.network, "path": str(path), "file": path.name, "sha256": sha256(path),
        "accuracy": score.accuracy,
    }  # fmt: skip


def training_set(recipe: Recipe) -> Any:
    """The training images without those held out for choosing settings."""
    from ..datasets.images import holdout, load_images
    from ..tasks import load_task

    rest, _ = holdout(load_images(recipe.data, load_task(recipe.task), "train"), recipe.held_out, seed=0)
    return rest


def _train_teacher(recipe: Recipe, wanted: TeacherRecipe, path: Path) -> None:
    from ..tasks import load_task
    from .supervised import train

    print(f"training the teacher {wanted.network} for {wanted.epochs} epochs", flush=True)
    view = "crop+flip" if recipe.data not in ("mnist", "digits") else "crop"
    module = train(wanted.network, training_set(recipe), load_task(recipe.task), wanted.epochs, view=view)
    keep_weights(path, module)
