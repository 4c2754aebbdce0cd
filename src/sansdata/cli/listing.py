"""`sansdata list`: what there is."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class What(StrEnum):
    methods = "methods"
    models = "models"
    recipes = "recipes"
    federated = "federated"


def listing(what: Annotated[What, typer.Argument(help="what to list")]) -> None:
    """List methods, models and known tasks, recipes, or federated methods."""
    {What.methods: _methods, What.models: _models, What.recipes: _recipes, What.federated: _federated}[what]()


def _methods() -> None:
    from ..methods.index import find_method, method_names

    for name, line in method_names().items():
        print(f"{name:<16} {line}")
        for preset in getattr(find_method(name), "presets", {}):
            print(f"{'':<16} preset {preset}")


def _models() -> None:
    from ..models.build import ZOO
    from ..tasks import KNOWN_TASKS

    print("networks (also timm:NAME, torchvision:NAME, package.module:factory, shrink:RATIO)")
    print("  " + " ".join(ZOO))
    print("tasks")
    for name, task in KNOWN_TASKS.items():
        print(f"  {name:<14} {task.classes:>5} classes  shape {list(task.shape)}")
        print(f"  {'':<14} mean {list(task.mean)}  std {list(task.std)}")


def _recipes() -> None:
    from ..reproduce.recipes import RECIPES

    for recipe in RECIPES.values():
        print(f"{recipe.name:<22} {recipe.claim}")


def _federated() -> None:
    from ..federated.index import FEDERATED, find_server

    for name, (_, line) in FEDERATED.items():
        print(f"{name:<16} {line}")
        for preset in find_server(name).presets:
            print(f"{'':<16} preset {preset}")
